// SPDX-License-Identifier: MIT
#include "policy/order.h"

#include "policy/order_internal.h"

static const struct order_kind *const kinds[POLICY_ORDERS] = {
    [POLICY_KERNEL] = &order_kernel,
    [POLICY_RANDOM] = &order_random,
    [POLICY_RANDOM_START] = &order_random_start,
    [POLICY_HASH] = &order_hash,
    [POLICY_DOUBLE_HASH] = &order_double_hash,
    [POLICY_RANDOM_INCREMENT] = &order_random_increment,
    [POLICY_SEQUENTIAL] = &order_sequential,
    [POLICY_LEAST_RECENT] = &order_least_recent,
};

void order_begin(struct order_walk *w, enum policy_order order, const struct order_input *in)
{
  if (order == POLICY_LEAST_RECENT && !in->state->stamps)
    order = POLICY_SEQUENTIAL;
  w->order = order;
  w->size = in->size < ORDER_STAMPS ? in->size : ORDER_STAMPS - 1;
  w->given = 0;
  w->start = 0;
  w->step = 1;
  w->random = in->random;
  w->state = in->state;
  if (w->size)
    kinds[order]->begin(w, in);
}

bool order_next(struct order_walk *w, uint32_t *index)
{
  if (w->given >= w->size)
    return false;
  *index = kinds[w->order]->next(w);
  w->given++;
  return true;
}

void order_settle(struct order_walk *w, uint32_t index)
{
  if (index < w->size && kinds[w->order]->settle)
    kinds[w->order]->settle(w, index);
}

void order_release(struct order_state *state, uint32_t index)
{
  if (state->stamps && index < ORDER_STAMPS)
    order_recent_release(state, index);
}

uint32_t order_step(struct order_walk *w)
{
  return (uint32_t)((w->start + (uint64_t)w->given * w->step) % w->size);
}

/* Only the first value counts for this call: the later ones may have been moved by other calls, and
 * would then leave numbers out. */
uint32_t order_count(struct order_walk *w)
{
  uint32_t count = atomic_fetch_add_explicit(w->counter, 1, memory_order_relaxed);
  if (!w->given)
    w->start = (w->start + count % w->size) % w->size;
  return order_step(w);
}
