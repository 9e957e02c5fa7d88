// SPDX-License-Identifier: MIT
#include "steer/endpoint.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "record/text.h"

enum memory endpoint_ask(int fd, const struct sockaddr *address, socklen_t size)
{
  const socklen_t most = sizeof(struct sockaddr_in6);
  if (!address || size < sizeof address->sa_family)
    return MEMORY_UNREADABLE;
  return memory_ask(fd, address, size < most ? size : most);
}

int endpoint_family(const struct sockaddr *address, socklen_t size)
{
  sa_family_t family = AF_UNSPEC;
  if (address && size >= sizeof family)
    memcpy(&family, (const void *)address, sizeof family);
  return family;
}

/* RFC 2133's sockaddr_in6 had no scope id; the kernel still takes that length. */
#define SIZE_WITHOUT_SCOPE offsetof(struct sockaddr_in6, sin6_scope_id)

bool endpoint_from(struct endpoint *e, const struct sockaddr *address, socklen_t size)
{
  int family = endpoint_family(address, size);
  memset(e, 0, sizeof *e);
  if (family == AF_INET && size >= sizeof(struct sockaddr_in)) {
    struct sockaddr_in in;
    memcpy(&in, address, sizeof in);
    e->address[10] = e->address[11] = 0xff;
    memcpy(e->address + 12, &in.sin_addr, 4);
    e->port = ntohs(in.sin_port);
    return true;
  }
  if (family == AF_INET6 && size >= SIZE_WITHOUT_SCOPE) {
    struct sockaddr_in6 in6 = {0};
    memcpy(&in6, address, size < sizeof in6 ? size : sizeof in6);
    memcpy(e->address, &in6.sin6_addr, 16);
    e->scope = in6.sin6_scope_id;
    e->port = ntohs(in6.sin6_port);
    return true;
  }
  return false;
}

socklen_t endpoint_to(const struct endpoint *e, int family, struct sockaddr_storage *address)
{
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(e->port)};
  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(e->port)};
  memset(address, 0, sizeof *address);
  if (family == AF_INET) {
    memcpy(&in.sin_addr, e->address + 12, 4);
    memcpy(address, &in, sizeof in);
    return sizeof in;
  }
  memcpy(&in6.sin6_addr, e->address, 16);
  in6.sin6_scope_id = e->scope;
  memcpy(address, &in6, sizeof in6);
  return sizeof in6;
}

bool address_is_loopback(const uint8_t address[16])
{
  static const uint8_t one[16] = {[15] = 1};
  return address_is_ipv4(address) ? address[12] == 127 : memcmp(address, one, 16) == 0;
}

bool address_is_unspecified(const uint8_t address[16])
{
  static const uint8_t none[16], none_ipv4[16] = {[10] = 0xff, [11] = 0xff};
  return memcmp(address, none, 16) == 0 || memcmp(address, none_ipv4, 16) == 0;
}

/* A scope counts with link-local addresses, of one peer or of a group (__ipv6_addr_needs_scope_id()
 * in include/net/ipv6.h). */
static bool needs_scope(const uint8_t a[16])
{
  bool unicast = a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
  return unicast || (a[0] == 0xff && ((a[1] & 0x0f) == 1 || (a[1] & 0x0f) == 2));
}

/* IPv4: the source address where there is one (ip_route_output_key_hash_rcu() in
 * net/ipv4/route.c). IPv6: ::1, from a v4-mapped address 127.0.0.1 (tcp_v6_connect() in
 * net/ipv6/tcp_ipv6.c). */
struct endpoint endpoint_reached(const struct endpoint *peer, const uint8_t local[16])
{
  static const uint8_t one[16] = {[15] = 1};
  static const uint8_t one_ipv4[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};
  struct endpoint e = *peer;
  bool bound = !address_is_unspecified(local);
  if (!needs_scope(e.address))
    e.scope = 0;
  if (!address_is_unspecified(e.address))
    return e;
  if (address_is_ipv4(e.address))
    memcpy(e.address, bound ? local : one_ipv4, 16);
  else
    memcpy(e.address, bound && address_is_ipv4(local) ? one_ipv4 : one, 16);
  return e;
}
