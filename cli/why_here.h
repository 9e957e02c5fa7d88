/* SPDX-License-Identifier: MIT
 *
 * This network namespace as it was a moment ago: looked at again when that is a second old, or 20
 * times as old as the look took.
 */
#ifndef BERTH_CLI_WHY_HERE_H
#define BERTH_CLI_WHY_HERE_H

#include "doctor/destination.h"
#include "kernel/holders.h"
#include "record/layout.h"

/* NULL where the sockets cannot be seen. What the other functions return is of the same look, and
 * is the look's own. */
const struct doctor_view *here(void);

/* The address that an event's call went to: of an unspecified one the source's own, or loopback. */
void here_reached(const struct record_event *e, uint8_t peer[16]);

/* The ports from `local` (unspecified: from the address that has most) to a destination; NULL where
 * there is no connection. */
const struct destination *here_destination(const uint8_t local[16], const uint8_t peer[16],
                                           uint16_t peer_port);

/* A socket that holds the port: a listener or a bound one rather than a connection; NULL for none. */
const struct diag_socket *here_port(uint16_t port);

/* A UDP socket that has the port; NULL for none. */
const struct diag_socket *here_udp_port(uint16_t port);

/* The connection of an event's addresses and ports; NULL. */
const struct diag_socket *here_tuple(const struct record_event *e);

/* A process that has the socket open; 0: none that can be seen. */
uint32_t here_holder(const struct diag_socket *s);

/* Which process holds most of the connections to a destination, and how many; 0: none is seen. */
uint32_t here_main_holder(const struct destination *d, uint32_t *count);

/* Whether sockets that are bound and neither connected nor listening are among those looked at:
 * asked of the kernel once. */
bool here_sees_bound(void);

/* Ports of the range that have a socket, or are reserved. */
uint32_t here_occupied(void);

#endif
