/* SPDX-License-Identifier: MIT
 *
 * A rule's set of ports: `local_ports` minus `except` minus what lies outside `mod`, as numbers
 * from 0 to size - 1 in the order of the ports. Pure; nothing allocates; signal-safe.
 */
#ifndef BERTH_POLICY_SET_H
#define BERTH_POLICY_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/image.h"

/* What the machine, that is the network namespace, says of ports. */
struct policy_machine {
  uint16_t low, high;                  /* ip_local_port_range */
  const struct policy_ports *reserved; /* ip_local_reserved_ports: sorted, disjoint */
  uint32_t reserved_count;
};

/* Ports first, first + stride, ...: `count` of them. */
struct port_run {
  uint32_t before; /* ports of the set below this run */
  uint32_t count;
  uint16_t first;
  uint16_t reserved;
};

struct port_set {
  const struct port_run *runs; /* ascending */
  uint32_t run_count;
  uint32_t size;   /* ports in all */
  uint32_t stride; /* mod.of */
};

/* How many runs a rule's set may have at most: the room that port_set_make() wants. */
uint32_t port_set_most_runs(const struct policy_rule *rule, const struct policy_machine *m);

/* The rule's set on this machine, in `runs`. Without `local_ports` it is the machine's range
 * without the reserved ports. `via: range` leaves out what lies outside the machine's range and
 * what is reserved: the kernel would not give it. The set may be empty. */
struct port_set port_set_make(const policy_image *p, const struct policy_rule *rule,
                              const struct policy_machine *m, struct port_run *runs);

uint16_t port_set_port(const struct port_set *set, uint32_t index); /* index < size */

/* Whether the set holds the port; its number to `index`. */
bool port_set_index(const struct port_set *set, uint16_t port, uint32_t *index);

/* The numbers [index, *end) are of consecutive ports (stride 1, one run), as far as they go; with
 * a stride or at a run's last port, index + 1. */
uint32_t port_set_contiguous(const struct port_set *set, uint32_t index);

/* Whether IP_LOCAL_PORT_RANGE can give the port: it lies within the machine's range and is not
 * reserved. */
bool policy_machine_gives(const struct policy_machine *m, uint16_t port);

/* How many ports in a row, from this one on, it can give. */
uint32_t policy_machine_run(const struct policy_machine *m, uint16_t port);

#endif
