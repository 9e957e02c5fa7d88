/* SPDX-License-Identifier: MIT
 *
 * Which rules are a program's, and which of them takes a connection. Pure; signal-safe.
 */
#ifndef BERTH_POLICY_MATCH_H
#define BERTH_POLICY_MATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/image.h"

/* fnmatch(3)'s *, ? and [set] without flags, by bytes, without [:classes:]: '/' is a character like
 * any other, a backslash quotes. No recursion; at most as many steps as pattern times name. */
bool policy_glob(const char *pattern, const char *name);

/* Whether a span of globs is empty, or one of them names the program: by the base name of the file
 * executed, or of /proc/self/exe (paths, or base names already; "" where it is not known). */
bool policy_names_program(const policy_image *p, struct policy_span programs, const char *executed,
                          const char *exe);

/* Whether late_bind names the program: an empty list names none. */
bool policy_binds_late(const policy_image *p, const char *executed, const char *exe);

struct policy_connection {
  uint8_t transport;   /* POLICY_TCP (MPTCP too) or POLICY_UDP */
  uint8_t address[16]; /* of the peer; IPv4 as v4-mapped, host-order port */
  uint16_t port;
};

/* Whether the rule takes the connection, its program apart. */
bool policy_rule_takes(const policy_image *p, const struct policy_rule *rule,
                       const struct policy_connection *c);

#define POLICY_NO_RULE UINT32_MAX

/* The first of `count` rules (numbers, ascending) that takes the connection, or POLICY_NO_RULE. */
uint32_t policy_match(const policy_image *p, const uint32_t *rules, uint32_t count,
                      const struct policy_connection *c);

/* The first that takes a bind to port 0: it has no `to`, and steers the transport or leaves it. */
uint32_t policy_match_bind(const policy_image *p, const uint32_t *rules, uint32_t count,
                           uint8_t transport);

#endif
