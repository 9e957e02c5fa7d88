// SPDX-License-Identifier: MIT
//
// execve() and its kin: the row of the image that is replaced says so. glibc's variants call
// one another by names of their own, so each one is a hook.
#include <alloca.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "gate/inherited.h"
#include "preload/hook.h"
#include "steer/memory.h"
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

/* An environment with what is known of the filters that were seen, in place of `envp`. On the stack,
 * since this may be a vfork child; one that would take too much of it is left as it is, and so is one
 * that cannot be read. The first of a name counts. */
#define ENVIRONMENT_MOST 192
struct environment {
  char *variables[ENVIRONMENT_MOST + 2];
  char filters[INHERITED_SIZE];
};

static char *const *with_filters(char *const envp[], struct environment *e)
{
  static const char name[] = INHERITED_VARIABLE "=";
  size_t n = 0, from = 0;
  bool own = envp == environ;
  if (!envp || !inherited_put(e->filters))
    return envp;
  e->variables[n++] = e->filters;
  for (; n <= ENVIRONMENT_MOST; from++) {
    bool begins_page = !from || (uintptr_t)&envp[from] % 4096 == 0;
    if (!own && begins_page && memory_ask_all(&envp[from], sizeof *envp) != MEMORY_READABLE)
      return envp;
    if (!envp[from])
      break;
    if (!own || strncmp(envp[from], name, sizeof name - 1) != 0)
      e->variables[n++] = envp[from];
  }
  e->variables[n] = NULL;
  return n <= ENVIRONMENT_MOST ? e->variables : envp;
}

/* By the function of the same name, unless the environment is another: libraries that stand in front
 * of these, too, see what the program called. */
static int execute(const char *path, char *const argv[])
{
  struct environment e;
  char *const *envp = with_filters(environ, &e);
  replaced();
  return failed(envp == environ ? real()->execv(path, argv) : real()->execve(path, argv, envp));
}

static int execute_found(const char *file, char *const argv[])
{
  struct environment e;
  char *const *envp = with_filters(environ, &e);
  replaced();
  return failed(envp == environ ? real()->execvp(file, argv) : real()->execvpe(file, argv, envp));
}

static int execute_with(const char *path, char *const argv[], char *const envp[])
{
  struct environment e;
  replaced();
  return failed(real()->execve(path, argv, with_filters(envp, &e)));
}

HOOK int execve(const char *path, char *const argv[], char *const envp[])
{
  return execute_with(path, argv, envp);
}

HOOK int execv(const char *path, char *const argv[])
{
  return execute(path, argv);
}

HOOK int execvp(const char *file, char *const argv[])
{
  return execute_found(file, argv);
}

HOOK int execvpe(const char *file, char *const argv[], char *const envp[])
{
  struct environment e;
  replaced();
  return failed(real()->execvpe(file, argv, with_filters(envp, &e)));
}

HOOK int fexecve(int fd, char *const argv[], char *const envp[])
{
  struct environment e;
  replaced();
  return failed(real()->fexecve(fd, argv, with_filters(envp, &e)));
}

HOOK int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags)
{
  if (!real()->execveat) {
    errno = ENOSYS;
    return -1;
  }
  struct environment e;
  replaced();
  return failed(real()->execveat(fd, path, argv, with_filters(envp, &e), flags));
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
  return execute(path, argv);
}

HOOK int execlp(const char *file, const char *first, ...)
{
  char **argv;
  va_list list;
  va_start(list, first);
  COLLECT(argv, first, list);
  va_end(list);
  return execute_found(file, argv);
}

HOOK int execle(const char *path, const char *first, ...)
{
  char **argv;
  va_list list;
  va_start(list, first);
  COLLECT(argv, first, list);
  char *const *envp = va_arg(list, char *const *);
  va_end(list);
  return execute_with(path, argv, envp);
}
