// SPDX-License-Identifier: MIT
//
// execve() and its kin: the row of the image that is replaced says so. glibc's variants call
// one another by names of their own, so each one is a hook.
#include <alloca.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "preload/hook.h"
#include "steer/recorder.h"

/* The image lives on where execve() fails. */
static int failed(int result)
{
  int error = errno;
  recorder_mark(RECORD_RUNNING);
  errno = error;
  return result;
}

static void replaced(void)
{
  int error = errno;
  recorder_mark(RECORD_REPLACED);
  errno = error;
}

HOOK int execve(const char *path, char *const argv[], char *const envp[])
{
  replaced();
  return failed(real()->execve(path, argv, envp));
}

HOOK int execv(const char *path, char *const argv[])
{
  replaced();
  return failed(real()->execv(path, argv));
}

HOOK int execvp(const char *file, char *const argv[])
{
  replaced();
  return failed(real()->execvp(file, argv));
}

HOOK int execvpe(const char *file, char *const argv[], char *const envp[])
{
  replaced();
  return failed(real()->execvpe(file, argv, envp));
}

HOOK int fexecve(int fd, char *const argv[], char *const envp[])
{
  replaced();
  return failed(real()->fexecve(fd, argv, envp));
}

HOOK int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags)
{
  if (!real()->execveat) {
    errno = ENOSYS;
    return -1;
  }
  replaced();
  return failed(real()->execveat(fd, path, argv, envp, flags));
}

/* The arguments of an execl(), up to and with the NULL that ends them. On the stack, as
 * glibc's own: these may run in a vfork child. */
#define COLLECT(argv, first, list)                                                                 \
  do {                                                                                             \
    va_list counting;                                                                              \
    size_t n = 1;                                                                                  \
    va_copy(counting, list);                                                                       \
    while (va_arg(counting, const char *))                                                         \
      n++;                                                                                         \
    va_end(counting);                                                                              \
    argv = alloca((n + 1) * sizeof *argv);                                                         \
    argv[0] = (char *)(uintptr_t)(first);                                                          \
    for (size_t i = 1; i <= n; i++)                                                                \
      argv[i] = va_arg(list, char *);                                                              \
  } while (0)

HOOK int execl(const char *path, const char *first, ...)
{
  char **argv;
  va_list list;
  va_start(list, first);
  COLLECT(argv, first, list);
  va_end(list);
  replaced();
  return failed(real()->execv(path, argv));
}

HOOK int execlp(const char *file, const char *first, ...)
{
  char **argv;
  va_list list;
  va_start(list, first);
  COLLECT(argv, first, list);
  va_end(list);
  replaced();
  return failed(real()->execvp(file, argv));
}

HOOK int execle(const char *path, const char *first, ...)
{
  char **argv;
  va_list list;
  va_start(list, first);
  COLLECT(argv, first, list);
  char *const *envp = va_arg(list, char *const *);
  va_end(list);
  replaced();
  return failed(real()->execve(path, argv, envp));
}
