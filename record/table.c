// SPDX-License-Identifier: MIT
#include "record/table.h"

#include <stdbool.h>
#include <stddef.h>

/* A new row, unless the table is full: an eighth stays free so that a search ends soon. */
static bool may_insert(const struct record_table *table)
{
  uint32_t limit = table->count - table->count / 8;
  return atomic_load_explicit(table->used, memory_order_relaxed) < limit &&
         atomic_fetch_add_explicit(table->used, 1, memory_order_relaxed) < limit;
}

void *record_table_row(const struct record_table *table, uint64_t tag)
{
  uint32_t mask = table->count - 1;
  for (uint32_t step = 0, at = (uint32_t)tag & mask; step <= mask; step++, at = (at + 1) & mask) {
    record_u64 *row = (void *)(table->rows + (size_t)at * table->stride);
    uint64_t there = atomic_load_explicit(row, memory_order_relaxed);
    if (there == 0) {
      if (!may_insert(table))
        return NULL;
      atomic_compare_exchange_strong_explicit(row, &there, tag, memory_order_relaxed,
                                              memory_order_relaxed);
      if (there == 0)
        there = tag;
    }
    if (there == tag)
      return row;
  }
  return NULL;
}
