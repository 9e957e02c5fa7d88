// SPDX-License-Identifier: MIT
//
// __inet_hash_connect() since ca7af0402550 (5.18, and in the stable kernels of its time): a table of
// 65,536, a hash that changes every ten seconds, and a random distance to the next port.
#include "kernel/model_scan.h"
#include "kernel/model_table.h"

static void choose(const struct model_call *c, uint32_t *table, struct model_choice *choice)
{
  uint32_t i;
  uint32_t *word = model_table_begin(c, table, model_even_size(c), choice);
  choice->step = 2;
  if (model_passes(c, choice, true, &i))
    model_table_end(c, word, i, 2, choice);
}

const struct model model_5_18 = {
    .name = "linux-5.18",
    .covers = "connect(), Linux 5.18 to 6.7, and stable kernels with the backport",
    .source = "ca7af0402550",
    .rule = "low's parity first; a hint of 65,536, advanced by 2 to 16",
    .hash = MODEL_SIPHASH_10_SECONDS,
    .table_size = MODEL_TABLE_SIZE,
    .own_range = true,
    .choose = choose,
};
