// SPDX-License-Identifier: MIT
//
// "random-start": RFC 6056 section 3.3.1, Algorithm 1, "a simple port randomization algorithm": a
// random port, then the ones after it. (The RFC's text goes up, as here.)
#include "policy/order_internal.h"

static void begin(struct order_walk *w, const struct order_input *in)
{
  w->start = order_below((uint32_t)(in->random >> 32), w->size);
}

const struct order_kind order_random_start = {.begin = begin, .next = order_step};
