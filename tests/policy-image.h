/* SPDX-License-Identifier: MIT
 *
 * An image made by hand, for tests: one block with room for a few of everything.
 */
#ifndef BERTH_TESTS_POLICY_IMAGE_H
#define BERTH_TESTS_POLICY_IMAGE_H

#include <stdalign.h>
#include <stddef.h>
#include <string.h>

#include <arpa/inet.h>

#include "policy/image.h"

#define IMAGE_RULES 1000
#define IMAGE_PORTS 40000

struct image {
  struct policy_header header;
  alignas(8) struct policy_rule rules[IMAGE_RULES];
  alignas(8) struct policy_destination destinations[3 * IMAGE_RULES];
  alignas(8) struct policy_ports ports[IMAGE_PORTS];
  alignas(8) uint32_t programs[16];
  alignas(8) char strings[256];
};

static inline void image_begin(struct image *i)
{
  memset(i, 0, sizeof *i);
  memcpy(i->header.magic, POLICY_MAGIC, POLICY_MAGIC_SIZE);
  i->header.byte_order = POLICY_BYTE_ORDER;
  i->header.header_size = sizeof i->header;
  i->header.size = sizeof *i;
  i->header.rules.offset = offsetof(struct image, rules);
  i->header.destinations.offset = offsetof(struct image, destinations);
  i->header.addresses.offset = offsetof(struct image, ports); /* none */
  i->header.ports.offset = offsetof(struct image, ports);
  i->header.programs.offset = offsetof(struct image, programs);
  i->header.strings.offset = offsetof(struct image, strings);
  i->header.strings.count = 1;
}

/* Any transport, any destination, the machine's ports, all of them. */
static inline struct policy_rule *image_rule(struct image *i)
{
  struct policy_rule *rule = &i->rules[i->header.rules.count++];
  rule->transports = POLICY_TCP | POLICY_UDP;
  rule->mod_of = 1;
  return rule;
}

static inline void image_address(uint8_t to[16], const char *text)
{
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  memcpy(to, mapped, sizeof mapped);
  if (!strchr(text, ':'))
    inet_pton(AF_INET, text, to + 12);
  else
    inet_pton(AF_INET6, text, to);
}

/* One more for the last rule; `prefix` as the image has it. NULL is any address. */
static inline void image_to(struct image *i, const char *address, int prefix, uint16_t low,
                            uint16_t high)
{
  struct policy_rule *rule = &i->rules[i->header.rules.count - 1];
  uint32_t n = i->header.destinations.count++;
  struct policy_destination *d = &i->destinations[n];
  if (!rule->destinations.count++)
    rule->destinations.first = n;
  d->families = POLICY_IPV4 | POLICY_IPV6;
  if (address) {
    image_address(d->address, address);
    d->families = strchr(address, ':') ? POLICY_IPV6 : POLICY_IPV4;
  }
  d->prefix = (uint8_t)prefix;
  d->low = low;
  d->high = high;
}

/* One more range for a span: spans are filled one after the other. */
static inline void image_ports(struct image *i, struct policy_span *span, uint16_t low,
                               uint16_t high)
{
  uint32_t n = i->header.ports.count++;
  if (!span->count++)
    span->first = n;
  i->ports[n] = (struct policy_ports){.low = low, .high = high};
}

static inline void image_program(struct image *i, struct policy_span *span, const char *glob)
{
  uint32_t n = i->header.programs.count++;
  if (!span->count++)
    span->first = n;
  i->programs[n] = i->header.strings.count;
  memcpy(i->strings + i->header.strings.count, glob, strlen(glob) + 1);
  i->header.strings.count += (uint32_t)strlen(glob) + 1;
}

#endif
