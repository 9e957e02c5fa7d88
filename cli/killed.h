/* SPDX-License-Identifier: MIT
 *
 * What a filter of seccomp(2) ended: COMMAND, or a process that it started. The kernel logs such an
 * end with the number of the system call (audit_seccomp() in kernel/auditsc.c), for whom may read its
 * log; of a call that libberth.so was making the recording tells, too.
 */
#ifndef BERTH_CLI_KILLED_H
#define BERTH_CLI_KILLED_H

#include <stdbool.h>
#include <sys/types.h>

/* Before COMMAND starts: the kernel's log from here on. Returns what killed_say() takes: a descriptor
 * of that log, or -1. */
int killed_begin(void);

struct killed_command {
  int log;               /* killed_begin()'s */
  const char *recording; /* its path; "": there is none */
  pid_t pid;
  int status; /* as of waitpid(2) */
};

/* Whether there may be anything to say. If not, `log` is closed. */
bool killed_any(const struct killed_command *command);

/* Says it on stderr, a line a process, of a struct killed_command, and closes `log`. */
void killed_say(const void *command);

#endif
