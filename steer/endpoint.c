// SPDX-License-Identifier: MIT
#include "steer/endpoint.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* valgrind preloads it into its programs. There rt_sigprocmask(2) answers by itself, without a look
 * at the memory, and prints a line about `how`. */
extern void _vgnU_freeres(int) __attribute__((weak));

/* rt_sigtimedwait(2) copies the set in before it finds that the time is none. */
static bool eight_readable_in_valgrind(const void *p)
{
  const struct timespec none = {.tv_nsec = -1};
  return syscall(SYS_rt_sigtimedwait, p, NULL, &none, 8) == -1 && errno == EINVAL;
}

/* rt_sigprocmask(2) copies the new set in before it looks at `how`: an invalid `how` changes
 * nothing and tells EFAULT from EINVAL. No sandbox forbids it, as process_vm_readv(2) often
 * is, and it costs a quarter. */
static bool eight_readable(const void *p)
{
  if (_vgnU_freeres)
    return eight_readable_in_valgrind(p);
  return syscall(SYS_rt_sigprocmask, -1, p, NULL, 8) == -1 && errno == EINVAL;
}

bool memory_readable(const void *p, size_t size)
{
  uintptr_t first = (uintptr_t)p, last = first + size - 1;
  uintptr_t page = 4096; /* the smallest there is: larger ones are looked at twice, no more */
  if (last < first)
    return false;
  if (size < 8) /* the eight bytes around them: they lie on the same page */
    first &= ~(uintptr_t)7;
  if (!eight_readable((const void *)first))
    return false;
  return first / page == last / page || eight_readable((const void *)(last & ~(uintptr_t)7));
}

bool endpoint_readable(const struct sockaddr *address, socklen_t size)
{
  const socklen_t most = sizeof(struct sockaddr_in6);
  return address && size >= sizeof address->sa_family &&
         memory_readable(address, size < most ? size : most);
}

int endpoint_family(const struct sockaddr *address, socklen_t size)
{
  return address && size >= sizeof address->sa_family ? address->sa_family : AF_UNSPEC;
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
