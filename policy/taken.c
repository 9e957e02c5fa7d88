// SPDX-License-Identifier: MIT
#include "policy/taken.h"

#include <stddef.h>

static uint64_t load(const policy_u64 *word)
{
  return atomic_load_explicit(word, memory_order_relaxed);
}

static void store(policy_u64 *word, uint64_t to)
{
  atomic_store_explicit(word, to, memory_order_relaxed);
}

static uint64_t some_tag(uint64_t tag)
{
  return tag ? tag : 1;
}

/* --- maps ------------------------------------------------------------------------------------- */

static bool retag(struct taken_pool *pool, unsigned i, uint64_t from, uint64_t to)
{
  return atomic_compare_exchange_strong_explicit(&pool->tags[i], &from, to, memory_order_acq_rel,
                                                 memory_order_relaxed);
}

/* A word that is 0 already is not written: its page may not be there yet. */
static void clear(struct taken_map *map)
{
  for (uint32_t i = 0; i < TAKEN_WORDS; i++)
    if (load(&map->bits[i]))
      store(&map->bits[i], 0);
}

/* Another process may have read the clock a little later. */
static uint64_t age_of(const struct taken_pool *pool, unsigned i, uint64_t now)
{
  uint64_t born = load(&pool->born[i]);
  if (now < born)
    return born - now < TAKEN_AGE ? 0 : UINT64_MAX;
  return now - born;
}

/* It is cleared when it is made again: until then its tag keeps it from being found. */
static bool forget_if_old(struct taken_pool *pool, unsigned i, uint64_t tag, uint64_t now)
{
  if (age_of(pool, i, now) <= TAKEN_AGE)
    return false;
  retag(pool, i, tag, 0);
  return true;
}

struct taken_map *taken_find(struct taken_pool *pool, uint64_t tag, uint64_t now)
{
  tag = some_tag(tag);
  for (unsigned i = 0; i < TAKEN_MAPS; i++)
    if (atomic_load_explicit(&pool->tags[i], memory_order_acquire) == tag &&
        !forget_if_old(pool, i, tag, now))
      return &pool->maps[i];
  return NULL;
}

/* One of nothing, or else the oldest. */
static unsigned to_give_way(const struct taken_pool *pool, uint64_t now)
{
  unsigned oldest = 0;
  for (unsigned i = 0; i < TAKEN_MAPS; i++) {
    if (!load(&pool->tags[i]))
      return i;
    if (age_of(pool, i, now) > age_of(pool, oldest, now))
      oldest = i;
  }
  return oldest;
}

/* The map is of nothing while it is cleared, so nobody finds bits of another destination in it. Of
 * two that clear the same map, one gives it its tag; the other may clear bits that were set since,
 * and tries the next. A kill in between leaves a map of nothing. */
struct taken_map *taken_make(struct taken_pool *pool, uint64_t tag, uint64_t now)
{
  struct taken_map *map = taken_find(pool, tag, now);
  tag = some_tag(tag);
  for (unsigned tries = 0; tries < TAKEN_MAPS && !map; tries++) {
    unsigned i = to_give_way(pool, now);
    uint64_t was = load(&pool->tags[i]);
    if (was && !retag(pool, i, was, 0))
      continue;
    clear(&pool->maps[i]);
    store(&pool->born[i], now);
    map = retag(pool, i, 0, tag) ? &pool->maps[i] : taken_find(pool, tag, now);
  }
  return map;
}

/* --- bits ------------------------------------------------------------------------------------- */

bool taken_set(struct taken_map *map, uint32_t number)
{
  uint64_t bit = UINT64_C(1) << number % 64;
  return atomic_fetch_or_explicit(&map->bits[number / 64], bit, memory_order_relaxed) & bit;
}

void taken_clear(struct taken_map *map, uint32_t number)
{
  uint64_t bit = UINT64_C(1) << number % 64;
  atomic_fetch_and_explicit(&map->bits[number / 64], ~bit, memory_order_relaxed);
}

bool taken_test(const struct taken_map *map, uint32_t number)
{
  return load(&map->bits[number / 64]) >> number % 64 & 1;
}

void taken_fill(struct taken_map *map, uint32_t first, uint32_t count)
{
  while (count && first < TAKEN_NUMBERS) {
    uint32_t bit = first % 64, here = count < 64 - bit ? count : 64 - bit;
    atomic_fetch_or_explicit(&map->bits[first / 64], UINT64_MAX >> (64 - here) << bit,
                             memory_order_relaxed);
    first += here;
    count -= here;
  }
}

uint64_t taken_given_back(const struct taken_pool *pool)
{
  return atomic_load_explicit(&pool->given_back, memory_order_seq_cst);
}

/* Whoever gives a port back counts before it clears: so either its clearing comes after the bits
 * are set here, or its count is seen here. */
void taken_refused(struct taken_pool *pool, struct taken_map *map, uint32_t first, uint32_t count,
                   uint64_t given_back)
{
  if (taken_given_back(pool) != given_back)
    return;
  taken_fill(map, first, count);
  atomic_thread_fence(memory_order_seq_cst);
  if (taken_given_back(pool) == given_back)
    return;
  for (uint32_t i = first; i < first + count && i < TAKEN_NUMBERS; i++)
    taken_clear(map, i);
}

