// SPDX-License-Identifier: MIT
//
// "double-hash": RFC 6056 section 3.3.4, Algorithm 4, "a double-hash port selection algorithm": as
// Algorithm 3, with a table of counters of which another hash of the flow picks one, so that flows
// move each other's counter more rarely. The RFC fills the table with random numbers; here it begins
// with zeros, since the flow's offset is secret already.
#include "policy/order_internal.h"

static void begin(struct order_walk *w, const struct order_input *in)
{
  struct order_state *state = in->state;
  w->start = (uint32_t)(in->flow % w->size);
  w->counter = state->table ? &state->table->entries[in->other_flow % ORDER_TABLE_SIZE]
                            : &state->words->next;
}

const struct order_kind order_double_hash = {.begin = begin, .next = order_count};
