// SPDX-License-Identifier: MIT
#include "policy/rest.h"

#include <stddef.h>
#include <string.h>

/* Another process may have read the clock later than this one, and have written first. */
#define AHEAD (60 * REST_PER_SECOND)

#define ATTEMPTS 8

/* The bucket is chosen by the low bits, the tag is the high ones: no bit counts twice in a table of
 * less than 2^32 buckets. */
static policy_u64 *bucket_of(const struct rest_table *t, uint64_t key)
{
  return t->words + (size_t)((uint32_t)key & (t->buckets - 1)) * REST_BUCKET;
}

static uint32_t tag_of(uint64_t key)
{
  uint32_t tag = (uint32_t)(key >> 32);
  return tag ? tag : 1; /* an entry is never 0 */
}

static uint64_t load(const policy_u64 *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}

/* How long ago, or 0 for a time that is a little ahead. */
static uint32_t age_of(uint64_t word, uint32_t now)
{
  uint32_t age = now - (uint32_t)word;
  return age > UINT32_MAX - AHEAD ? 0 : age;
}

static bool rests(uint64_t word, uint32_t now, uint32_t rest)
{
  return rest && word && age_of(word, now) <= (uint64_t)rest * REST_PER_SECOND;
}

/* Two calls at the same time may have left two entries of one key: each counts. An age that seems
 * to be `rest` may be a sixteenth of a second less, since both times are cut off. */
bool rest_is_over(const struct rest_table *t, uint64_t key, uint32_t now, uint32_t rest)
{
  const policy_u64 *bucket = bucket_of(t, key);
  uint32_t tag = tag_of(key);
  for (int i = 0; i < REST_BUCKET; i++) {
    uint64_t word = load(&bucket[i]);
    if (word >> 32 == tag && rests(word, now, rest))
      return false;
  }
  return true;
}

/* The key's own entry, or else an empty one, or else the oldest. */
static policy_u64 *place_for(policy_u64 *bucket, uint32_t tag, uint32_t now, uint64_t *was)
{
  policy_u64 *place = bucket;
  uint64_t oldest = 0;
  *was = load(bucket);
  for (int i = 0; i < REST_BUCKET; i++) {
    uint64_t word = load(&bucket[i]), age = word ? age_of(word, now) : UINT64_MAX;
    if (word >> 32 != tag && age <= oldest)
      continue;
    place = &bucket[i];
    *was = word;
    oldest = age;
    if (word >> 32 == tag)
      break;
  }
  return place;
}

/* Who has lost eight words to others leaves it at that. */
bool rest_take(const struct rest_table *t, uint64_t key, uint32_t now, uint32_t rest,
               struct rest_entry *e)
{
  policy_u64 *bucket = bucket_of(t, key);
  uint32_t tag = tag_of(key);
  memset(e, 0, sizeof *e);
  if (!rest_is_over(t, key, now, rest))
    return false;
  for (int i = 0; i < ATTEMPTS; i++) {
    uint64_t was, is = (uint64_t)tag << 32 | now;
    policy_u64 *place = place_for(bucket, tag, now, &was);
    if (was >> 32 == tag && rests(was, now, rest))
      return false;
    *e = (struct rest_entry){place, was, is};
    if (atomic_compare_exchange_strong_explicit(place, &was, is, memory_order_relaxed,
                                                memory_order_relaxed))
      return true;
  }
  memset(e, 0, sizeof *e);
  return true;
}

void rest_given(const struct rest_table *t, uint64_t key, uint32_t now)
{
  struct rest_entry e;
  rest_take(t, key, now, 0, &e);
}

/* What gave way comes back. */
void rest_take_back(struct rest_entry *e)
{
  uint64_t is = e->is;
  if (e->at)
    atomic_compare_exchange_strong_explicit(e->at, &is, e->was, memory_order_relaxed,
                                            memory_order_relaxed);
  e->at = NULL;
}
