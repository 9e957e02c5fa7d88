/* SPDX-License-Identifier: MIT
 *
 * One machine's memory of an algorithm: what it keeps from call to call, its secrets and its random
 * numbers, all of them from one seed. The same seed and the same calls give the same ports.
 */
#ifndef BERTH_SIMULATE_CHOOSER_H
#define BERTH_SIMULATE_CHOOSER_H

#include "policy/order.h"
#include "simulate/algorithm.h"

struct chooser {
  const struct algorithm *algorithm;
  uint64_t random;     /* the generator's state */
  uint64_t key[2];     /* of SipHash */
  uint32_t secret[16]; /* of MD5 */
  uint32_t *table;     /* of the kernel's model */
  struct order_words words;
  struct order_table *entries;
  struct order_stamps *stamps;
};

/* A connection to be. Addresses as the kernel hashes them: in network byte order. */
struct flow {
  uint32_t source, destination;
  uint16_t port; /* of the destination, host byte order */
};

/* False where memory is short; to be ended all the same. */
bool chooser_begin(struct chooser *ch, const struct algorithm *a, uint64_t seed);
void chooser_end(struct chooser *ch);

/* Lets every word of what a kernel remembers be this. */
void chooser_remember(struct chooser *ch, uint32_t hint);

/* The hash of a connection as the era makes it, at a time in seconds: secret, and the same for the
 * same connection for as long as the era keeps it. */
uint64_t chooser_hash(const struct chooser *ch, const struct flow *f, double now);

/* Chooses a port. `c` has all but `draw`; `look` is called with `data`. */
void chooser_choose(struct chooser *ch, const struct model_call *c, struct model_choice *choice);

/* A number below `bound`, or any of 32 bits where that is 0. */
uint32_t chooser_draw(struct chooser *ch, uint32_t bound);

#endif
