/* SPDX-License-Identifier: MIT
 *
 * Further subflows of MPTCP connections that left from a port outside the rule's set, where the kernel
 * could not be made to keep them in (steer/subflow.h): they are counted when the socket is closed, or
 * the process ends, since no call of the program opens them. Signal-safe; errno stays as it is.
 */
#ifndef BERTH_STEER_STRAY_H
#define BERTH_STEER_STRAY_H

/* `multipath` of a descriptor has been set. */
void stray_expect(void);

/* In a child of a fork: its parent counts. */
void stray_forked(void);

/* Before the descriptor is closed: one system call, of an MPTCP connection that a rule steered alone. */
void stray_look(int fd);

/* Before the process ends. Not for a vfork child, whose end is none of its parent's. */
void stray_look_at_all(void);

#endif
