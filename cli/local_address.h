/* SPDX-License-Identifier: MIT
 *
 * Which addresses this machine, that is this network namespace, could send from.
 */
#ifndef BERTH_CLI_LOCAL_ADDRESS_H
#define BERTH_CLI_LOCAL_ADDRESS_H

#include <stdint.h>

#include "policy/image.h"

struct missing_addresses {
  uint32_t asked; /* a large pool is not asked for whole */
  uint32_t missing;
  uint8_t first[16]; /* of the missing ones */
  int error;         /* errno of the kernel's refusal of that one */
};

/* Asks the kernel by bind(2) without a port, which reserves nothing: it also knows addresses that
 * are local by a route alone, and net.ipv4.ip_nonlocal_bind. */
struct missing_addresses addresses_missing(const policy_image *p, const struct policy_rule *rule);

#endif
