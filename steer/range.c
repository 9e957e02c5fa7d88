// SPDX-License-Identifier: MIT
#include "steer/range.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "record/sys.h"
#include "steer/machine.h"
#include "steer/socket.h"

/* As the option itself is written: high << 16 | low; 0: not known. */
static _Atomic uint32_t known;

static void know(const struct policy_machine *m)
{
  atomic_store_explicit(&known, (uint32_t)m->high << 16 | m->low, memory_order_relaxed);
}

void range_begin(const struct policy_machine *m)
{
  if (m)
    know(m);
}

bool range_is_known(void)
{
  return atomic_load_explicit(&known, memory_order_relaxed);
}

static uint32_t ports_from(uint32_t range, uint16_t port)
{
  uint32_t low = range & 0xffff, high = range >> 16;
  return port < low || port > high ? 0 : high - port + 1;
}

uint32_t range_from(uint16_t port)
{
  return ports_from(atomic_load_explicit(&known, memory_order_relaxed), port);
}

bool range_clip(struct policy_ports *ports)
{
  uint32_t range = atomic_load_explicit(&known, memory_order_relaxed);
  uint16_t low = (uint16_t)range, high = (uint16_t)(range >> 16);
  if (ports->low < low)
    ports->low = low;
  if (ports->high > high)
    ports->high = high;
  return range && ports->low <= ports->high;
}

static bool read_again(void)
{
  struct policy_machine m;
  bool read = machine_read_range(&m);
  if (read)
    know(&m);
  return read;
}

/* --- other network namespaces ---------------------------------------------------------------- */

static atomic_bool has_moved;
static _Atomic uint64_t known_of; /* the namespace's cookie; 0: not asked yet */

void range_moved(void)
{
  atomic_store_explicit(&has_moved, true, memory_order_relaxed);
}

/* 0 where it cannot be asked. */
static uint64_t namespace_of(int fd)
{
  uint64_t cookie = 0;
  unsigned size = sizeof cookie;
  return sys_getsockopt(fd, SOL_SOCKET, OPTION_NETNS_COOKIE, &cookie, &size) ? 0 : cookie;
}

static uint64_t namespace_of_thread(void)
{
  int fd = sys_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  uint64_t cookie = fd >= 0 ? namespace_of(fd) : 0;
  if (fd >= 0)
    sys_close(fd);
  return cookie;
}

/* /proc/sys tells of the thread's own namespace. A socket that was made in another one stays there. */
static bool is_of(uint64_t cookie)
{
  if (!cookie)
    return false;
  if (cookie == atomic_load_explicit(&known_of, memory_order_relaxed))
    return true;
  if (cookie != namespace_of_thread() || !read_again())
    return false;
  atomic_store_explicit(&known_of, cookie, memory_order_relaxed);
  return true;
}

/* --- kinds of sockets that the option is refused to ------------------------------------------ */

static atomic_uint refused; /* a bit a kind */

static unsigned kind(uint16_t protocol)
{
  switch (protocol) {
  case IPPROTO_TCP: return 1;
  case IPPROTO_UDP: return 2;
  case PROTOCOL_MPTCP: return 4;
  default: return 0;
  }
}

bool range_serves(int fd, uint16_t protocol)
{
  if (!range_is_known() || (atomic_load_explicit(&refused, memory_order_relaxed) & kind(protocol)))
    return false;
  return !atomic_load_explicit(&has_moved, memory_order_relaxed) || is_of(namespace_of(fd));
}

static bool is_inet(int fd)
{
  int family = socket_option(fd, SOL_SOCKET, SO_DOMAIN);
  return family == AF_INET || family == AF_INET6;
}

void range_refused(int fd, uint16_t protocol, int error)
{
  if ((error == ENOPROTOOPT || error == EOPNOTSUPP) && is_inet(fd) &&
      socket_option(fd, SOL_SOCKET, SO_PROTOCOL) == protocol)
    atomic_fetch_or_explicit(&refused, kind(protocol), memory_order_relaxed);
}

bool range_is_heeded(uint16_t low, uint16_t high)
{
  read_again();
  return range_from(low) > (uint32_t)(high - low);
}
