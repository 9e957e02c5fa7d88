// SPDX-License-Identifier: MIT
//
// "least-recent": the port unused for longest first. Not in RFC 6056; no order uses a port again
// later than this one, and none is easier to predict but "sequential".
//
// When a number was used is a stamp by the rule's own clock, which ticks once a stamp. A number is
// stamped as it is offered (if the kernel refuses it, it is in use right now) and when its port is
// closed. Offering is a compare-and-swap of the stamp that was found: of calls at the same time one
// gets the number, and the others look again.
//
// The least of 65536 stamps is found without reading them all: stamps only grow, so the least of a
// block that somebody has found once is a bound below all of its stamps for ever. The block with
// the lowest bound is read, its bound put right, and so on until what was found is not above any
// other bound. Numbers of one stamp (never used) go in ascending order.
//
// In a walk, the first ORDER_OLDEST numbers are the oldest of all, one after the other. Then, or
// once the oldest is one that this call has given itself (for the others have been used since, by
// other calls), it goes by blocks: the block with the lowest bound, all that is left of it by age,
// and the next block. So it can tell what it has given in a few words of its own, whatever others
// do to the stamps meanwhile: each number is given exactly once. By blocks, calls at the same time
// may offer the same number, and the kernel keeps them apart.
//
// The clock wraps after 2^32 ticks, and stamps are compared by how far they are from it. That goes
// wrong only for a number without a stamp for 2^31 ticks, while the others have had thousands each;
// there is none, since the oldest is offered next.
#include "policy/order_internal.h"

#include <string.h>

#define BITS(array, bit) ((array)[(bit) / 32] >> (bit) % 32 & 1)
#define SET(array, bit) ((array)[(bit) / 32] |= UINT32_C(1) << (bit) % 32)

/* A call that has lost as many numbers to others takes one that it need not win. */
#define ATTEMPTS 1000

struct found {
  uint32_t number, stamp;
  uint64_t age;   /* age_of() the stamp; UINT64_MAX for none */
  uint64_t other; /* the next one's, of those that were looked at */
};

static uint32_t tick(struct order_state *state)
{
  return atomic_fetch_add_explicit(&state->words->clock, 1, memory_order_relaxed) + 1;
}

/* The older the smaller. Half of all stamps are before `now`, and half after: other processes stamp
 * while this one looks. */
static uint32_t age_of(uint32_t stamp, uint32_t now)
{
  return stamp - now + UINT32_C(0x80000000);
}

static void raise(policy_u32 *word, uint32_t to)
{
  uint32_t was = order_load(word);
  while ((int32_t)(to - was) > 0 && !atomic_compare_exchange_weak_explicit(
                                        word, &was, to, memory_order_relaxed, memory_order_relaxed))
    ;
}

static uint32_t blocks_of(const struct order_walk *w)
{
  return (w->size + ORDER_BLOCK - 1) / ORDER_BLOCK;
}

static uint32_t numbers_of(const struct order_walk *w, uint32_t block)
{
  uint32_t left = w->size - block * ORDER_BLOCK;
  return left < ORDER_BLOCK ? left : ORDER_BLOCK;
}

static uint32_t stamp_of(uint64_t age, uint32_t now)
{
  return (uint32_t)age + now - UINT32_C(0x80000000);
}

/* The oldest number of the block that is not in `given` (bits). */
static struct found oldest_in(const struct order_walk *w, uint32_t block, const uint32_t *given,
                              uint32_t now)
{
  const policy_u32 *used = w->state->stamps->used + block * ORDER_BLOCK;
  struct found found = {.age = UINT64_MAX, .other = UINT64_MAX};
  uint32_t numbers = numbers_of(w, block), best = 0;
  for (uint32_t i = 0; i < numbers; i++) {
    uint32_t age = age_of(order_load(&used[i]), now);
    if (age >= found.other || BITS(given, i))
      continue;
    if (age < found.age) {
      found.other = found.age;
      found.age = age;
      best = i;
    } else {
      found.other = age;
    }
  }
  found.stamp = stamp_of(found.age, now);
  found.number = block * ORDER_BLOCK + best;
  return found;
}

/* The block with the lowest bound that is not in `done` (bits). */
static struct found lowest_bound(const struct order_walk *w, const uint32_t *done, uint32_t now)
{
  const policy_u32 *least = w->state->stamps->least;
  struct found found = {.age = UINT64_MAX, .other = UINT64_MAX};
  uint32_t blocks = blocks_of(w);
  for (uint32_t i = 0; i < blocks; i++) {
    uint32_t age = age_of(order_load(&least[i]), now);
    if (age >= found.other || BITS(done, i))
      continue;
    if (age < found.age) {
      found.other = found.age;
      found.age = age;
      found.number = i;
    } else {
      found.other = age;
    }
  }
  found.stamp = stamp_of(found.age, now);
  return found;
}

