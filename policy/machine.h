/* SPDX-License-Identifier: MIT
 *
 * The texts in which Linux tells of its ports (Documentation/networking/ip-sysctl.rst), read piece
 * by piece. Pure; signal-safe.
 */
#ifndef BERTH_POLICY_MACHINE_H
#define BERTH_POLICY_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/set.h"

#define MACHINE_LOW 32768 /* Linux's own range (net/ipv4/af_inet.c, inet_init_net) */
#define MACHINE_HIGH 60999

/* ip_local_port_range: "32768\t60999\n". False, and nothing changed, for any other text. */
bool machine_parse_range(const char *text, size_t size, struct policy_machine *m);

/* ip_local_reserved_ports: "8080,9148-9150\n", which may be long: given in pieces, the state kept
 * between them. Begin with zeros. */
struct machine_list {
  struct policy_ports *ports; /* with room for `most` */
  uint32_t count, most;
  uint32_t number, low; /* the digits read so far; what stood before a '-' */
  bool digits, dash;
};
void machine_parse_list(struct machine_list *list, const char *text, size_t size);
void machine_end_list(struct machine_list *list);

#endif
