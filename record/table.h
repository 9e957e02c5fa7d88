/* SPDX-License-Identifier: MIT
 *
 * A recording's hash tables as their writers see them: open addressing, rows that are never given
 * back, any number of writers at a time. Lock-free; may be called from a signal handler.
 */
#ifndef BERTH_RECORD_TABLE_H
#define BERTH_RECORD_TABLE_H

#include <stdint.h>

#include "record/layout.h"

/* Each row begins with its tag, a record_u64: a hash of its key, or 0 where the row is free. */
struct record_table {
  unsigned char *rows;
  uint32_t stride, count; /* count: a power of two */
  record_u32 *used;       /* rows taken, in the file */
};

/* The row of this tag (not 0), a new one if need be; NULL where the table is full. Whoever gets a
 * row stores its key, the same each time: one who is killed, or interrupted, before he could leaves
 * a row that the next one completes. */
void *record_table_row(const struct record_table *table, uint64_t tag);

#endif
