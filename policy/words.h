/* SPDX-License-Identifier: MIT
 *
 * The words that a policy's keys take, by the enums of policy/rule.h.
 */
#ifndef BERTH_POLICY_WORDS_H
#define BERTH_POLICY_WORDS_H

struct policy_words {
  const char *const *words;
  int count;
};

extern const struct policy_words policy_orders, policy_vias, policy_exhausteds;

/* "tcp" and "udp"; the bit of the i-th is 1 << i. */
extern const struct policy_words policy_transports;

/* Which of the words it is, or -1. */
int policy_word(const struct policy_words *words, const char *word);

/* For policy_nearest(): `words` is a struct policy_words. */
const char *policy_word_at(int i, const void *words);

#endif
