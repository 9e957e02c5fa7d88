/* SPDX-License-Identifier: MIT
 *
 * Whether a 4-tuple is free: a question to the kernel, by a socket of berth's own that is kept for
 * one call. Signal-safe; errno may change.
 */
#ifndef BERTH_STEER_TUPLE_H
#define BERTH_STEER_TUPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "steer/route.h"

enum tuple_state {
  TUPLE_UNKNOWN, /* netlink is forbidden, or did not answer, and /proc is not there */
  TUPLE_FREE,
  TUPLE_TIME_WAIT,
  TUPLE_TAKEN,
};

/* What is kept from one question to the next, of one call; zeros at first. */
struct tuple_asker {
  int socket;                  /* of netlink, and one more: 0 is none */
  struct listed_ports *listed; /* where netlink is forbidden */
};
void tuple_asker_end(struct tuple_asker *a);

/* Who holds the TCP connection from `port` of address `local` (zeros: the one that the route has) by
 * this route, which is the same in all questions of a call: sock_diag(7) finds it by a look-up,
 * without privileges. */
enum tuple_state tuple_state(struct tuple_asker *a, const struct route *route,
                             const uint8_t local[16], uint16_t port);

#endif
