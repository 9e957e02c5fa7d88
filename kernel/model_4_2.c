// SPDX-License-Identifier: MIT
//
// __inet_hash_connect() since 07f4c90062f8 (4.2; also backported to 3.10): it begins at a port of
// low's parity, and leaves the hint even, so that about half of the ports remain for bind(0).
#include "kernel/model_scan.h"

static void choose(const struct model_call *c, uint32_t *hint, struct model_choice *choice)
{
  uint32_t size = model_range_size(c), count;
  *choice = (struct model_choice){.remembered = *hint,
                                  .remembers = *hint,
                                  .size = size,
                                  .start = ((*hint + (uint32_t)c->offset) & ~1U) % size,
                                  .step = 1};
  if (model_pass(c, choice, 1, &count))
    choice->remembers = *hint += (count + 2) & ~1U;
}

const struct model model_4_2 = {
    .name = "linux-4.2",
    .covers = "connect(), Linux 4.2 to 4.5, and 3.10 with the backport",
    .source = "07f4c90062f8",
    .rule = "as linux-3.10, but from a port of low's parity on, by a hint that stays even",
    .hash = MODEL_MD5,
    .table_size = 1,
    .choose = choose,
};
