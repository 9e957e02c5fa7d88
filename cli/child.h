/* SPDX-License-Identifier: MIT
 *
 * COMMAND, run in berth's own process group, and berth's behaviour beside it: what a shell, a
 * terminal and an init system see of berth is what they would see of COMMAND.
 */
#ifndef BERTH_CLI_CHILD_H
#define BERTH_CLI_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

struct child {
  pid_t pid;
  pid_t watcher; /* who continued berth last, because COMMAND had been; 0 */
  int status;    /* as of waitpid(2), once it has ended */
};

/* Starts it. From here on berth blocks all signals; COMMAND has the mask and the dispositions that
 * berth was started with. Returns 0, or an errno if it could not be executed. */
int child_start(struct child *child, char **argv);

/* Waits for its end, passes signals on (see relay.h), stops and continues as COMMAND does. */
void child_wait(struct child *child);

/* berth's own end: COMMAND's exit status, or death by the same signal. */
__attribute__((noreturn)) void child_end_likewise(const struct child *child);

#endif
