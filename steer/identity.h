/* SPDX-License-Identifier: MIT
 *
 * Who this process is to a reader of its recording.
 *
 * Where a recording was prepared, all of it is known before main() and kept true afterwards by the
 * hooks of what changes it, because a program that has locked itself in (seccomp) could not be
 * asked at its first event. Signal-safe.
 */
#ifndef BERTH_STEER_IDENTITY_H
#define BERTH_STEER_IDENTITY_H

#include <stdint.h>

#include "record/write.h"

/* Keeps the identity from now on: called once, before main(), of a recording that was attached to
 * and stays mapped. Without a system call where this process is seen to be in the namespaces of
 * who made it: files of one mount are in one mount namespace, and nobody told of having left one
 * of the others. Else three. */
void identity_keep(const struct record_map *map);

/* The same of a recording that was made in the midst of the program; nothing, where it is kept
 * already. Four system calls. */
void identity_keep_now(const struct record_map *map);

/* The process has another effective user. A vfork child's is not its parent's: so this is one
 * system call, or two. errno may change. */
void identity_user(uint32_t effective);

/* The thread is, or its children will be, in another namespace: four system calls more, and three in
 * the next child that it forks. Who starts with the same recording will ask too. Where there are
 * other threads the process is from now on in no network namespace that could be told. */
void identity_moved(void);

/* To be called by each fork(3) before it, and in the child after self_forked(). */
void identity_forking(void);
void identity_forked(void);

/* All but what is kept is asked now: four system calls where nothing is. */
void identity_tell(struct record_identity *who);

#endif
