/* SPDX-License-Identifier: MIT
 *
 * What a policy's rules remember between calls, in memory that processes share: one block, zeros
 * at first, laid out by the policy's image alone. Whoever makes the block begins it once, before
 * others open it. All of it is a hint: a torn, stale or hostile word changes which port is offered
 * first; which ports are offered at all only where a rule has `tries` or `rest`. Lock-free;
 * signal-safe.
 */
#ifndef BERTH_POLICY_STATE_H
#define BERTH_POLICY_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/image.h"
#include "policy/order.h"
#include "policy/rest.h"
#include "policy/taken.h"

/* Of one rule: a cache line of its own. */
struct policy_rule_state {
  struct order_words order;
  policy_u32 turns[2]; /* of the source addresses: IPv4, IPv6 */
  uint32_t reserved[12];
};
static_assert(sizeof(struct policy_rule_state) == 64, "a cache line");

struct policy_state_header {
  uint64_t checksum; /* of the image that the block is for */
  uint64_t key[2];   /* of hash, double-hash and the random numbers: of this run alone */
  policy_u64 draws;  /* random numbers given out */
  uint64_t reserved[4];
};
static_assert(sizeof(struct policy_state_header) == 64, "a cache line");

#define POLICY_REST_WORDS 131072 /* ports at rest, all rules and destinations together */

/* The block, taken apart. */
struct policy_state {
  struct policy_state_header *header;
  struct policy_rule_state *rules;
  struct order_table *tables;  /* of the double-hash rules, in their order */
  struct order_stamps *stamps; /* of the least-recent rules, in their order */
  struct taken_pool *taken;
  struct rest_table rest; /* no words where no rule has `rest` */
};

/* Bytes of the block for this policy. */
size_t policy_state_size(const policy_image *p);

/* Makes a block of zeros one of this policy, with a random key. */
void policy_state_begin(void *block, const policy_image *p, const uint64_t key[2]);

/* Takes a block of `size` bytes, aligned to 64, apart. False if it was not begun for this policy. */
bool policy_state_open(struct policy_state *s, void *block, size_t size, const policy_image *p);

/* What the order of a rule remembers. */
struct order_state policy_state_order(const struct policy_state *s, const policy_image *p,
                                      uint32_t rule);

/* Likewise for one rule after another, in ascending order: what the rules before need is counted
 * once. Begin with zeros. */
struct order_place {
  uint32_t rule, tables, stamps;
};
struct order_state policy_state_next_order(const struct policy_state *s, const policy_image *p,
                                           uint32_t rule, struct order_place *place);

/* Which of its source addresses of a family a rule's next connection is to leave from, any number. */
uint32_t policy_state_turn(const struct policy_state *s, uint32_t rule, enum policy_family family);

/* 64 random bits. */
uint64_t policy_state_draw(const struct policy_state *s);

#endif
