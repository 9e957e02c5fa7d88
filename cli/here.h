/* SPDX-License-Identifier: MIT
 *
 * What the machine, that is this network namespace, says of ports, for commands that tell what a
 * policy would do here.
 */
#ifndef BERTH_CLI_HERE_H
#define BERTH_CLI_HERE_H

#include <stdbool.h>

#include "policy/set.h"

/* As libberth.so reads it at a program's start. Allocated for the life of the command. */
const struct policy_machine *machine_here(void);

/* Whether the kernel knows IP_LOCAL_PORT_RANGE: asked once. */
bool range_works_here(void);

/* A rule's set on this machine; to be freed with set_free(). */
struct port_set set_here(const policy_image *p, const struct policy_rule *rule);
void set_free(struct port_set *set);

/* How many ports of the rule's set would be claimed by `range`; the rest by bind. */
uint32_t count_by_range(const policy_image *p, const struct policy_rule *rule);

/* net.ipv4.ip_unprivileged_port_start (ip(7)), asked once: ports below it bind(2) gives only to
 * CAP_NET_BIND_SERVICE. The machine's range never reaches there. */
uint32_t unprivileged_start(void);

/* How many ports of the rule's set those are. */
uint32_t count_privileged(const policy_image *p, const struct policy_rule *rule);

#endif
