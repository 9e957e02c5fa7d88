// SPDX-License-Identifier: MIT
#include <errno.h>
#include <string.h>

#include "gate/gate.h"
#include "steer/memory.h"
#include "steer/observation.h"
#include "steer/recorder.h"
#include "steer/socket.h"

/* By what is remembered, and without a system call. */
static bool may_choose(int fd, int flags)
{
  struct descriptor d = descriptor_get(fd);
  bool fast_open = flags & MSG_FASTOPEN;
  if (!fast_open &&
      ((d.flags & DESCRIPTOR_SETTLED) || d.kind == SOCKET_TCP || d.kind == SOCKET_RAW))
    return false;
  return !observation_is_idle(fd);
}

static bool is_of_others(const struct sockaddr *address, socklen_t size)
{
  if (!memory_is_on_stack(address, size))
    return false;
  int family = endpoint_family(address, size);
  return family != AF_INET && family != AF_INET6 && family != AF_UNSPEC;
}

static bool begin(struct observation *o, int fd, int flags)
{
  bool fast_open = flags & MSG_FASTOPEN;
  o->error = errno;
  observation_begin(o, fd);
  if (fast_open)
    o->state = socket_tcp_state(fd);
  bool connects = o->state >= 0;
  if (!(o->before.flags & DESCRIPTOR_CONNECTING))
    o->state = -1; /* nothing that it could repeat */
  bool chooses = connects || observation_lacks_port(o);
  errno = o->error;
  return chooses;
}

bool observe_sendto_begin(struct observation *o, int fd, int flags, const struct sockaddr *peer,
                          socklen_t size)
{
  return may_choose(fd, flags) && !is_of_others(peer, size) && begin(o, fd, flags);
}

/* Without a name it goes to where the socket is connected: such a one has its port. */
bool observe_sendmsg_begin(struct observation *o, int fd, int flags, const struct msghdr *message)
{
  struct msghdr m;
  if (!may_choose(fd, flags))
    return false;
  if (!memory_is_on_stack(message, sizeof *message))
    return begin(o, fd, flags);
  memcpy(&m, (const void *)message, sizeof m);
  return m.msg_name && !is_of_others(m.msg_name, m.msg_namelen) && begin(o, fd, flags);
}

/* A datagram's send chose a port if there is one now. None, and EAGAIN: the kernel found none
 * free (inet_autobind() in net/ipv4/af_inet.c). */
static void write_datagram(struct observation *o, enum record_call call,
                           const struct endpoint *peer, int error)
{
  struct endpoint local;
  if (!observation_is_same(o) || !observation_local(o, &local, error) ||
      (local.port == 0 && error != EAGAIN && !o->forbidden))
    return;
  struct record_event e = observation_event(o, call, error);
  e.transport = observation_protocol(o);
  observation_put_local(o, &e, &local);
  observation_put_peer(&e, peer);
  observation_write(o, &e);
  if (local.port || !error) {
    struct descriptor d = {.port = local.port,
                           .kind = o->before.kind,
                           .flags = DESCRIPTOR_SETTLED | (o->before.flags & DESCRIPTOR_LASTING),
                           .generation = o->before.generation};
    d.flags |= e.chosen_by == RECORD_POLICY ? DESCRIPTOR_POLICY : 0;
    d.flags |= o->claim.ranged ? DESCRIPTOR_RANGED : 0;
    d.flags |= o->claim.keeps ? DESCRIPTOR_ADDRESS : 0;
    observation_remember(o, d);
  }
}

static void send_ended(struct observation *o, enum record_call call, int flags,
                       const struct sockaddr *address, socklen_t size, int error)
{
  struct endpoint peer;
  if (!observation_may_read(o, address, size, error) || !observation_endpoint(&peer, address, size))
    return;
  if (!(flags & MSG_FASTOPEN) || socket_tcp_state(o->fd) < 0)
    write_datagram(o, call, &peer, error);
  else if (!observation_is_repeat(o, error))
    observation_write_connect(o, call, &peer, error);
}

void observe_sendto(struct observation *o, int flags, const struct sockaddr *peer, socklen_t size,
                    ssize_t result)
{
  int error = errno;
  if (observation_end(o, result < 0 ? error : 0))
    send_ended(o, RECORD_SENDTO, flags, peer, size, result < 0 ? error : 0);
  errno = error;
}

void observe_sendmsg(struct observation *o, enum record_call call, int flags,
                     const struct msghdr *message, ssize_t result)
{
  int error = errno;
  bool reached = observation_end(o, result < 0 ? error : 0);
  bool was_read = result >= 0 && gate_is_open();
  if (reached && (was_read || memory_ask(o->fd, message, sizeof *message) == MEMORY_READABLE)) {
    struct msghdr m;
    memcpy(&m, (const void *)message, sizeof m);
    send_ended(o, call, flags, m.msg_name, m.msg_namelen, result < 0 ? error : 0);
  }
  errno = error;
}
