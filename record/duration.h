/* SPDX-License-Identifier: MIT
 *
 * The duration histogram's buckets: exact up to 7 ns, then 8 linear steps in each power of
 * two; the last bucket takes all that is longer.
 */
#ifndef BERTH_RECORD_DURATION_H
#define BERTH_RECORD_DURATION_H

#include <stdint.h>

#include "record/layout.h"

static inline uint32_t duration_bucket(uint64_t ns)
{
  if (ns < RECORD_DURATION_STEPS)
    return (uint32_t)ns;
  uint32_t power = 63 - (uint32_t)__builtin_clzll(ns); /* at least 3 */
  uint32_t step = (uint32_t)(ns >> (power - 3)) & (RECORD_DURATION_STEPS - 1);
  uint32_t bucket = (power - 2) * RECORD_DURATION_STEPS + step;
  return bucket < RECORD_DURATION_BUCKETS ? bucket : RECORD_DURATION_BUCKETS - 1;
}

/* The shortest duration that falls into a bucket. */
static inline uint64_t duration_lowest(uint32_t bucket)
{
  if (bucket < RECORD_DURATION_STEPS)
    return bucket;
  uint32_t power = bucket / RECORD_DURATION_STEPS + 2;
  return ((uint64_t)RECORD_DURATION_STEPS + bucket % RECORD_DURATION_STEPS) << (power - 3);
}

/* The middle of a bucket, which stands for all that is in it. */
static inline uint64_t duration_middle(uint32_t bucket)
{
  return (duration_lowest(bucket) + duration_lowest(bucket + 1)) / 2;
}

#endif
