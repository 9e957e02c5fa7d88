/* SPDX-License-Identifier: MIT
 *
 * Whether a header tells of a recording that this berth may use.
 */
#ifndef BERTH_RECORD_HEADER_H
#define BERTH_RECORD_HEADER_H

#include <stdint.h>

#include "record/layout.h"

/* RECORD_MAGIC as the header holds it. */
uint64_t record_magic(void);

/* NULL if every section that the header describes lies within `size` bytes, as this version
 * lays it out; else what is wrong, for people. `h` is private memory, or trusted. */
const char *record_header_problem(const struct record_header *h, uint64_t size);

#endif
