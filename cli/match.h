/* SPDX-License-Identifier: MIT
 *
 * Which events a reader asked for: berth log's -Z -4 -6 -L -D -p.
 */
#ifndef BERTH_CLI_MATCH_H
#define BERTH_CLI_MATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "record/layout.h"

struct port_bits {
  uint64_t bits[65536 / 64];
};

struct event_match {
  bool failed_only, ipv4_only, ipv6_only;
  uint32_t pid; /* 0: any */
  bool has_local_ports, has_peer_address, has_peer_ports;
  struct port_bits local_ports, peer_ports;
  uint8_t peer_address[16];
  int peer_prefix;     /* bits of peer_address, 0 to 128 */
  uint32_t peer_scope; /* an interface's index; 0: any */
};

/* "40000-40999,41005". On failure returns false, with the reason in `problem`. */
bool parse_ports(struct port_bits *set, const char *text, const char **problem);

/* "[ADDR[/LEN]][:]PORTS": ":443", "443", "10.0.0.0/8", "10.0.0.0/8:9042", "[fd00::]/8:9042",
 * "fe80::1%eth0". */
bool parse_peer(struct event_match *m, const char *text, const char **problem);

bool event_matches(const struct event_match *m, const struct record_event *e);

#endif
