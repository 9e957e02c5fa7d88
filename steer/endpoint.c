// SPDX-License-Identifier: MIT
#include "steer/endpoint.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "record/sys.h"
#include "record/text.h"

/* getsockopt(2) reads the size of the answer before it looks at the option (sk_getsockopt() in
 * net/core/sock.c): for an option that there is not, it writes nothing and tells EFAULT from
 * ENOPROTOOPT, or from EINVAL where the four bytes are a negative number. A program of BPF at the
 * cgroup's getsockopt hook sees the error too, and hands it on. */
static enum memory four_bytes(int fd, uintptr_t at)
{
  const int no_option = -1;
  if (sys_getsockopt(fd, SOL_SOCKET, no_option, NULL, (unsigned *)at) == 0)
    return MEMORY_READABLE;
  switch (errno) {
  case ENOPROTOOPT:
  case EINVAL: return MEMORY_READABLE;
  case EFAULT: return MEMORY_UNREADABLE;
  default: return MEMORY_UNKNOWN;
  }
}

enum memory memory_ask(int fd, const void *p, size_t size)
{
  uintptr_t first = (uintptr_t)p, last = first + size - 1;
  uintptr_t page = 4096; /* the smallest there is: larger ones are looked at twice, no more */
  if (last < first)
    return MEMORY_UNREADABLE;
  if (size < 4) /* the four bytes around them: they lie on the same page */
    first &= ~(uintptr_t)3;
  enum memory answer = four_bytes(fd, first);
  if (answer != MEMORY_READABLE || first / page == last / page)
    return answer;
  return four_bytes(fd, last & ~(uintptr_t)3);
}

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
