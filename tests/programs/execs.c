// SPDX-License-Identifier: MIT
//
// execs.so, to be preloaded: writes a line to descriptor 2 for each execve() and its kin that
// comes by.
#include <dlfcn.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Six words hold the arguments, of the variadic ones as far as a test has some. */
typedef long six_words(long, long, long, long, long, long);

static six_words *note(const char *name)
{
  void *found = dlsym(RTLD_NEXT, name);
  six_words *function;
  memcpy(&function, &found, sizeof function);
  syscall(SYS_write, 2, name, strlen(name));
  syscall(SYS_write, 2, "\n", 1L);
  return function;
}

#define NOTE(name)                                                                                 \
  long noted_##name(long, long, long, long, long, long) __asm__(#name);                            \
  long noted_##name(long a, long b, long c, long d, long e, long f)                                \
  {                                                                                                \
    return note(#name)(a, b, c, d, e, f);                                                          \
  }

NOTE(execl)
NOTE(execle)
NOTE(execlp)
NOTE(execv)
NOTE(execve)
NOTE(execvp)
NOTE(execvpe)
