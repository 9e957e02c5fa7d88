// SPDX-License-Identifier: MIT
#include "policy/pool.h"

#include <string.h>

uint32_t policy_pool_size(const policy_image *p, struct policy_span pool)
{
  if (!pool.count)
    return 0;
  const struct policy_address *last = &policy_addresses(p)[pool.first + pool.count - 1];
  return last->before + last->count;
}

/* The address `n` after this one: bytes, the last one lowest. */
static void advance(uint8_t address[16], uint32_t n)
{
  for (int i = 15; i >= 0 && n; i--) {
    n += address[i];
    address[i] = (uint8_t)n;
    n >>= 8;
  }
}

void policy_pool_address(const policy_image *p, struct policy_span pool, uint32_t n,
                         uint8_t address[16])
{
  const struct policy_address *all = policy_addresses(p) + pool.first;
  uint32_t low = 0, high = pool.count - 1;
  while (low < high) {
    uint32_t middle = low + (high - low + 1) / 2;
    if (all[middle].before <= n)
      low = middle;
    else
      high = middle - 1;
  }
  memcpy(address, all[low].address, 16);
  advance(address, n - all[low].before);
}
