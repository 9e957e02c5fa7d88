/* SPDX-License-Identifier: MIT
 *
 * A 64-bit mixer (the finaliser of SplitMix64, Steele, Lea and Flood 2014): each bit of the
 * input moves about half of the output's. Not keyed: for tables, not for secrets.
 */
#ifndef BERTH_RECORD_HASH_H
#define BERTH_RECORD_HASH_H

#include <stdint.h>

static inline uint64_t hash_mix(uint64_t x)
{
  x ^= x >> 30;
  x *= UINT64_C(0xbf58476d1ce4e5b9);
  x ^= x >> 27;
  x *= UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

#endif
