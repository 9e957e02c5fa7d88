/* SPDX-License-Identifier: MIT
 *
 * Rules, one after another, to an image. Allocates.
 */
#ifndef BERTH_POLICY_BUILD_H
#define BERTH_POLICY_BUILD_H

#include <stddef.h>

#include "policy/list.h"
#include "policy/rule.h"

/* One rule on its way: its numbers, and what its spans will hold. */
struct policy_draft {
  struct policy_rule rule; /* without name and spans */
  char name[POLICY_MAX_NAME + 1];
  struct list globs;         /* bytes: each glob with its NUL */
  struct list destinations;  /* struct policy_destination */
  struct list ipv4, ipv6;    /* struct policy_address, without `before` */
  struct list ports, except; /* struct policy_ports, joined */
};

/* Zeros at first. */
struct policy_build {
  struct list rules, destinations, addresses, ports, programs, names, globs;
  struct policy_span late_bind;
};

/* A rule as it is without keys; keeps the memory of its lists. */
void policy_draft_reset(struct policy_draft *d);
void policy_draft_free(struct policy_draft *d);

/* The next rule. */
void policy_build_rule(struct policy_build *b, const struct policy_draft *d);

/* The programs that bind late, after all rules: globs as in a draft. */
void policy_build_late_bind(struct policy_build *b, const struct list *globs);

size_t policy_build_size(const struct policy_build *b);

/* The image, of policy_build_size() bytes, which the caller frees with free(); NULL: memory ran
 * out, now or before. */
void *policy_build_image(const struct policy_build *b);
void policy_build_free(struct policy_build *b);

#endif
