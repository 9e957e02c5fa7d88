// SPDX-License-Identifier: MIT
//
// The ways a process ends by its own will: what ends without passing here was killed.
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "preload/hook.h"
#include "steer/recorder.h"
#include "steer/stray.h"

static void ending(void)
{
  stray_look_at_all();
  recorder_mark(RECORD_EXITED);
}

__attribute__((destructor)) static void exit_ran_its_handlers(void)
{
  ending();
}

HOOK __attribute__((noreturn)) void _exit(int status)
{
  ending();
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
  ending();
  real()->quick_exit(status);
  __builtin_unreachable();
}
