// SPDX-License-Identifier: MIT
#include "steer/endpoint.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "record/sys.h"

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
