// SPDX-License-Identifier: MIT
//
// "sequential": one port after the other, as in RFC 6056 section 2.2 ("traditional"), which the RFC
// advises against: who sees one port knows the next.
//
// The cursor is a ticket that only grows, 2^32 of them, of which the remainder by the size counts:
// a call takes its ticket by adding one, so calls at the same time begin one after the other, and
// a late settle does not move the cursor back to what others have been given. Where the ticket
// wraps, after four billion calls, the walk jumps once unless the size is a power of two.
#include "policy/order_internal.h"

static void begin(struct order_walk *w, const struct order_input *in)
{
  w->ticket = atomic_fetch_add_explicit(&in->state->words->next, 1, memory_order_relaxed);
  w->start = w->ticket % w->size;
}

/* The next call begins after `index`, unless others have gone beyond it already. */
static void settle(struct order_walk *w, uint32_t index)
{
  policy_u32 *next = &w->state->words->next;
  uint32_t after = w->ticket + (index + w->size - w->start) % w->size + 1, now = order_load(next);
  while ((int32_t)(after - now) > 0 &&
         !atomic_compare_exchange_weak_explicit(next, &now, after, memory_order_relaxed,
                                                memory_order_relaxed))
    ;
}

const struct order_kind order_sequential = {.begin = begin, .next = order_step, .settle = settle};
