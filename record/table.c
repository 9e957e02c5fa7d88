// SPDX-License-Identifier: MIT
#include "record/table.h"

#include <stdbool.h>
#include <stddef.h>

/* An eighth stays free so that a search ends soon; a few rows less where writers race. */
static bool is_full(const struct record_table *table)
{
  return atomic_load_explicit(table->used, memory_order_acquire) >= table->count - table->count / 8;
}

/* Puts the tag into a row that was free. Returns what is there then: 0 where the table is full.
 * Counted once it is there: of those who race for one row for the same key, one counts. Somebody
 * may have put it there just now and filled the table thereby, so a full one is looked at again. */
static uint64_t insert(const struct record_table *table, record_u64 *row, uint64_t tag)
{
  uint64_t there = 0;
  if (is_full(table))
    return atomic_load_explicit(row, memory_order_relaxed);
  if (!atomic_compare_exchange_strong_explicit(row, &there, tag, memory_order_relaxed,
                                               memory_order_relaxed))
    return there;
  atomic_fetch_add_explicit(table->used, 1, memory_order_release);
  return tag;
}

void *record_table_row(const struct record_table *table, uint64_t tag)
{
  uint32_t mask = table->count - 1;
  for (uint32_t step = 0, at = (uint32_t)tag & mask; step <= mask; step++, at = (at + 1) & mask) {
    record_u64 *row = (void *)(table->rows + (size_t)at * table->stride);
    uint64_t there = atomic_load_explicit(row, memory_order_relaxed);
    if (there == 0)
      there = insert(table, row, tag);
    if (there == 0)
      return NULL;
    if (there == tag)
      return row;
  }
  return NULL;
}
