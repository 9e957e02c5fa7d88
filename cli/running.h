/* SPDX-License-Identifier: MIT
 *
 * Whether libberth.so reached a process that runs, as far as /proc shows.
 */
#ifndef BERTH_CLI_RUNNING_H
#define BERTH_CLI_RUNNING_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "cli/judge.h"

struct running {
  struct judgement judgement; /* `files`: what it executes; `library`: the one that is mapped */
  bool begins;                /* its dynamic linker may not have come to LD_PRELOAD yet */
};

/* /proc/PID/NAME; NULL with errno. */
FILE *running_open(pid_t pid, const char *name);

/* The libberth.so whose code is mapped, "" for none; returns 0, or the errno for which that cannot be
 * seen. `others` counts files with code that are mapped before it. */
int running_library(pid_t pid, char path[PATH_MAX], int *others);

/* Whether a process lives that was started with this variable in its environment: a walk over /proc. One
 * that has written over its environment, or may not be looked into, is not seen. */
bool running_any_with(const char *name, const char *value);

/* Returns false where there is no such process, or it has ended, or it is a kernel thread. The
 * caller frees the judgement. */
bool running_judge(pid_t pid, const char *preload, struct running *r);

#endif
