// SPDX-License-Identifier: MIT
#include "policy/siphash.h"

static uint64_t rotate(uint64_t x, unsigned by)
{
  return x << by | x >> (64 - by);
}

static inline void rounds(uint64_t v[4], int count)
{
  while (count--) {
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
  }
}

static inline void take(uint64_t v[4], uint64_t word)
{
  v[3] ^= word;
  rounds(v, 2);
  v[0] ^= word;
}

/* The paper's message is bytes, read as little-endian words: given as words, the byte order of the
 * machine does not matter. Its last word holds the length in bytes modulo 256, and the bytes that do
 * not fill a word. */
uint64_t siphash_with_tail(const uint64_t key[2], const uint64_t *words, size_t count,
                           uint64_t tail, size_t tail_bytes)
{
  uint64_t v[4] = {key[0] ^ UINT64_C(0x736f6d6570736575), key[1] ^ UINT64_C(0x646f72616e646f6d),
                   key[0] ^ UINT64_C(0x6c7967656e657261), key[1] ^ UINT64_C(0x7465646279746573)};
  for (size_t i = 0; i < count; i++)
    take(v, words[i]);
  take(v, (uint64_t)(count * 8 + tail_bytes) << 56 | tail);
  v[2] ^= 0xff;
  rounds(v, 4);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t siphash(const uint64_t key[2], const uint64_t *words, size_t count)
{
  return siphash_with_tail(key, words, count, 0, 0);
}
