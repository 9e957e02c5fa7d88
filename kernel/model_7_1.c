// SPDX-License-Identifier: MIT
//
// __inet_hash_connect() since 7da62262ec96 (7.1): where ip_local_port_step_width is set, a call goes
// over the ports in random steps, like RFC 6056's random-increment.
#include "kernel/model_scan.h"
#include "kernel/model_table.h"

static uint32_t greatest_common_divisor(uint32_t a, uint32_t b)
{
  while (b) {
    uint32_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* A step, up to `width`, that comes to all of `count` ports; 1 where the draw finds none. */
static uint32_t random_step(const struct model_call *c, uint32_t count, uint32_t width)
{
  uint32_t bound = count < width ? count : width, step = 1 + c->draw(c->draw_data, bound);
  while (greatest_common_divisor(step, count) != 1) {
    step++;
    if (!(step & 1) && !(count & 1))
      step++;
    if (step > bound)
      return 1;
  }
  return step;
}

static void choose(const struct model_call *c, uint32_t *table, struct model_choice *choice)
{
  uint32_t size = c->own_range ? model_range_size(c) : model_even_size(c), i;
  uint32_t *word = model_table_begin(c, table, size, choice), stride = c->own_range ? 1 : 2;
  choice->step = stride;
  if (c->step_width && size > 1)
    choice->step *= random_step(c, size / stride, c->step_width);
  if (model_passes(c, choice, !c->own_range, &i))
    model_table_end(c, word, i, stride, choice);
}

const struct model model_7_1 = {
    .name = "linux-7.1",
    .covers = "connect(), Linux 7.1 and later",
    .source = "7da62262ec96",
    .rule = "as linux-6.8; with ip_local_port_step_width in random steps",
    .hash = MODEL_SIPHASH_10_SECONDS,
    .table_size = MODEL_TABLE_SIZE,
    .own_range = true,
    .choose = choose,
};
