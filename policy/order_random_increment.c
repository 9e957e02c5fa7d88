// SPDX-License-Identifier: MIT
//
// "random-increment": RFC 6056 section 3.3.5, Algorithm 5, "a random-increments port selection
// algorithm", with the N = 500 that it suggests: each call begins 1 to 500 after the port that was
// given last. The RFC draws each further step of a call anew, and so offers some numbers twice and
// others never; here a call keeps one step, which has no divisor in common with the set's size.
//
// As the RFC wants it, the first call of all begins anywhere: `next` is 0 before it, and only then.
// Calls at the same time begin at different numbers as their own draws differ.
#include "policy/order_internal.h"

#define TRADE_OFF 500

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
  while (b) {
    uint32_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* From 1 to 500. 1 has no divisor in common with anything: the search ends. */
static uint32_t coprime_step(uint32_t step, uint32_t size)
{
  while (common_divisor(size, step) != 1)
    step = step % TRADE_OFF + 1;
  return step;
}

static void begin(struct order_walk *w, const struct order_input *in)
{
  uint32_t next = order_load(&in->state->words->next), draw = (uint32_t)(in->random >> 32);
  if (next)
    w->start = (next % w->size + order_below(draw, TRADE_OFF) + 1) % w->size;
  else
    w->start = order_below(draw, w->size);
  w->step = coprime_step((uint32_t)in->random % TRADE_OFF + 1, w->size);
}

static void settle(struct order_walk *w, uint32_t index)
{
  atomic_store_explicit(&w->state->words->next, index ? index : w->size, memory_order_relaxed);
}

const struct order_kind order_random_increment = {
    .begin = begin, .next = order_step, .settle = settle};
