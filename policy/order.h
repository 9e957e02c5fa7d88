/* SPDX-License-Identifier: MIT
 *
 * In which order a call offers the ports of its set: a walk over the numbers 0 to size - 1 that
 * gives each of them exactly once. One file an order.
 *
 * Pure but for the order's state, which processes share: words that are read and written by single
 * atomic operations, so that no kill and no race leaves them wrong. A hostile or torn value changes
 * where a walk begins, never what it covers: what a walk has given it knows from its own memory.
 * Signal-safe; less than 512 bytes of stack with the walk; no loop longer than the set.
 */
#ifndef BERTH_POLICY_ORDER_H
#define BERTH_POLICY_ORDER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "policy/rule.h"

typedef _Atomic uint32_t policy_u32;
typedef _Atomic uint64_t policy_u64;

#define ORDER_TABLE_SIZE 256 /* double-hash: RFC 6056 suggests 10 entries at least */
#define ORDER_STAMPS 65536
#define ORDER_BLOCK 256 /* stamps whose least is remembered together */
#define ORDER_BLOCKS (ORDER_STAMPS / ORDER_BLOCK)

/* When each port of a least-recent rule was used last, by the rule's own clock; 0: never. */
struct order_stamps {
  policy_u32 used[ORDER_STAMPS];
  policy_u32 least[ORDER_BLOCKS]; /* no stamp of the block is below it: stamps only grow */
};

struct order_words {
  policy_u32 next;  /* where the next call begins, as the order means it */
  policy_u32 clock; /* least-recent: the last stamp given */
};

struct order_table {
  policy_u32 entries[ORDER_TABLE_SIZE];
};

/* What the orders of one rule remember between calls, in shared memory. Zeros at first. */
struct order_state {
  struct order_words *words;
  struct order_table *table;   /* double-hash; else NULL */
  struct order_stamps *stamps; /* least-recent; else NULL */
};

struct order_input {
  uint32_t size;       /* of the set: 1 to 65535 */
  uint64_t flow;       /* RFC 6056's F: the keyed hash of the two addresses and the remote port */
  uint64_t other_flow; /* its G: another one, which picks the table's entry */
  uint64_t random;     /* 64 random bits, drawn for this call */
  struct order_state *state;
};

/* least-recent: how many candidates of a call are the oldest of all; then it goes by blocks. */
#define ORDER_OLDEST 128

struct order_recent {
  uint16_t oldest[ORDER_OLDEST]; /* given so far, while it gives the oldest of all */
  uint32_t oldest_count;
  uint32_t done[ORDER_BLOCKS / 32]; /* bits: blocks begun, once it goes by blocks */
  uint32_t block, left;             /* the last of these, and how many of its numbers are left */
  uint32_t given[ORDER_BLOCK / 32]; /* bits: its numbers that were given */
  uint32_t last;                    /* the number given last */
  bool by_block;
};

struct order_walk {
  enum policy_order order;
  uint32_t size, given; /* numbers given so far */
  uint32_t start, step; /* i-th: (start + i * step) % size, for the orders that are so simple */
  uint32_t ticket;      /* sequential: the cursor as this call found it */
  policy_u32 *counter;  /* hash, double-hash: what each try advances */
  uint64_t random;
  struct order_state *state;
  struct order_recent recent;
};

/* Begins a call's walk. Without the memory that an order needs (`table`, `stamps` NULL) it does the
 * next best: hash for double-hash, sequential for least-recent. */
void order_begin(struct order_walk *w, enum policy_order order, const struct order_input *in);

/* The next number; false once all were given. */
bool order_next(struct order_walk *w, uint32_t *index);

/* `index` is what this call has got, be it of the walk or picked by the kernel: what the order
 * remembers of that. */
void order_settle(struct order_walk *w, uint32_t index);

/* The port that this number stands for is free again: least-recent counts it as used until now. */
void order_release(struct order_state *state, uint32_t index);

#endif
