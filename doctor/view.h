/* SPDX-License-Identifier: MIT
 *
 * What `berth doctor` looks at: one network namespace at one moment, as kernel/ read it. Ports in
 * host byte order, addresses of 16 bytes, IPv4 as v4-mapped.
 */
#ifndef BERTH_DOCTOR_VIEW_H
#define BERTH_DOCTOR_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "kernel/diag.h"
#include "policy/set.h"

/* How long Linux keeps TIME_WAIT: TCP_TIMEWAIT_LEN in include/net/tcp.h, which no sysctl changes. */
#define TIME_WAIT_SECONDS 60

/* A sysctl that could not be read, or that this kernel has not. */
#define SETTING_UNKNOWN (-1)

struct doctor_settings {
  bool seen; /* ip_local_port_range could be read: else the range is what Linux begins with */
  int64_t unprivileged_start;       /* ip_unprivileged_port_start */
  int64_t tw_reuse, tw_reuse_delay; /* tcp_tw_reuse; tcp_tw_reuse_delay in ms */
  int64_t timestamps;               /* tcp_timestamps */
  int64_t ipv6_off;                 /* disable_ipv6, and no address is left; 1 too without IPv6 */
  int64_t conntrack_count, conntrack_max;
  int64_t step_width; /* ip_local_port_step_width */
};

/* Why no connect() gets a port, wherever to: what owns its bucket. */
enum port_hold { HOLD_NOTHING, HOLD_RESERVED, HOLD_LISTENER, HOLD_BOUND, HOLD_EXPLICIT, HOLDS };

struct doctor_view {
  const struct policy_machine *ports; /* the range, and the reserved ports */
  struct doctor_settings settings;
  struct diag_sockets sockets; /* sorted by doctor_sort() */
  struct diag_sockets before;  /* likewise, `interval` seconds earlier; none where that is 0 */
  double interval;
  /* By doctor_find_holds(): */
  uint8_t holds[65536];          /* enum port_hold, by port */
  uint32_t held[HOLDS];          /* ports of the range, by enum port_hold */
  uint32_t open_low, open_other; /* ports of the range that nothing holds, by parity */
};

/* Sorts by local address, peer, peer's port and local port; what is there twice is left once. */
void doctor_sort(struct diag_sockets *list);

/* What no connect() can have, from the sockets and the reserved ports. */
void doctor_find_holds(struct doctor_view *v);

uint32_t doctor_range_size(const struct doctor_view *v);

/* Ports of the range that no connect() can have. */
uint32_t doctor_lost(const struct doctor_view *v);

/* Whether a port is of the range's first parity. */
static inline bool doctor_is_low_parity(const struct doctor_view *v, uint32_t port)
{
  return port % 2 == v->ports->low % 2;
}

#endif
