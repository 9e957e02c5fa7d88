// SPDX-License-Identifier: MIT
#include "steer/descriptor.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

#define PROTOCOL_MPTCP 262 /* IPPROTO_MPTCP, newer than some headers */

/* A megabyte of zeros that the kernel gives page by page as descriptors are used. */
static _Atomic uint32_t table[DESCRIPTORS];

static_assert(sizeof(struct descriptor) == sizeof table[0], "one word, one store");

struct descriptor descriptor_get(int fd)
{
  struct descriptor d = {0};
  if (fd >= 0 && fd < DESCRIPTORS) {
    uint32_t word = atomic_load_explicit(&table[fd], memory_order_relaxed);
    memcpy(&d, &word, sizeof d);
  }
  return d;
}

/* One more than the highest that was ever remembered: no need to look beyond. */
static _Atomic unsigned used;

static void raise_used(unsigned to)
{
  unsigned now = atomic_load_explicit(&used, memory_order_relaxed);
  while (now < to && !atomic_compare_exchange_weak_explicit(&used, &now, to, memory_order_relaxed,
                                                            memory_order_relaxed))
    ;
}

void descriptor_set(int fd, struct descriptor d)
{
  uint32_t word;
  memcpy(&word, &d, sizeof word);
  if (fd < 0 || fd >= DESCRIPTORS)
    return;
  raise_used((unsigned)fd + 1);
  atomic_store_explicit(&table[fd], word, memory_order_relaxed);
}

static enum socket_kind kind_of(int domain, int type, int protocol)
{
  type &= ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (domain != AF_INET && domain != AF_INET6)
    return SOCKET_OTHER;
  if (type == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP))
    return SOCKET_TCP;
  if (type == SOCK_STREAM && protocol == PROTOCOL_MPTCP)
    return SOCKET_MPTCP;
  if (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP))
    return SOCKET_UDP;
  return SOCKET_UNKNOWN;
}

void descriptor_made(int fd, int domain, int type, int protocol)
{
  struct descriptor d = {.kind = kind_of(domain, type, protocol)};
  descriptor_set(fd, d);
}

void descriptor_accepted(int fd)
{
  struct descriptor d = {.flags = DESCRIPTOR_SETTLED};
  descriptor_set(fd, d);
}

/* `connecting` stays: it is only believed where TCP_INFO says so too. */
void descriptor_closed(int fd)
{
  const uint8_t stale = DESCRIPTOR_SETTLED | DESCRIPTOR_ADDRESS | DESCRIPTOR_OWN_RANGE |
                        DESCRIPTOR_RANGED;
  struct descriptor d = descriptor_get(fd);
  if (d.kind == SOCKET_UNKNOWN && !d.puts_off && !(d.flags & stale))
    return; /* a daemon that closes all numbers there are dirties no page of the table */
  d.kind = SOCKET_UNKNOWN;
  d.puts_off = 0;
  d.flags &= (uint8_t)~stale;
  descriptor_set(fd, d);
}

unsigned descriptors_used(void)
{
  return atomic_load_explicit(&used, memory_order_relaxed);
}

static _Atomic uint32_t bound_ports[65536 / 32];

void descriptor_bound_port(uint16_t port)
{
  atomic_fetch_or_explicit(&bound_ports[port / 32], UINT32_C(1) << port % 32, memory_order_relaxed);
}

bool descriptor_port_was_bound(uint16_t port)
{
  uint32_t word = atomic_load_explicit(&bound_ports[port / 32], memory_order_relaxed);
  return word >> port % 32 & 1;
}
