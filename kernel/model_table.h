/* SPDX-License-Identifier: MIT
 *
 * table_perturb[] as it is since 5.18: the low bits of the hash pick the word, the high ones are
 * added to it.
 */
#ifndef BERTH_KERNEL_MODEL_TABLE_H
#define BERTH_KERNEL_MODEL_TABLE_H

#include "kernel/model.h"

#define MODEL_TABLE_SIZE MODEL_TABLE_LARGEST /* INET_TABLE_PERTURB_SIZE */

/* Where a call over `size` ports starts; returns its word of the table. */
static inline uint32_t *model_table_begin(const struct model_call *c, uint32_t *table,
                                          uint32_t size, struct model_choice *choice)
{
  uint32_t entry = (uint32_t)c->offset & (MODEL_TABLE_SIZE - 1);
  uint32_t word = table[entry];
  *choice = (struct model_choice){.entry = entry,
                                  .remembered = word,
                                  .remembers = word,
                                  .size = size,
                                  .start = (word + (uint32_t)(c->offset >> 32)) % size};
  return &table[entry];
}

/* After a port was found when the count had come to `i`: on by that or by up to seven strides more,
 * whichever is further, and one stride. */
static inline void model_table_end(const struct model_call *c, uint32_t *word, uint32_t i,
                                   uint32_t stride, struct model_choice *choice)
{
  uint32_t noise = c->draw(c->draw_data, 8) * stride;
  choice->remembers = *word += (i > noise ? i : noise) + stride;
}

#endif
