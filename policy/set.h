/* SPDX-License-Identifier: MIT
 *
 * A rule's set of ports: `local_ports` minus `except` minus what lies outside `mod`, as numbers
 * from 0 to size - 1 in the order of the ports. Pure; nothing allocates; signal-safe.
 */
#ifndef BERTH_POLICY_SET_H
#define BERTH_POLICY_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/image.h"

/* What the machine, that is the network namespace, says of ports. */
struct policy_machine {
  uint16_t low, high;                  /* ip_local_port_range */
  const struct policy_ports *reserved; /* ip_local_reserved_ports: sorted, disjoint */
  uint32_t reserved_count;
};

/* `count` numbers one after another, from `first` on; `before` lie in the runs below. */
struct port_run {
  uint32_t before, count, first;
};

/* Ports that sets are cut out of: those that the kernel gives (the machine's range without the
 * reserved ports), or all; of these, the ones that `mod` wants. Rules share it: there may be
 * thousands of reserved ports, and of rules. */
struct port_base {
  const struct port_run *runs; /* of ports first, first + of, ...; ascending */
  uint32_t run_count;
  uint16_t of, is; /* `mod`: at least 1, and at least 0 */
  bool given;      /* only ports that the kernel gives */
  bool used;       /* not an empty slot */
};

/* Every base of a policy once: a hash table, in zeroed memory of port_bases_size() bytes, aligned
 * to 8. */
struct port_bases {
  struct port_base *slots;
  uint32_t count; /* a power of two */
};

/* For so many rules at most. */
size_t port_bases_size(uint32_t rules);
struct port_bases port_bases_begin(void *memory, uint32_t rules);

/* The rule's base. Without runs where it is asked for the first time: then port_base_make() is to
 * be called before any set is made of it. `via: range`, and a rule without `local_ports`, leave
 * out what lies outside the machine's range and what is reserved: the kernel would not give it. */
struct port_base *port_bases_find(const struct port_bases *bases, const struct policy_rule *rule);

/* How many runs a base may have at most: the room that port_base_make() wants; at least 1. */
uint32_t port_base_most_runs(const struct port_base *base, const struct policy_machine *m);
void port_base_make(struct port_base *base, const struct policy_machine *m, struct port_run *runs);

struct port_set {
  const struct port_base *base;
  const struct port_run *cuts; /* of the base's numbers; ascending */
  uint32_t cut_count;
  uint32_t size;   /* ports in all */
  uint32_t stride; /* mod.of */
};

/* How many cuts a rule's set may have at most: the room that port_set_make() wants. Of the policy
 * alone: it does not grow with the reserved ports. */
uint32_t port_set_most_cuts(const struct policy_rule *rule);

/* The rule's set, of its base, in `cuts`. It may be empty. */
struct port_set port_set_make(const policy_image *p, const struct policy_rule *rule,
                              const struct port_base *base, struct port_run *cuts);

uint16_t port_set_port(const struct port_set *set, uint32_t index); /* index < size */

/* Whether the set holds the port; its number to `index`. */
bool port_set_index(const struct port_set *set, uint16_t port, uint32_t *index);

/* The numbers [index, end) are of ports that lie `stride` apart, and the one at `end` is not. */
uint32_t port_set_run_end(const struct port_set *set, uint32_t index);

/* The numbers [index, *end) are of consecutive ports (stride 1, one run), as far as they go; with
 * a stride or at a run's last port, index + 1. */
uint32_t port_set_contiguous(const struct port_set *set, uint32_t index);

/* Whether IP_LOCAL_PORT_RANGE can give the port: it lies within the machine's range and is not
 * reserved. */
bool policy_machine_gives(const struct policy_machine *m, uint16_t port);

/* How many ports in a row, from this one on, it can give. */
uint32_t policy_machine_run(const struct policy_machine *m, uint16_t port);

#endif
