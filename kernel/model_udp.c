// SPDX-License-Identifier: MIT
//
// udp_lib_get_port() since 98322f22eca8 (2.6.33): for one slot of the hash table after the other, the
// ports of the slot, in random steps around all 65,536.
#include "kernel/model_scan.h"

/* The ports of the slot that `first` is in. */
static bool slot(const struct model_call *c, struct model_choice *choice, uint16_t first)
{
  uint16_t port = first;
  do {
    if (port >= c->low && port <= c->high && model_try(c, port, choice))
      return true;
    port = (uint16_t)(port + choice->step);
  } while (port != first);
  return false;
}

static void choose(const struct model_call *c, uint32_t *none, struct model_choice *choice)
{
  (void)none;
  uint32_t size = model_range_size(c), random = c->draw(c->draw_data, 0);
  *choice = (struct model_choice){.size = size,
                                  .start = (uint32_t)((uint64_t)random * size >> 32),
                                  .step = (random | 1) * (c->mask + 1) & 0xFFFF};
  if (!c->look && model_is_full(c)) { /* which takes long to find out port by port */
    choice->looked_at = size;
    choice->passes = c->mask + 1;
    return;
  }
  uint16_t first = (uint16_t)(c->low + choice->start);
  for (uint32_t i = 0; i <= c->mask; i++) {
    choice->passes++;
    if (slot(c, choice, (uint16_t)(first + i)))
      return;
  }
}

const struct model model_udp = {
    .name = "linux-udp",
    .covers = "UDP's bind() to port 0, connect() and first send, Linux 2.6.33 and later",
    .source = "98322f22eca8",
    .rule = "a random port, then random steps through its slot of the hash table, slot after slot",
    .own_range = true,
    .choose = choose,
};
