// SPDX-License-Identifier: MIT
//
// The ways a process ends by its own will: what ends without passing here was killed.
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "preload/hook.h"
#include "steer/recorder.h"

__attribute__((destructor)) static void exit_ran_its_handlers(void)
{
  recorder_mark(RECORD_EXITED);
}

HOOK __attribute__((noreturn)) void _exit(int status)
{
  recorder_mark(RECORD_EXITED);
  real()->_exit(status);
  __builtin_unreachable();
}

/* Another name of the same function (C99, 7.20.4.4). */
HOOK __attribute__((noreturn)) void _Exit(int status)
{
  _exit(status);
}

/* The parent ends inside, by a name of libc's own; what returns is the child, which has no row
 * yet, or a failure. */
HOOK int daemon(int stay, int keep)
{
  recorder_mark(RECORD_EXITED);
  int result = real()->daemon(stay, keep);
  int error = errno;
  if (result)
    recorder_mark(RECORD_RUNNING);
  errno = error;
  return result;
}

HOOK __attribute__((noreturn)) void quick_exit(int status)
{
  recorder_mark(RECORD_EXITED);
  real()->quick_exit(status);
  __builtin_unreachable();
}