static void set_bound(struct order_walk *w, uint32_t block, uint32_t from, uint32_t to)
{
  if (from != to)
    atomic_compare_exchange_strong_explicit(&w->state->stamps->least[block], &from, to,
                                            memory_order_relaxed, memory_order_relaxed);
}

/* The oldest of all. (Where a bound is none, since somebody wrote nonsense, it is another one.) */
static struct found oldest(struct order_walk *w, uint32_t now)
{
  static const uint32_t none[8]; /* bits of a block, or of the blocks */
  struct found found;
  for (int i = 0; i < ORDER_BLOCKS; i++) {
    struct found block = lowest_bound(w, none, now);
    found = oldest_in(w, block.number, none, now);
    set_bound(w, block.number, block.stamp, found.stamp);
    if (found.age <= block.other)
      break;
  }
  return found;
}

static bool was_given(const struct order_recent *r, uint32_t number)
{
  for (uint32_t i = 0; i < r->oldest_count; i++)
    if (r->oldest[i] == number)
      return true;
  return false;
}

/* Stamps a number that was found. If nobody has done so meanwhile, the next one of its block is the
 * block's least: the new stamp is above all that were read before it was taken. */
static bool win(struct order_walk *w, struct found found, uint32_t now)
{
  uint32_t block = found.number / ORDER_BLOCK, was = found.stamp, stamp = tick(w->state);
  if (!atomic_compare_exchange_strong_explicit(&w->state->stamps->used[found.number], &was, stamp,
                                               memory_order_relaxed, memory_order_relaxed))
    return false;
  set_bound(w, block, found.stamp, found.other == UINT64_MAX ? stamp : stamp_of(found.other, now));
  return true;
}

/* The next oldest, if there is one that this call has not given, and it can be won. */
static bool win_oldest(struct order_walk *w, uint32_t *number)
{
  struct order_recent *r = &w->recent;
  for (int i = 0; i < ATTEMPTS && r->oldest_count < ORDER_OLDEST; i++) {
    uint32_t now = order_load(&w->state->words->clock);
    struct found found = oldest(w, now);
    if (was_given(r, found.number))
      return false;
    if (!win(w, found, now))
      continue;
    r->oldest[r->oldest_count++] = (uint16_t)found.number;
    *number = found.number;
    return true;
  }
  return false;
}

static void begin_block(struct order_walk *w)
{
  struct order_recent *r = &w->recent;
  r->block = lowest_bound(w, r->done, order_load(&w->state->words->clock)).number;
  SET(r->done, r->block);
  r->left = numbers_of(w, r->block);
  memset(r->given, 0, sizeof r->given);
  for (uint32_t i = 0; i < r->oldest_count; i++) {
    if (r->oldest[i] / ORDER_BLOCK == r->block) {
      SET(r->given, r->oldest[i] % ORDER_BLOCK);
      r->left--;
    }
  }
}

/* As long as fewer than `size` numbers were given, a block is left. */
static uint32_t next_of_block(struct order_walk *w)
{
  struct order_recent *r = &w->recent;
  while (!r->left)
    begin_block(w);
  struct found found = oldest_in(w, r->block, r->given, order_load(&w->state->words->clock));
  SET(r->given, found.number % ORDER_BLOCK);
  r->left--;
  raise(&w->state->stamps->used[found.number], tick(w->state));
  return found.number;
}

static void begin(struct order_walk *w, const struct order_input *in)
{
  struct order_recent *r = &w->recent;
  (void)in;
  memset(r->done, 0, sizeof r->done);
  r->oldest_count = r->left = 0;
  r->by_block = false;
  r->last = UINT32_MAX;
}

static uint32_t next(struct order_walk *w)
{
  struct order_recent *r = &w->recent;
  if (r->by_block || !win_oldest(w, &r->last)) {
    r->by_block = true;
    r->last = next_of_block(w);
  }
  return r->last;
}

/* What was offered last was stamped then. */
static void settle(struct order_walk *w, uint32_t index)
{
  if (index != w->recent.last)
    raise(&w->state->stamps->used[index], tick(w->state));
}

void order_recent_release(struct order_state *state, uint32_t index)
{
  raise(&state->stamps->used[index], tick(state));
}

const struct order_kind order_least_recent = {.begin = begin, .next = next, .settle = settle};
