/* SPDX-License-Identifier: MIT
 *
 * Addresses and prefixes as text: "10.1.0.5", "10.0.0.0/8", "fd00::/8". Pure.
 */
#ifndef BERTH_POLICY_PREFIX_TEXT_H
#define BERTH_POLICY_PREFIX_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/rule.h"

struct prefix {
  uint8_t address[16]; /* network order; IPv4 as v4-mapped */
  uint8_t length;      /* 0 to 128; of IPv4 96 to 128 */
  bool ipv4;           /* v4-mapped counts as IPv4 */
};

/* "ADDR[/LEN]", IPv6 without brackets. On failure returns false, with what is wrong in
 * `problem`. */
bool prefix_parse(const char *text, struct prefix *prefix, char *problem, size_t size);

/* One that may stand in local_addresses: not too large, and of addresses that a socket can have. */
bool prefix_is_local(const struct prefix *prefix, char *problem, size_t size);

#define PREFIX_TEXT 56 /* bytes at most, the NUL and brackets counted */

/* "ADDR", or "ADDR/LEN" where it is not one address; IPv6 in brackets where asked for: "[::]/8". */
void prefix_text(const uint8_t address[16], uint8_t length, bool ipv4, bool brackets,
                 char text[PREFIX_TEXT]);

#endif
