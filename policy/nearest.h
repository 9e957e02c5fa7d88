/* SPDX-License-Identifier: MIT
 *
 * Which word was meant. Pure.
 */
#ifndef BERTH_POLICY_NEAREST_H
#define BERTH_POLICY_NEAREST_H

/* The one of `count` words that is nearest to `word`, with at most one mistake in three letters, or
 * else the only one that begins with it. NULL where none was meant for certain. `get` gives the
 * i-th. */
const char *policy_nearest(const char *word, const char *(*get)(int i, const void *), int count,
                           const void *context);

#endif
