// SPDX-License-Identifier: MIT
#include "cli/match.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "record/text.h"

static bool has(const struct port_bits *set, uint16_t port)
{
  return set->bits[port / 64] >> (port % 64) & 1;
}

static bool parse_range(struct port_bits *set, char *item, const char **problem)
{
  unsigned long low, high;
  char *dash = strchr(item, '-');
  if (dash)
    *dash = '\0';
  if (!parse_number(item, 0, 65535, &low) || (dash && !parse_number(dash + 1, 0, 65535, &high))) {
    *problem = "a port is a whole number from 0 to 65535";
    return false;
  }
  if (!dash)
    high = low;
  if (high < low) {
    *problem = "a range begins with its lower port";
    return false;
  }
  for (unsigned long port = low; port <= high; port++)
    set->bits[port / 64] |= UINT64_C(1) << (port % 64);
  return true;
}

bool parse_ports(struct port_bits *set, const char *text, const char **problem)
{
  char copy[1024], *rest = copy, *item;
  if (strlen(text) >= sizeof copy) {
    *problem = "too long";
    return false;
  }
  strcpy(copy, text);
  while ((item = strsep(&rest, ",")))
    if (!parse_range(set, item, problem))
      return false;
  return true;
}

/* The interface behind a %, by its name here or its number, as lines have it. */
static bool parse_scope(struct event_match *m, char *text, const char **problem)
{
  char *percent = strchr(text, '%');
  unsigned long number;
  if (!percent)
    return true;
  *percent = '\0';
  m->peer_scope = if_nametoindex(percent + 1);
  if (!m->peer_scope && parse_number(percent + 1, 1, UINT32_MAX, &number))
    m->peer_scope = (uint32_t)number;
  if (!m->peer_scope)
    *problem = "there is no such interface here";
  return m->peer_scope;
}

/* Cuts "ADDR[/LEN]" or "[ADDR][/LEN]" off the front of `text`. */
static bool parse_address(struct event_match *m, char *text, const char **problem)
{
  char *slash = strchr(text, '/');
  unsigned long bits;
  if (slash)
    *slash = '\0';
  if (text[0] == '[' && text[strlen(text) - 1] == ']') {
    text[strlen(text) - 1] = '\0';
    text++;
  }
  if (!parse_scope(m, text, problem))
    return false;
  bool ipv4 = inet_pton(AF_INET, text, m->peer_address + 12) == 1;
  if (ipv4 && m->peer_scope) {
    *problem = "an IPv4 address has no interface";
    return false;
  }
  if (ipv4)
    m->peer_address[10] = m->peer_address[11] = 0xff;
  else if (inet_pton(AF_INET6, text, m->peer_address) != 1) {
    *problem = "not an IPv4 or IPv6 address";
    return false;
  }
  bits = ipv4 ? 32 : 128;
  if (slash && !parse_number(slash + 1, 0, bits, &bits)) {
    *problem = "the prefix length does not fit the address";
    return false;
  }
  m->peer_prefix = (int)bits + (ipv4 ? 96 : 0);
  m->has_peer_address = true;
  return true;
}

/* Where the address ends and the ports begin; NULL where there are no ports. */
static char *find_ports(char *text)
{
  char *bracket = strchr(text, ']');
  char *colon = strrchr(bracket ? bracket : text, ':');
  bool bare_ipv6 = !bracket && colon && strchr(text, ':') != colon;
  if (bare_ipv6)
    return NULL;
  if (colon)
    return colon + 1;
  return strpbrk(text, "./[") ? NULL : text;
}

bool parse_peer(struct event_match *m, const char *text, const char **problem)
{
  char copy[1024];
  if (strlen(text) >= sizeof copy || !text[0]) {
    *problem = "an address, ports, or both with a ':' between";
    return false;
  }
  strcpy(copy, text);
  char *ports = find_ports(copy);
  if (ports) {
    m->has_peer_ports = true;
    if (!parse_ports(&m->peer_ports, ports, problem))
      return false;
    if (ports == copy)
      return true;
    ports[-1] = '\0';
  }
  if (!copy[0] || strcmp(copy, "*") == 0)
    return true;
  return parse_address(m, copy, problem);
}

static bool same_prefix(const uint8_t *a, const uint8_t *b, int bits)
{
  int bytes = bits / 8;
  uint8_t mask = (uint8_t)(0xff00 >> bits % 8);
  return memcmp(a, b, (size_t)bytes) == 0 && (bits % 8 == 0 || !((a[bytes] ^ b[bytes]) & mask));
}

static bool has_peer(const struct record_event *e)
{
  return e->call != RECORD_BIND && e->call != RECORD_LISTEN;
}

bool event_matches(const struct event_match *m, const struct record_event *e)
{
  bool ipv4 = address_is_ipv4(has_peer(e) ? e->peer : e->local);
  if ((m->failed_only && e->result != RECORD_FAILED) || (m->ipv4_only && !ipv4) ||
      (m->ipv6_only && ipv4) || (m->pid && m->pid != e->pid))
    return false;
  if (m->has_local_ports && !has(&m->local_ports, e->local_port))
    return false;
  if ((m->has_peer_ports || m->has_peer_address) && !has_peer(e))
    return false;
  if (m->peer_scope && m->peer_scope != e->peer_scope)
    return false;
  return (!m->has_peer_ports || has(&m->peer_ports, e->peer_port)) &&
         (!m->has_peer_address || same_prefix(m->peer_address, e->peer, m->peer_prefix));
}
