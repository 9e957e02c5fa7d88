// SPDX-License-Identifier: MIT
//
// inet_csk_find_open_port() since ea8add2b1903 (4.6): bind(0), and listen() on a socket without a
// port. It prefers the parity that connect() does not; with SO_REUSEADDR the lower half of the range.
#include "kernel/model_scan.h"

/* The passes over one half, or over the whole: the parity other than low's first. */
static bool both_parities(const struct model_call *c, struct model_choice *choice)
{
  uint32_t count;
  choice->size = model_even_size(c);
  choice->start = c->draw(c->draw_data, choice->size) | 1U;
  if (model_pass(c, choice, 2, &count))
    return true;
  choice->start--;
  return model_pass(c, choice, 2, &count);
}

static void choose(const struct model_call *c, uint32_t *none, struct model_choice *choice)
{
  (void)none;
  *choice = (struct model_choice){.step = 2};
  uint32_t size = model_range_size(c);
  if (!c->reuse || size < 4) {
    both_parities(c, choice);
    return;
  }
  struct model_call half = *c;
  half.high = (uint16_t)(c->low + (size >> 2 << 1) - 1);
  if (both_parities(&half, choice))
    return;
  half.low = (uint16_t)(half.high + 1);
  half.high = c->high;
  both_parities(&half, choice);
}

const struct model model_bind = {
    .name = "linux-bind",
    .covers = "bind() to port 0 and listen(), Linux 4.6 and later",
    .source = "ea8add2b1903",
    .rule = "from a random port on, the parity other than low's first",
    .own_range = true,
    .choose = choose,
};
