// SPDX-License-Identifier: MIT
//
// "kernel": any port of the set, and the kernel picks. RFC 6056 has no such algorithm. The walk is
// for what the kernel cannot be asked for at once: the windows of a set that has holes go on from
// the port that was given last. Calls at the same time may begin with the same number, since it is
// the kernel that keeps them apart.
#include "policy/order_internal.h"

static void begin(struct order_walk *w, const struct order_input *in)
{
  w->start = order_load(&in->state->words->next) % w->size;
}

static void settle(struct order_walk *w, uint32_t index)
{
  atomic_store_explicit(&w->state->words->next, index + 1, memory_order_relaxed);
}

const struct order_kind order_kernel = {.begin = begin, .next = order_step, .settle = settle};
