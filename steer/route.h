/* SPDX-License-Identifier: MIT
 *
 * Where the kernel would send what a socket sends: a question to its routing, by a socket of
 * berth's own, opened and closed in one call. Nothing is sent. Signal-safe; errno may change.
 */
#ifndef BERTH_STEER_ROUTE_H
#define BERTH_STEER_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "steer/endpoint.h"

enum route_state {
  ROUTE_UNASKED,
  ROUTE_UNKNOWN, /* a sandbox forbids to ask, or there is none */
  ROUTE_FOUND,
};

struct route {
  uint8_t state;        /* enum route_state */
  bool local;           /* where found: the peer is an address of this machine */
  int device;           /* that the socket is bound to: its index, or 0 */
  uint8_t source[16];   /* where found: the address that an unbound socket leaves from */
  struct endpoint peer; /* as the kernel will see it: not unspecified */
};

/* Asks once; a route that was asked for before is left as it is. Of what a route depends on the
 * socket's device, mark and TOS, the protocol (IPPROTO_*) and the peer's port are heeded. `local` is
 * the address that the socket is bound to, or zeros. Seven system calls; more where netlink cannot
 * be used. */
void route_ask(struct route *r, int fd, uint8_t protocol, const struct endpoint *peer,
               const uint8_t local[16]);

/* Whether an IPv6 peer can be reached from no address that this machine has, so that a connect of
 * an unbound socket fails with EADDRNOTAVAIL whatever its port (ip6_dst_lookup_tail()). False where
 * it cannot be asked. Five system calls; one more for a device, and for a mark. */
bool route_lacks_source(int fd, const struct endpoint *peer);

#endif
