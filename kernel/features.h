/* SPDX-License-Identifier: MIT
 *
 * What this kernel can do: asked by trying it in a network namespace of a child's own, because the
 * release does not tell what a distribution has brought back. For a command: forks.
 */
#ifndef BERTH_KERNEL_FEATURES_H
#define BERTH_KERNEL_FEATURES_H

#include <stdbool.h>

struct kernel_features {
  bool known;                /* false where no namespace could be made: the rest is false too */
  bool local_port_range;     /* IP_LOCAL_PORT_RANGE: Linux 6.3 (91d0b78c5177) */
  bool range_without_parity; /* with it connect() takes all ports in one pass: 6.8 (207184853dbd) */
  int bound_sockets_listed;  /* diag_lists_bound(), known or not: 6.8 (91051f003948) */
};

struct kernel_features kernel_features_probe(void);

#endif
