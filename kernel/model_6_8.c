// SPDX-License-Identifier: MIT
//
// __inet_hash_connect() since 207184853dbd (6.8; 6.14 is the same): where IP_LOCAL_PORT_RANGE is set,
// no parity and a single pass.
#include "kernel/model_scan.h"
#include "kernel/model_table.h"

static void choose(const struct model_call *c, uint32_t *table, struct model_choice *choice)
{
  uint32_t size = c->own_range ? model_range_size(c) : model_even_size(c), i;
  uint32_t *word = model_table_begin(c, table, size, choice);
  choice->step = c->own_range ? 1 : 2;
  if (model_passes(c, choice, !c->own_range, &i))
    model_table_end(c, word, i, choice->step, choice);
}

const struct model model_6_8 = {
    .name = "linux-6.8",
    .covers = "connect(), Linux 6.8 to 7.0",
    .source = "207184853dbd",
    .rule = "as linux-5.18; with IP_LOCAL_PORT_RANGE every port in turn, in one pass",
    .hash = MODEL_SIPHASH_10_SECONDS,
    .table_size = MODEL_TABLE_SIZE,
    .own_range = true,
    .choose = choose,
};