void taken_give_back(struct taken_pool *pool, uint64_t tag_end, uint32_t number)
{
  atomic_fetch_add_explicit(&pool->given_back, 1, memory_order_seq_cst);
  atomic_thread_fence(memory_order_seq_cst);
  for (unsigned i = 0; i < TAKEN_MAPS; i++) {
    uint64_t tag = load(&pool->tags[i]);
    if (tag && (tag & TAKEN_TAG_END) == tag_end && taken_test(&pool->maps[i], number))
      taken_clear(&pool->maps[i], number);
  }
}

/* --- what is free ----------------------------------------------------------------------------- */

static uint32_t words_of(uint32_t size)
{
  return (size + 63) / 64;
}

/* The free numbers of a word as bits, without those that the set does not have. */
static uint64_t free_of(const struct taken_map *map, uint32_t size, uint32_t word)
{
  uint64_t free = ~load(&map->bits[word]);
  if (size - word * 64 < 64)
    free &= UINT64_MAX >> (64 - (size - word * 64));
  return free;
}

/* (__builtin_popcountll() calls a function of libgcc's where the machine has no instruction that
 * each of its models knows.) */
static uint32_t ones(uint64_t x)
{
  x -= x >> 1 & UINT64_C(0x5555555555555555);
  x = (x & UINT64_C(0x3333333333333333)) + (x >> 2 & UINT64_C(0x3333333333333333));
  x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
  return (uint32_t)(x * UINT64_C(0x0101010101010101) >> 56);
}

static uint32_t first_one(uint64_t x)
{
  return (uint32_t)__builtin_ctzll(x);
}

uint32_t taken_free_count(const struct taken_map *map, uint32_t size)
{
  uint32_t count = 0;
  for (uint32_t i = 0; i < words_of(size); i++)
    count += ones(free_of(map, size, i));
  return count;
}

uint32_t taken_nth_free(const struct taken_map *map, uint32_t size, uint32_t k)
{
  for (uint32_t i = 0; i < words_of(size); i++) {
    uint64_t free = free_of(map, size, i);
    uint32_t here = ones(free);
    if (k >= here) {
      k -= here;
      continue;
    }
    while (k--)
      free &= free - 1;
    return i * 64 + first_one(free);
  }
  return size;
}

uint32_t taken_next_window(const struct taken_map *map, uint32_t size, uint32_t from,
                           uint32_t *width)
{
  uint32_t words = words_of(size), word = from / 64;
  for (uint32_t i = 0; i < words; i++) {
    if (free_of(map, size, word)) {
      *width = size - word * 64 < 64 ? size - word * 64 : 64;
      return word * 64;
    }
    word = word + 1 < words ? word + 1 : 0;
  }
  return size;
}

/* --- reserved --------------------------------------------------------------------------------- */

/* A word is the key, of 26 bits, over the thread and the time in 1/16 s. */
#define TICK UINT64_C(62500000)
#define TIME_BITS 16
#define THREAD_BITS 22
#define KEY_SHIFT (TIME_BITS + THREAD_BITS)
#define THREAD_MASK ((UINT32_C(1) << THREAD_BITS) - 1)

static uint64_t hash_of(uint64_t tag, uint32_t number)
{
  return (tag ^ number * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
}

static policy_u64 *slot_of(struct taken_pool *pool, uint64_t hash)
{
  return &pool->reserved[(hash >> TIME_BITS) % TAKEN_RESERVED];
}

static uint32_t thread_of(uint64_t word)
{
  return (uint32_t)(word >> TIME_BITS) & THREAD_MASK;
}

static bool is_fresh(uint64_t word, uint64_t now)
{
  uint16_t age = (uint16_t)(now / TICK - word);
  return age < TAKEN_RESERVED_NS / TICK;
}

static uint32_t keeper(uint64_t word, uint64_t hash)
{
  return word >> KEY_SHIFT == hash >> KEY_SHIFT ? thread_of(word) : 0;
}

uint32_t taken_reserve(struct taken_pool *pool, uint64_t tag, uint32_t number, uint64_t now,
                       uint32_t thread)
{
  uint64_t hash = hash_of(tag, number), there, mine;
  policy_u64 *slot = slot_of(pool, hash);
  there = load(slot);
  mine = hash >> KEY_SHIFT << KEY_SHIFT | (uint64_t)(thread & THREAD_MASK) << TIME_BITS |
         (uint16_t)(now / TICK);
  if (there && is_fresh(there, now))
    return keeper(there, hash);
  if (atomic_compare_exchange_strong_explicit(slot, &there, mine, memory_order_acq_rel,
                                              memory_order_relaxed))
    return 0;
  return keeper(there, hash);
}

void taken_unreserve(struct taken_pool *pool, uint64_t tag, uint32_t number, uint32_t thread)
{
  uint64_t hash = hash_of(tag, number);
  policy_u64 *slot = slot_of(pool, hash);
  uint64_t there = load(slot);
  if (keeper(there, hash) == (thread & THREAD_MASK))
    atomic_compare_exchange_strong_explicit(slot, &there, 0, memory_order_acq_rel,
                                            memory_order_relaxed);
}
