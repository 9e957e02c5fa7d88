/* SPDX-License-Identifier: MIT
 *
 * How often each of many numbers came, for means and percentiles: exact below 2^20, and from there
 * on counted as 2^20.
 */
#ifndef BERTH_SIMULATE_COUNTS_H
#define BERTH_SIMULATE_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

struct counts {
  uint32_t *of; /* by number */
  uint64_t total, sum;
};

/* False where memory is short. */
bool counts_begin(struct counts *c);
void counts_end(struct counts *c);

void counts_add(struct counts *c, uint32_t number);

double counts_mean(const struct counts *c); /* 0 of none */

/* The least number that `percent` of 100 are not above: 0 gives the least of all, 100 the greatest;
 * 0 of none. */
uint32_t counts_percentile(const struct counts *c, uint32_t percent);

#endif
