// SPDX-License-Identifier: MIT
#include "steer/observation.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "gate/gate.h"
#include "record/clock.h"
#include "record/sys.h"
#include "steer/recorder.h"
#include "steer/self.h"
#include "steer/socket.h"

static bool is_fresh(struct descriptor d)
{
  return d.kind != SOCKET_UNKNOWN && d.kind != SOCKET_OTHER && d.kind != SOCKET_RAW &&
         !d.portless && !(d.flags & ~DESCRIPTOR_OWN_RANGE);
}

void observation_begin(struct observation *o, int fd)
{
  o->fd = fd;
  o->before = descriptor_begin(fd);
  o->fresh = is_fresh(o->before);
  o->forbidden = false;
  o->protocol = 0;
  o->local = (struct endpoint){0};
  o->state = -1;
  o->time = clock_ns(CLOCK_REALTIME);
  o->began = clock_ns(CLOCK_MONOTONIC);
  o->ended = 0;
  claim_begin(&o->claim);
}

bool observation_is_idle(int fd)
{
  return !(recorder_wanted() || rules_any()) || descriptor_get(fd).kind == SOCKET_OTHER;
}

uint16_t observation_protocol(struct observation *o)
{
  if (!o->protocol)
    o->protocol = socket_protocol(o->fd, o->before.kind);
  return o->protocol;
}

/* getsockname() of a stream socket goes on telling the port of a connection that failed or was
 * dissolved (inet_sport). */
static bool lies(const struct observation *o, uint16_t port)
{
  struct descriptor d = o->before;
  if (!(d.flags & DESCRIPTOR_EARLIER) || d.port != port)
    return false;
  return d.kind == SOCKET_TCP || d.kind == SOCKET_MPTCP ||
         (o->protocol && o->protocol != IPPROTO_UDP) || socket_tcp_state(o->fd) == TCP_CLOSE;
}

bool observation_lacks_port(struct observation *o)
{
  struct descriptor d = o->before;
  if (d.flags & DESCRIPTOR_SETTLED)
    return false;
  bool ours = socket_local(o->fd, &o->local);
  int error = errno;
  if (ours && (o->local.port == 0 || lies(o, o->local.port)))
    return true;
  errno = error;
  if (!ours && errno == SYS_FORBIDDEN) {
    o->claim.forbidden = true;
    return o->fresh;
  }
  bool known_port = d.flags & (DESCRIPTOR_EARLIER | DESCRIPTOR_POLICY) && d.port == o->local.port;
  if (o->local.port && !known_port)
    o->before.flags = d.flags |= DESCRIPTOR_ADDRESS; /* of a bind() that nobody saw */
  if (o->local.port)
    d.flags |= DESCRIPTOR_SETTLED;
  else if (errno == EAFNOSUPPORT)
    d.kind = SOCKET_OTHER;
  descriptor_set(o->fd, d);
  return false;
}

bool observation_has_own_range(const struct observation *o)
{
  if (o->before.flags & (DESCRIPTOR_OWN_RANGE | DESCRIPTOR_RANGED))
    return o->before.flags & DESCRIPTOR_OWN_RANGE;
  return !o->fresh && socket_option(o->fd, IPPROTO_IP, OPTION_LOCAL_PORT_RANGE) != 0;
}

bool observation_end(struct observation *o, int error)
{
  o->ended = clock_ns(CLOCK_MONOTONIC);
  return error != EBADF && error != ENOTSOCK && error != EFAULT;
}

static bool took_long(const struct observation *o)
{
  const uint64_t long_ago = 10 * 1000000;
  return o->ended - o->began >= long_ago;
}

bool observation_is_same(const struct observation *o)
{
  return self_lends() || descriptor_is(o->fd, o->before.generation);
}

void observation_remember(const struct observation *o, struct descriptor d)
{
  if (took_long(o)) {
    d.kind = SOCKET_UNKNOWN;
    d.flags &= (uint8_t)~DESCRIPTOR_SETTLED;
  }
  descriptor_set(o->fd, d);
}

/* The kernel has read it where the call got anywhere. Its result could be a seccomp filter's, and
 * where the call took long another thread may have unmapped it: so the kernel is asked. */
bool observation_may_read(const struct observation *o, const struct sockaddr *address,
                          socklen_t size, int error)
{
  if (!address || size < sizeof address->sa_family)
    return false;
  if ((error == 0 || error == EINPROGRESS) && !took_long(o) && gate_is_open())
    return true;
  return endpoint_ask(o->fd, address, size) == MEMORY_READABLE;
}

/* bind() takes AF_UNSPEC for AF_INET (net/ipv4/af_inet.c, __inet_bind). */
bool observation_endpoint(struct endpoint *asked, const struct sockaddr *address, socklen_t size)
{
  struct sockaddr_in in;
  if (endpoint_family(address, size) != AF_UNSPEC)
    return endpoint_from(asked, address, size);
  if (size < sizeof in)
    return false;
  memcpy(&in, address, sizeof in);
  in.sin_family = AF_INET;
  return endpoint_from(asked, (struct sockaddr *)&in, sizeof in);
}

bool observation_local(struct observation *o, struct endpoint *local, int error)
{
  if (socket_local(o->fd, local))
    return true;
  o->forbidden = errno == SYS_FORBIDDEN;
  if (o->forbidden && (!error || error == EINPROGRESS))
    local->port = claim_certain_port(&o->claim);
  return o->forbidden;
}

struct record_event observation_event(const struct observation *o, enum record_call call, int error)
{
  struct record_event e = {
      .time = o->time,
      .duration = o->ended - o->began,
      .fd = (uint32_t)o->fd,
      .forbidden = o->forbidden,
      .call = (uint8_t)call,
      .result = error == 0             ? RECORD_OK
                : error == EINPROGRESS ? RECORD_IN_PROGRESS
                                       : RECORD_FAILED,
      .error = (uint16_t)(error == EINPROGRESS ? 0 : error),
  };
  return e;
}

void observation_write(struct observation *o, struct record_event *e)
{
  struct record_steering s;
  recorder_write(e, claim_settle(o, e, &s));
}

/* A raw socket has no port: getsockname() tells its protocol in that place (raw(7)). */
static bool is_port(const struct observation *o, const struct record_event *e, uint16_t port)
{
  if (e->transport != port || o->before.kind == SOCKET_TCP || o->before.kind == SOCKET_UDP)
    return o->before.kind != SOCKET_RAW;
  return socket_option(o->fd, SOL_SOCKET, SO_TYPE) != SOCK_RAW;
}

void observation_put_local(const struct observation *o, struct record_event *e,
                           const struct endpoint *local)
{
  memcpy(e->local, local->address, sizeof e->local);
  e->local_scope = local->scope;
  e->local_port = is_port(o, e, local->port) ? local->port : 0;
}

void observation_put_peer(struct record_event *e, const struct endpoint *peer)
{
  memcpy(e->peer, peer->address, sizeof e->peer);
  e->peer_scope = peer->scope;
  e->peer_port = peer->port;
}
