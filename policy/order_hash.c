// SPDX-License-Identifier: MIT
//
// "hash": RFC 6056 section 3.3.3, Algorithm 3, "a simple hash-based port selection algorithm": a
// counter that all flows share, plus an offset of the flow's own, advanced by one a try. The RFC
// reads the counter again for each candidate, so that calls at the same time may take numbers from
// each other's way; here a call goes on by one from where it began, and misses none.
#include "policy/order_internal.h"

static void begin(struct order_walk *w, const struct order_input *in)
{
  w->start = (uint32_t)(in->flow % w->size);
  w->counter = &in->state->words->next;
}

const struct order_kind order_hash = {.begin = begin, .next = order_count};
