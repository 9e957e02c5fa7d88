/* SPDX-License-Identifier: MIT
 *
 * Which numbers of a set were found taken towards one destination lately: maps of bits in shared
 * memory, of which a pool holds a few. Zeros at first.
 *
 * A hint, for what to try first: the kernel alone knows. A bit may be lost, and where a map gives
 * way to another destination while a third process still writes to it, a bit too many may be set,
 * for TAKEN_AGE at most. So no call may fail because of bits alone.
 *
 * Time is in nanoseconds of CLOCK_MONOTONIC. Lock-free and signal-safe.
 */
#ifndef BERTH_POLICY_TAKEN_H
#define BERTH_POLICY_TAKEN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "policy/order.h"

#define TAKEN_AGE UINT64_C(10000000000) /* ns: then a map is forgotten */
#define TAKEN_NUMBERS 65536
#define TAKEN_WORDS (TAKEN_NUMBERS / 64)
#define TAKEN_WINDOW 64 /* numbers of a window: a word */

#define TAKEN_MAPS 16 /* destinations at a time */
#define TAKEN_RESERVED 256
#define TAKEN_RESERVED_NS UINT64_C(2000000000) /* then it is not waited for any longer */

struct taken_map {
  policy_u64 bits[TAKEN_WORDS];
};

/* The tags lie together: most calls look for a map that is not there. */
struct taken_pool {
  policy_u64 tags[TAKEN_MAPS]; /* of rule and destination, made by the caller; 0: of nothing */
  policy_u64 born[TAKEN_MAPS];
  policy_u64 given_back; /* ports, of whichever map */
  policy_u64 reserved[TAKEN_RESERVED];
  struct taken_map maps[TAKEN_MAPS];
};

/* The map of the tag, or NULL. A map that is too old is forgotten: it is of nothing from then on.
 * Never makes one. */
struct taken_map *taken_find(struct taken_pool *pool, uint64_t tag, uint64_t now);

/* Likewise, and makes an empty one where there is none: of an unused map, or of the oldest. NULL if
 * other processes were quicker with each of them. */
struct taken_map *taken_make(struct taken_pool *pool, uint64_t tag, uint64_t now);

/* Numbers are below TAKEN_NUMBERS; a size is 1 to TAKEN_NUMBERS, and numbers from it on are none. */
bool taken_set(struct taken_map *map, uint32_t number); /* whether it was before */
void taken_clear(struct taken_map *map, uint32_t number);
bool taken_test(const struct taken_map *map, uint32_t number);

/* Sets `count` numbers from `first` on. */
void taken_fill(struct taken_map *map, uint32_t first, uint32_t count);

/* A count that goes on whenever a port is given back: asked before the kernel is. */
uint64_t taken_given_back(const struct taken_pool *pool);

/* Sets numbers that the kernel refused, but for those that may have been given back since:
 * `given_back` is from before it was asked. */
void taken_refused(struct taken_pool *pool, struct taken_map *map, uint32_t first, uint32_t count,
                   uint64_t given_back);

/* After a port was given back: clears its number in the map whose tag has this end. */
#define TAKEN_TAG_BITS 35
#define TAKEN_TAG_END ((UINT64_C(1) << TAKEN_TAG_BITS) - 1)
void taken_give_back(struct taken_pool *pool, uint64_t tag_end, uint32_t number);

uint32_t taken_free_count(const struct taken_map *map, uint32_t size);

/* The k-th free number from 0 on, or `size` if there are no more than k. */
uint32_t taken_nth_free(const struct taken_map *map, uint32_t size, uint32_t k);

/* The first window that is not full, from the one that holds `from` (below size) on, from the end to
 * 0; `size` if there is none. Returns its first number, a multiple of TAKEN_WINDOW, and how many it
 * has to `width`: fewer at the set's end. */
uint32_t taken_next_window(const struct taken_map *map, uint32_t size, uint32_t from,
                           uint32_t *width);

/* Keeps a number of a tag for a thread (below 2^22, as PID_MAX_LIMIT of Linux is) while it looks,
 * binds and connects. Returns 0, or the thread that has it, which may have ended since. Two that
 * meet in the table by accident do not keep one another out. */
uint32_t taken_reserve(struct taken_pool *pool, uint64_t tag, uint32_t number, uint64_t now,
                       uint32_t thread);
/* Where it is that thread's. */
void taken_unreserve(struct taken_pool *pool, uint64_t tag, uint32_t number, uint32_t thread);

#endif
