/* SPDX-License-Identifier: MIT
 *
 * Which ports of a rule's set one call offers to the kernel, one after the other: the rule's order,
 * with what was found taken lately put off to the end, and ports at rest left out.
 *
 * Where the order and the set allow it a candidate is a window: consecutive ports of which the
 * kernel picks a free one in a single call. Every port is offered before the set counts as
 * exhausted; singly none twice, while a window may hold ports that were offered singly before.
 * Signal-safe; under a kilobyte of stack.
 */
#ifndef BERTH_STEER_CANDIDATES_H
#define BERTH_STEER_CANDIDATES_H

#include <stdbool.h>
#include <stdint.h>

#include "steer/endpoint.h"
#include "steer/route.h"
#include "steer/rules.h"

struct candidate {
  uint16_t low, high;    /* host order; equal: one port */
  uint32_t index, count; /* the numbers of these ports in the set */
  bool by_range;         /* IP_LOCAL_PORT_RANGE can give it; else bind() */
};

/* Towards whom, from which address (zeros: any). */
struct candidates_flow {
  struct endpoint peer;
  uint8_t local[16];
  uint32_t local_scope;
  uint8_t transport; /* enum policy_transport */
  uint64_t now;      /* CLOCK_MONOTONIC, nanoseconds */
  bool binds;        /* bind() to port 0: no window, no peer */
  bool rangeless;    /* IP_LOCAL_PORT_RANGE is of no use: bind() alone */
  int fd;
  struct route route;           /* of the socket to the peer, once it was asked for */
  struct rest_entry resting[2]; /* of the last offer */
};

/* The route, asked for when it is first needed. */
const struct route *candidates_route(struct candidates_flow *flow);

#define CANDIDATES_KEPT 64

struct candidates {
  const struct active_rule *rule;
  struct candidates_flow *flow;
  struct order_state order;
  struct order_walk walk;
  struct taken_map *taken; /* NULL: nothing is known of this destination */
  uint64_t tag, random;
  uint64_t rest_tags[2]; /* of this source address, and that which has to do with others' rest */
  uint64_t given_back_first,
      given_back; /* taken_given_back() before the first offer, and the last */
  uint32_t now;   /* 1/16 s */
  uint32_t offers, refused;
  uint32_t cursor, covered;
  bool last_pass;                    /* what the hints left out is offered too */
  uint16_t offered[CANDIDATES_KEPT]; /* numbers offered singly; more are in `scratch` */
  uint32_t offered_count;
  unsigned char *scratch; /* a bit a number, mapped when needed */
};

void candidates_begin(struct candidates *c, const struct active_rule *rule,
                      struct candidates_flow *flow);

/* No more are asked for; what the kernel gave may still be told. More than once does no harm. */
void candidates_end(struct candidates *c);

/* The next candidate; false where the set, or the rule's `tries`, is used up. */
bool candidates_next(struct candidates *c, struct candidate *offer);

/* The kernel had none of it. */
void candidates_refused(struct candidates *c, const struct candidate *offer);

/* Takes a port for this call alone, before it is bound in a way that others can share: false where
 * another process has taken it for the same destination just now; and where it was noted as taken
 * and the kernel could not be asked whether it is free. */
bool candidates_reserve(struct candidates *c, const struct candidate *offer, bool known_free);

/* Keeps the port for this call of the thread `self`, while it is looked at, bound and connected from
 * the address `source`. Returns 0, or the thread that does so for the same destination. */
uint32_t candidates_keep(struct candidates *c, const struct candidate *offer,
                         const uint8_t source[16], uint32_t self);
void candidates_let_go(struct candidates *c, const struct candidate *offer,
                       const uint8_t source[16], uint32_t thread);

/* The candidate is offered once more: false where its port has been given meanwhile, and rests. */
bool candidates_again(struct candidates *c, const struct candidate *offer);

/* The call ended without a port of the last offer: it does not rest. */
void candidates_withdraw(struct candidates_flow *flow);

/* The kernel gave this port; one that berth bound is noted at once, since it must not be bound for
 * the same destination again. Returns what steer/held.h is to remember of the descriptor. */
uint64_t candidates_granted(struct candidates *c, uint16_t port, bool bound);

/* The rule that gave it, and its name; NULL where it is not known. */
const struct active_rule *candidates_holder(uint64_t held);
const char *candidates_giver(uint64_t held);

/* A descriptor that held the port was closed. */
void candidates_released(uint64_t held);

#endif
