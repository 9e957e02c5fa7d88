// SPDX-License-Identifier: MIT
//
// "random": RFC 6056 section 3.3.2, Algorithm 2, "another simple port randomization algorithm". It
// draws each candidate anew and may draw one twice, or miss one; this goes through a permutation
// drawn for the call, so that a call that tries the whole set finds the last free port.
//
// The permutation is a Feistel network over the smallest power of two that holds the set, its key
// the call's random number. What falls outside the set is sent through again until it falls inside
// (cycle walking, Black and Rogaway 2002): less than two passes on average, and no memory.
#include "policy/order_internal.h"

/* Rounds until pairs of candidates are even as far as a million calls can tell: a half of one or two
 * bits changes little a round. */
static unsigned rounds_for(unsigned bits)
{
  return bits < 6 ? 24 : 6;
}

/* The finaliser of SplitMix64 (Steele, Lea and Flood 2014). */
static uint64_t mix(uint64_t x)
{
  x ^= x >> 30;
  x *= UINT64_C(0xbf58476d1ce4e5b9);
  x ^= x >> 27;
  x *= UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

/* The halves may differ by a bit: each round changes one by the other, which any widths allow. */
static uint32_t permute(uint32_t x, uint64_t key, unsigned bits)
{
  unsigned low_bits = bits / 2;
  uint32_t low_mask = (1u << low_bits) - 1, high_mask = (1u << (bits - low_bits)) - 1;
  uint32_t low = x & low_mask, high = x >> low_bits;
  for (uint64_t round = 0; round < rounds_for(bits); round++) {
    uint64_t other = round & 1 ? high : low;
    uint32_t change = (uint32_t)mix(key ^ (round << 16 | other) * UINT64_C(0x9e3779b97f4a7c15));
    if (round & 1)
      low ^= change & low_mask;
    else
      high ^= change & high_mask;
  }
  return high << low_bits | low;
}

static void begin(struct order_walk *w, const struct order_input *in)
{
  (void)in;
  w->step = w->size > 1 ? 32 - (unsigned)__builtin_clz(w->size - 1) : 0; /* bits */
}

static uint32_t next(struct order_walk *w)
{
  uint32_t index = w->given;
  do
    index = permute(index, w->random, w->step);
  while (index >= w->size);
  return index;
}

const struct order_kind order_random = {.begin = begin, .next = next};
