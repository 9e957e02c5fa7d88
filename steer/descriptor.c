// SPDX-License-Identifier: MIT
#include "steer/descriptor.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>

/* A megabyte of zeros that the kernel gives page by page as descriptors are used. */
static _Atomic uint64_t table[DESCRIPTORS];

static_assert(sizeof(struct descriptor) == sizeof table[0], "one word, one store");

static struct descriptor unpack(uint64_t word)
{
  struct descriptor d;
  memcpy(&d, &word, sizeof d);
  return d;
}

static uint64_t pack(struct descriptor d)
{
  uint64_t word;
  memcpy(&word, &d, sizeof word);
  return word;
}

struct descriptor descriptor_get(int fd)
{
  if (fd < 0 || fd >= DESCRIPTORS)
    return (struct descriptor){0};
  return unpack(atomic_load_explicit(&table[fd], memory_order_relaxed));
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

/* What is remembered of the number now becomes `d`, unless it is of another generation. */
static bool replace(int fd, uint64_t *now, struct descriptor d)
{
  while (unpack(*now).generation == d.generation)
    if (atomic_compare_exchange_weak_explicit(&table[fd], now, pack(d), memory_order_relaxed,
                                              memory_order_relaxed))
      return true;
  return false;
}

void descriptor_set(int fd, struct descriptor d)
{
  if (fd < 0 || fd >= DESCRIPTORS)
    return;
  uint64_t now = atomic_load_explicit(&table[fd], memory_order_relaxed);
  raise_used((unsigned)fd + 1);
  replace(fd, &now, d);
}

bool descriptor_is(int fd, uint32_t generation)
{
  return descriptor_get(fd).generation == generation;
}

static uint32_t next_generation(uint32_t generation)
{
  return generation + 1 ? generation + 1 : 1;
}

/* The number is another socket's from now on. */
static void renew(int fd, struct descriptor d)
{
  if (fd < 0 || fd >= DESCRIPTORS)
    return;
  uint64_t now = atomic_load_explicit(&table[fd], memory_order_relaxed);
  raise_used((unsigned)fd + 1);
  do
    d.generation = next_generation(unpack(now).generation);
  while (!atomic_compare_exchange_weak_explicit(&table[fd], &now, pack(d), memory_order_relaxed,
                                                memory_order_relaxed));
}

/* A number of which nothing is remembered has no generation, so that closing it writes nothing. */
struct descriptor descriptor_begin(int fd)
{
  struct descriptor d = descriptor_get(fd);
  if (d.generation)
    return d;
  renew(fd, d);
  return descriptor_get(fd);
}

static enum socket_kind kind_of(int domain, int type, int protocol)
{
  type &= ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (domain != AF_INET && domain != AF_INET6)
    return SOCKET_OTHER;
  if (type == SOCK_RAW)
    return SOCKET_RAW;
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
  renew(fd, d);
}

void descriptor_accepted(int fd)
{
  struct descriptor d = {.flags = DESCRIPTOR_SETTLED};
  renew(fd, d);
}

/* `connecting` stays: it is only believed where TCP_INFO says so too. */
void descriptor_closed(int fd)
{
  const uint8_t stale = DESCRIPTOR_SETTLED | DESCRIPTOR_ADDRESS | DESCRIPTOR_OWN_RANGE |
                        DESCRIPTOR_RANGED;
  struct descriptor d = descriptor_get(fd);
  if (!d.generation)
    return; /* a daemon that closes all numbers there are dirties no page of the table */
  d.kind = SOCKET_UNKNOWN;
  d.puts_off = d.portless = d.multipath = 0;
  d.flags &= (uint8_t)~stale;
  renew(fd, d);
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
