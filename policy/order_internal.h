/* SPDX-License-Identifier: MIT
 *
 * What an order is made of. order.c counts what was given and ends the walk.
 */
#ifndef BERTH_POLICY_ORDER_INTERNAL_H
#define BERTH_POLICY_ORDER_INTERNAL_H

#include "policy/order.h"

struct order_kind {
  void (*begin)(struct order_walk *w, const struct order_input *in);
  uint32_t (*next)(struct order_walk *w); /* the number after `given` others; given < size */
  void (*settle)(struct order_walk *w, uint32_t index); /* or NULL */
};

extern const struct order_kind order_kernel, order_random, order_random_start, order_hash,
    order_double_hash, order_random_increment, order_sequential, order_least_recent;

/* `next` of the orders that are (start + i * step) % size. */
uint32_t order_step(struct order_walk *w);

/* `next` of hash and double-hash: `counter` is taken and advanced by one a try, in one operation. */
uint32_t order_count(struct order_walk *w);

/* order_release() of least-recent. */
void order_recent_release(struct order_state *state, uint32_t index);

/* 32 random bits to a number below `size`, each as probable but for one in 65536. */
static inline uint32_t order_below(uint32_t random, uint32_t size)
{
  return (uint32_t)((uint64_t)random * size >> 32);
}

static inline uint32_t order_load(const policy_u32 *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}

#endif
