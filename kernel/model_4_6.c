// SPDX-License-Identifier: MIT
//
// __inet_hash_connect() since 1580ab63fc9a (4.6): two passes, low's parity first.
#include "kernel/model_scan.h"

static void choose(const struct model_call *c, uint32_t *hint, struct model_choice *choice)
{
  uint32_t size = model_even_size(c), i;
  *choice = (struct model_choice){.remembered = *hint,
                                  .remembers = *hint,
                                  .size = size,
                                  .start = (*hint + (uint32_t)c->offset) % size,
                                  .step = 2};
  if (model_passes(c, choice, true, &i))
    choice->remembers = *hint += i + 2;
}

const struct model model_4_6 = {
    .name = "linux-4.6",
    .covers = "connect(), Linux 4.6 to 5.11 (SipHash for MD5 since 4.11)",
    .source = "1580ab63fc9a",
    .rule = "all ports of low's parity, then all of the other, by one hint for all connections",
    .hash = MODEL_MD5,
    .table_size = 1,
    .choose = choose,
};
