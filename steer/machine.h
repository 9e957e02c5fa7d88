/* SPDX-License-Identifier: MIT
 *
 * The port range and the reserved ports of this network namespace, asked of /proc/sys.
 */
#ifndef BERTH_STEER_MACHINE_H
#define BERTH_STEER_MACHINE_H

#include <stdbool.h>

#include "policy/set.h"

/* Most intervals that ip_local_reserved_ports can hold. */
#define MACHINE_MOST_RESERVED 32768

/* `reserved` has room for MACHINE_MOST_RESERVED. False where the range cannot be read, as without
 * /proc: it is Linux's own default then. Six system calls. */
bool machine_read(struct policy_machine *m, struct policy_ports *reserved);

/* The range alone: three system calls. False, and `m` as it was, where it cannot be read. */
bool machine_read_range(struct policy_machine *m);

/* net.ipv4.ip_unprivileged_port_start: below it, bind(2) to a port takes a right. 1024 where it cannot
 * be read. Three system calls. */
uint32_t machine_unprivileged(void);

/* net.ipv4.ip_autobind_reuse (4b01a9674231, Linux 5.7): bind(2) to port 0 of a socket with
 * SO_REUSEADDR may share a port where none is left. Three system calls. */
bool machine_autobind_reuse(void);

#endif
