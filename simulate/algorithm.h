/* SPDX-License-Identifier: MIT
 *
 * The ways to choose a port that can be simulated: the kernel's of each era, and the orders of
 * berth's policies, five of which are RFC 6056's.
 */
#ifndef BERTH_SIMULATE_ALGORITHM_H
#define BERTH_SIMULATE_ALGORITHM_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/model.h"
#include "policy/rule.h"

struct algorithm {
  const struct model *model; /* the kernel's; NULL: the order that the rest tells */
  enum policy_order order;
  const char *name, *alias; /* alias: as "rfc6056-3"; or NULL */
  const char *rule;         /* in a sentence */
  bool to_all;              /* a port is taken towards every destination at once */
};

extern const struct algorithm algorithms[];
int algorithm_count(void);

/* By its name or alias; or NULL. */
const struct algorithm *algorithm_find(const char *name);

const char *algorithm_name(const struct algorithm *a);
const char *algorithm_rule(const struct algorithm *a);

/* How a call fails that finds no port: the errno's name. */
const char *algorithm_error(const struct algorithm *a);

/* Nanoseconds that looking at one port costs. */
uint32_t algorithm_look_ns(const struct algorithm *a);

#endif
