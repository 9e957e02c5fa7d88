/* SPDX-License-Identifier: MIT
 *
 * Questions about addresses and 4-tuples that need a socket of berth's own, opened and closed in
 * one call. Signal-safe; errno may change.
 */
#ifndef BERTH_STEER_LOCAL_H
#define BERTH_STEER_LOCAL_H

#include <stdbool.h>
#include <stdint.h>

#include "steer/endpoint.h"

/* Whether it is an address of this machine; loopback and the unspecified one are. Three system
 * calls for any other. */
bool address_is_local(const struct endpoint *address);

enum tuple_state {
  TUPLE_UNKNOWN, /* netlink is forbidden, or did not answer, and /proc is not there */
  TUPLE_FREE,
  TUPLE_TIME_WAIT,
  TUPLE_TAKEN,
};

/* What is kept from one question to the next, of one call; zeros at first. */
struct tuple_asker {
  int socket; /* of netlink, and one more: 0 is none */
  bool asked, routed;
  struct endpoint peer;        /* as the kernel will see it: not unspecified */
  uint8_t source[16];          /* the address that the route to it has */
  struct listed_ports *listed; /* where netlink is forbidden */
};
void tuple_asker_end(struct tuple_asker *a);

/* Who holds the TCP connection, of a socket bound to this device (an index, or 0), from `port` of
 * address `local` (zeros: the one that the route has) to a peer that is the same in all questions of
 * a call: sock_diag(7) finds it by a look-up, without privileges. */
enum tuple_state tuple_state(struct tuple_asker *a, int device, const uint8_t local[16],
                             uint16_t port, const struct endpoint *to);

#endif
