/* SPDX-License-Identifier: MIT
 *
 * MPTCP: the further subflows of a connection, which the kernel's path manager opens by itself. By no
 * call of the program, so they are kept within a rule's set by IP_LOCAL_PORT_RANGE, which the kernel
 * copies to each from the connection's own socket. Pure but for what is known of the machine's range;
 * signal-safe.
 */
#ifndef BERTH_STEER_SUBFLOW_H
#define BERTH_STEER_SUBFLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/set.h"

/* The ports of the set, one after another, for the further subflows of a connection from `port`.
 * False where the machine's range holds none of the set: the kernel heeds the option within it. */
bool subflow_ports(const struct port_set *set, uint16_t port, struct policy_ports *ports);

#endif
