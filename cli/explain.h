/* SPDX-License-Identifier: MIT
 *
 * What `berth explain` was asked, and what it found.
 */
#ifndef BERTH_CLI_EXPLAIN_H
#define BERTH_CLI_EXPLAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/program_names.h"
#include "policy/match.h"
#include "policy/set.h"

struct question {
  const char *policy, *program; /* program NULL: any */
  struct program_names names;   /* of `program` */
  unsigned long number;         /* of candidates to show */
  bool json;
  struct policy_connection connection;
};

struct answer {
  const policy_image *image;
  uint32_t number;                /* of the rule that takes it; the count of rules for none */
  const struct policy_rule *rule; /* NULL for none */
  struct port_set set;
  uint32_t by_range, by_bind; /* ports of the set */
  bool window;                /* the kernel picks among consecutive ones */
  uint16_t *candidates;
  uint32_t candidate_count;
};

/* Why a rule does not take it, for people; NULL if it does. */
const char *why_not(const policy_image *p, const struct policy_rule *rule,
                    const struct question *q);

void explain_as_text(const struct answer *a, const struct question *q);
void explain_as_json(const struct answer *a, const struct question *q);

#endif
