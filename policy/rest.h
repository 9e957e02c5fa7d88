/* SPDX-License-Identifier: MIT
 *
 * "rest": when a rule gave a port to a destination last. A table in shared memory that forgets: a
 * hint, of which a race or a kill loses an entry at most. Zeros at first.
 *
 * Time is in sixteenths of a second of CLOCK_MONOTONIC, modulo 2^32 (8.5 years). Lock-free and
 * signal-safe.
 */
#ifndef BERTH_POLICY_REST_H
#define BERTH_POLICY_REST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "policy/order.h"

#define REST_PER_SECOND 16
#define REST_BUCKET 8 /* words of a bucket: a cache line */

struct rest_table {
  policy_u64 *words; /* tag << 32 | time; 0: empty */
  uint32_t buckets;  /* a power of two; `words` has REST_BUCKET times as many, aligned to 64 */
};

/* Whether `rest` seconds (up to POLICY_MAX_REST) have passed since the last rest_given() of the
 * key: a keyed hash of rule, destination and port, made by the caller. True for a key that was
 * never given, or is forgotten; and for a rest of 0. */
bool rest_is_over(const struct rest_table *t, uint64_t key, uint32_t now, uint32_t rest);

/* The key is given now. In a full bucket the oldest entry gives way. */
void rest_given(const struct rest_table *t, uint64_t key, uint32_t now);

/* What a call changed; zeros: nothing. */
struct rest_entry {
  policy_u64 *at;
  uint64_t was, is;
};

/* The key is about to be given: false where it rests, also since a moment ago; else it rests from
 * now on, whatever becomes of the caller, until that takes it back. With a `rest` of 0 it is given
 * all the same. */
bool rest_take(const struct rest_table *t, uint64_t key, uint32_t now, uint32_t rest,
               struct rest_entry *e);
void rest_take_back(struct rest_entry *e);

#endif
