// SPDX-License-Identifier: MIT
//
// __inet_hash_connect() since 190cc82489f4 and c579bd1b4021 (5.12): RFC 6056's double-hash, with a
// port left out in one call of sixteen.
#include "kernel/model_scan.h"

#define TABLE_SIZE 256

/* hash_32() of include/linux/hash.h, to 8 bits. */
static uint32_t entry_of(uint32_t offset)
{
  return (offset * 0x61C88647U) >> 24;
}

static void choose(const struct model_call *c, uint32_t *table, struct model_choice *choice)
{
  uint32_t size = model_even_size(c), offset = (uint32_t)c->offset, i;
  uint32_t *word = &table[entry_of(offset)];
  *choice = (struct model_choice){.entry = entry_of(offset),
                                  .remembered = *word,
                                  .remembers = *word,
                                  .size = size,
                                  .start = (*word + offset) % size,
                                  .step = 2};
  if (!model_passes(c, choice, true, &i))
    return;
  if (i == 0 && c->draw(c->draw_data, 16) == 0)
    i = 2;
  choice->remembers = *word += i + 2;
}

const struct model model_5_12 = {
    .name = "linux-5.12",
    .covers = "connect(), Linux 5.12 to 5.17",
    .source = "190cc82489f4",
    .rule = "as linux-4.6, but with a hint of 256 that the hash picks (RFC 6056's algorithm 4)",
    .hash = MODEL_SIPHASH,
    .table_size = TABLE_SIZE,
    .choose = choose,
};
