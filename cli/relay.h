/* SPDX-License-Identifier: MIT
 *
 * Signals, as if berth were not there: what is sent to berth is COMMAND's, and what is sent to the
 * process group, or to every process of a cgroup, has reached COMMAND already.
 *
 * No signal tells whom it was sent to. So two witnesses, children of berth's that do nothing, stand with
 * all signals blocked, one in berth's group and one outside: what is pending there as well was sent to
 * the group, or to all. As long as COMMAND is in the group it has got either. Once it has left, as
 * interactive shells and daemons do, it has got only what was sent to all.
 */
#ifndef BERTH_CLI_RELAY_H
#define BERTH_CLI_RELAY_H

#include <stdbool.h>
#include <sys/types.h>

/* Blocks all signals, for good. To be called before COMMAND is forked. */
void relay_begin(void);

/* In COMMAND, before it executes: the mask and SIGCHLD's disposition that berth was started with. */
void relay_restore(void);

/* Waits for signals, SIGCHLD included, and passes on to COMMAND what is its alone. `ignored`: one
 * whose SIGCONT is not meant for COMMAND; 0 for none. `command` is not reaped yet. */
void relay_wait(pid_t command, pid_t ignored);

/* Waits for at most `milliseconds`, once COMMAND has ended. Returns whether a signal came that asks a
 * program to end. */
bool relay_asked_to_end(int milliseconds);

/* COMMAND was forked, and signals to the group are to be known from now on. */
void relay_watch(void);

/* berth is about to stop, which takes a SIGCONT back that waits for it, and not that of others. */
void relay_stops(void);

/* Told of each child that was reaped, which may be a witness. */
void relay_buried(pid_t pid);

/* No more is passed on. */
void relay_end(void);

#endif
