/* SPDX-License-Identifier: MIT
 *
 * /proc/PID/stat, read in one place: whether a process lives is one question.
 */
#ifndef BERTH_CLI_PROC_H
#define BERTH_CLI_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_stat {
  char name[64];
  char letter; /* the state of its main thread: R, S, T, Z... */
  long threads;
  uint64_t start; /* ticks since boot */
  uint64_t
      stack; /* where it began: drawn anew by each execve(2), kept by fork(2); 0 unless it may be
                     looked into */
};

/* Returns false where there is no such process. */
bool proc_stat(pid_t pid, struct proc_stat *s);

/* Whether it has not ended: a zombie with threads left is a process whose main thread has. */
bool proc_lives(const struct proc_stat *s);

/* A thread by which /proc shows what the process is: itself, or where its main thread has ended one
 * that goes on. 0 where it has ended. */
pid_t proc_thread(pid_t pid);

#endif
