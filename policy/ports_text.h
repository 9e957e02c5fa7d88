/* SPDX-License-Identifier: MIT
 *
 * Ports as text, "443" and "40000-40999", and lists of them. Pure.
 */
#ifndef BERTH_POLICY_PORTS_TEXT_H
#define BERTH_POLICY_PORTS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/rule.h"

/* Ports 1 to 65535, in decimal without leading zeros. On failure returns false, with what is wrong
 * in `problem`. */
bool policy_ports_parse(const char *text, struct policy_ports *ports, char *problem, size_t size);

/* Sorts, and joins what overlaps or touches; returns how many are left. */
size_t policy_ports_join(struct policy_ports *ports, size_t count);

/* How many ports of `ports`, not of `except` (both sorted, disjoint), are `is` modulo `of`. */
uint32_t policy_ports_left(const struct policy_ports *ports, size_t count,
                           const struct policy_ports *except, size_t except_count, uint32_t of,
                           uint32_t is);

#endif
