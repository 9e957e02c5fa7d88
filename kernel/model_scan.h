/* SPDX-License-Identifier: MIT
 *
 * What the models share: looking at a port, and the two passes over the parities.
 */
#ifndef BERTH_KERNEL_MODEL_SCAN_H
#define BERTH_KERNEL_MODEL_SCAN_H

#include "kernel/model.h"

/* Looks at a port, and takes it if it is usable. */
static inline bool model_try(const struct model_call *c, uint32_t port, struct model_choice *choice)
{
  bool usable = !model_ports_has(c->held, (uint16_t)port) &&
                !model_ports_has(c->taken, (uint16_t)port);
  choice->looked_at++;
  if (c->look)
    c->look(c->look_data, (uint16_t)port, usable);
  if (usable)
    choice->port = (uint16_t)port;
  return usable;
}

static inline uint32_t model_range_size(const struct model_call *c)
{
  return (uint32_t)c->high - c->low + 1;
}

/* The range's size as the kernel goes over it with parities: an odd one loses its last port. */
static inline uint32_t model_even_size(const struct model_call *c)
{
  uint32_t size = model_range_size(c);
  return size > 1 ? size & ~1U : size;
}

/* Whether no port of the range is usable. */
bool model_is_full(const struct model_call *c);

/* Goes over the ports from low + choice->start on in steps of choice->step, of which `stride` is the
 * part that the count advances by: the other parity is for another pass. Past `high` it goes on
 * choice->size ports lower. Says how far the count had come when it found one: the kernel's `i`. */
bool model_pass(const struct model_call *c, struct model_choice *choice, uint32_t stride,
                uint32_t *count);

/* The passes of connect(): over low's parity first and then over the other one; over all ports at
 * once where `parities` is false. */
bool model_passes(const struct model_call *c, struct model_choice *choice, bool parities,
                  uint32_t *count);

#endif
