/* SPDX-License-Identifier: MIT
 *
 * A policy of one rule, given as options of `berth run` and `berth env`.
 */
#ifndef BERTH_CLI_ONE_RULE_H
#define BERTH_CLI_ONE_RULE_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/image.h"

/* The options' texts; NULL where not given. `to` is as long as it needs to be, to be freed with
 * free(); the texts are the caller's. */
struct one_rule {
  const char *local_ports, *local_addresses, *except, *mod, *order, *via, *tries, *exhausted;
  const char **to;
  size_t to_count;
};

/* The options, for a table of struct option and for a short-options string. */
#define ONE_RULE_OPTIONS                                                                           \
  {"local-ports", required_argument, NULL, 'L'},                                                   \
      {"local-addresses", required_argument, NULL, 'A'},                                           \
      {"except", required_argument, NULL, ONE_RULE_EXCEPT},                                        \
      {"order", required_argument, NULL, ONE_RULE_ORDER},                                          \
      {"mod", required_argument, NULL, ONE_RULE_MOD},                                              \
      {"to", required_argument, NULL, ONE_RULE_TO},                                                \
      {"via", required_argument, NULL, ONE_RULE_VIA},                                              \
      {"tries", required_argument, NULL, ONE_RULE_TRIES},                                          \
  {                                                                                                \
    "exhausted", required_argument, NULL, ONE_RULE_EXHAUSTED                                       \
  }
#define ONE_RULE_SHORT "L:A:"

enum one_rule_option {
  ONE_RULE_EXCEPT = 0x100,
  ONE_RULE_ORDER,
  ONE_RULE_MOD,
  ONE_RULE_TO,
  ONE_RULE_VIA,
  ONE_RULE_TRIES,
  ONE_RULE_EXHAUSTED,
};

/* Takes an option; false where it is none of these. */
bool one_rule_take(struct one_rule *rule, int option, const char *value);

bool one_rule_given(const struct one_rule *rule);

/* The image, to be freed with free(). NULL where an option's value will not do, which
 * has been said on stderr, as `where`, by the option's name. */
policy_image *one_rule_compile(const struct one_rule *rule, const char *where);

#endif
