// SPDX-License-Identifier: MIT
#include "policy/words.h"

#include <string.h>

#include "policy/rule.h"

#define WORDS(array)                                                                               \
  {                                                                                                \
    (array), (int)(sizeof(array) / sizeof *(array))                                                \
  }

static const char *const orders[POLICY_ORDERS] = {
    [POLICY_KERNEL] = "kernel",
    [POLICY_RANDOM] = "random",
    [POLICY_RANDOM_START] = "random-start",
    [POLICY_HASH] = "hash",
    [POLICY_DOUBLE_HASH] = "double-hash",
    [POLICY_RANDOM_INCREMENT] = "random-increment",
    [POLICY_SEQUENTIAL] = "sequential",
    [POLICY_LEAST_RECENT] = "least-recent",
};
static const char *const vias[POLICY_VIAS] = {
    [POLICY_AUTO] = "auto", [POLICY_RANGE] = "range", [POLICY_BIND] = "bind"};
static const char *const exhausteds[POLICY_EXHAUSTEDS] = {
    [POLICY_FAIL] = "fail", [POLICY_LEAVE] = "kernel"};
static const char *const transports[] = {"tcp", "udp"};
static_assert(POLICY_TCP == 1 << 0 && POLICY_UDP == 1 << 1, "transports are in this order");

const struct policy_words policy_orders = WORDS(orders), policy_vias = WORDS(vias),
                          policy_exhausteds = WORDS(exhausteds),
                          policy_transports = WORDS(transports);

int policy_word(const struct policy_words *words, const char *word)
{
  for (int i = 0; i < words->count; i++)
    if (strcmp(word, words->words[i]) == 0)
      return i;
  return -1;
}

const char *policy_word_at(int i, const void *words)
{
  return ((const struct policy_words *)words)->words[i];
}
