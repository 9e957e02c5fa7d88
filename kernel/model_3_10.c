// SPDX-License-Identifier: MIT
//
// __inet_hash_connect() before 07f4c90062f8 (4.2), as in 2.6 and 3.10: one hint for all connections,
// and every port in turn.
#include "kernel/model_scan.h"

static void choose(const struct model_call *c, uint32_t *hint, struct model_choice *choice)
{
  uint32_t size = model_range_size(c), count;
  /* The sum in the loop, i + offset, is of 32 bits: that it wraps there is left out. */
  *choice = (struct model_choice){.remembered = *hint,
                                  .remembers = *hint,
                                  .size = size,
                                  .start = (*hint + (uint32_t)c->offset + 1) % size,
                                  .step = 1};
  if (model_pass(c, choice, 1, &count))
    choice->remembers = *hint += count + 1;
}

const struct model model_3_10 = {
    .name = "linux-3.10",
    .covers = "connect(), Linux 2.6 to 4.1",
    .source = "before 07f4c90062f8",
    .rule = "from the hash and one hint for all connections on, each port in turn",
    .hash = MODEL_MD5,
    .table_size = 1,
    .choose = choose,
};
