/* SPDX-License-Identifier: MIT
 *
 * For which ports, and for which sockets, IP_LOCAL_PORT_RANGE is of use: the kernel heeds it within
 * the range of the socket's network namespace alone, and refuses it to some kinds of sockets. What is
 * known of that is the process's; lock-free; signal-safe. errno may change where a call is made.
 */
#ifndef BERTH_STEER_RANGE_H
#define BERTH_STEER_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/set.h"

/* What was read at the start; NULL: it could not be, and the option is not to be used. */
void range_begin(const struct policy_machine *m);
bool range_is_known(void);

/* How many ports in a row, from this one on, the machine's range holds: reserved ones among them. */
uint32_t range_from(uint16_t port);

/* Of these ports those that it holds: false where there are none, or it is not known. */
bool range_clip(struct policy_ports *ports);

/* This thread has gone to another network namespace, or may have. */
void range_moved(void);

/* Whether the option is of use to this socket, of which IPPROTO_* is known: no system call, but in a
 * process that has moved, where the range may be read once more. */
bool range_serves(int fd, uint16_t protocol);

/* The kernel refused to set the option, with this errno: held against sockets of this protocol if it
 * is about the option, and about such a socket. */
void range_refused(int fd, uint16_t protocol, int error);

/* Whether the kernel heeds this range now: three system calls. Where the machine's cannot be read, by
 * what is known of it. */
bool range_is_heeded(uint16_t low, uint16_t high);

#endif
