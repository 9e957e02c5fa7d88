// SPDX-License-Identifier: MIT
#include "steer/observe.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <time.h>

#include "steer/endpoint.h"
#include "steer/recorder.h"

static uint64_t clock_ns(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* --- what the kernel tells of a socket --------------------------------------------------- */

static bool local_endpoint(int fd, struct endpoint *local)
{
  struct sockaddr_storage address;
  socklen_t size = sizeof address;
  memset(local, 0, sizeof *local);
  return getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
         endpoint_from(local, (struct sockaddr *)&address, size);
}

static uint16_t protocol(int fd, uint8_t kind)
{
  int value = 0;
  socklen_t size = sizeof value;
  switch (kind) {
  case SOCKET_TCP: return IPPROTO_TCP;
  case SOCKET_UDP: return IPPROTO_UDP;
  default: break; /* MPTCP too: the kernel may have made plain TCP of it */
  }
  getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &size);
  return (uint16_t)value;
}

/* TCP's state (1 ESTABLISHED, 2 SYN_SENT, 7 CLOSE, ...), or -1 for what is not TCP. */
static int tcp_state(int fd)
{
  unsigned char state = 0;
  socklen_t size = 1;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &size) ? -1 : state;
}

/* --- before the call --------------------------------------------------------------------- */

static void begin(struct observation *o, int fd)
{
  o->fd = fd;
  o->before = descriptor_get(fd);
  o->state = -1;
  o->time = clock_ns(CLOCK_REALTIME);
  o->began = clock_ns(CLOCK_MONOTONIC);
}

/* Nowhere to record, or a family that is not ours. */
static bool not_ours(int fd)
{
  return !recorder_wanted() || descriptor_get(fd).kind == SOCKET_OTHER;
}

bool observe_connect_begin(struct observation *o, int fd)
{
  if (!recorder_wanted())
    return false; /* SOCKET_OTHER is looked at: its sockaddr tells, at no cost, if it lies */
  o->error = errno;
  begin(o, fd);
  if (o->before.flags & DESCRIPTOR_CONNECTING)
    o->state = tcp_state(fd);
  errno = o->error;
  return true;
}

bool observe_bind_begin(struct observation *o, int fd)
{
  if (not_ours(fd))
    return false;
  o->error = errno;
  begin(o, fd);
  return true;
}

/* Whether the socket is of ours and has no port, so that the call will choose one. */
static bool has_no_port(struct observation *o)
{
  struct endpoint local;
  struct descriptor d = o->before;
  if (d.flags & DESCRIPTOR_SETTLED)
    return false;
  if (d.kind != SOCKET_UNKNOWN && d.port == 0)
    return true; /* seen made, and nothing since */
  if (!local_endpoint(o->fd, &local))
    d.kind = SOCKET_OTHER;
  else if (local.port)
    d.flags |= DESCRIPTOR_SETTLED;
  else
    return true;
  descriptor_set(o->fd, d);
  return false;
}

bool observe_listen_begin(struct observation *o, int fd)
{
  if (not_ours(fd))
    return false;
  o->error = errno;
  begin(o, fd);
  bool chooses = has_no_port(o);
  errno = o->error;
  return chooses;
}

bool observe_send_begin(struct observation *o, int fd, int flags)
{
  struct descriptor d = descriptor_get(fd);
  bool fast_open = flags & MSG_FASTOPEN;
  if (!fast_open && ((d.flags & DESCRIPTOR_SETTLED) || d.kind == SOCKET_TCP))
    return false;
  if (not_ours(fd))
    return false;
  o->error = errno;
  begin(o, fd);
  bool chooses = has_no_port(o) || (fast_open && tcp_state(fd) >= 0);
  errno = o->error;
  return chooses;
}

/* --- after the call ---------------------------------------------------------------------- */

/* The call never got as far as a socket of ours, or as its arguments. */
static bool meaningless(int error)
{
  return error == EBADF || error == ENOTSOCK || error == EFAULT;
}

/* Errors that a connection has only after it had a port. */
static bool had_port(int error)
{
  return error == 0 || error == EINPROGRESS || error == EINTR || error == ECONNREFUSED ||
         error == ECONNRESET || error == ETIMEDOUT;
}

/* May the sockaddr be read? The kernel has read it where the call got anywhere; a failure
 * could be a seccomp filter's, so the kernel is asked. */
static bool may_read(const struct sockaddr *address, socklen_t size, int error)
{
  if (!address || size < sizeof address->sa_family)
    return false;
  if (error == 0 || error == EINPROGRESS)
    return true;
  return memory_readable(address, size < sizeof(struct sockaddr_in6)
                                      ? size
                                      : sizeof(struct sockaddr_in6));
}

static struct record_event event(const struct observation *o, enum record_call call, int error)
{
  struct record_event e = {
      .time = o->time,
      .duration = clock_ns(CLOCK_MONOTONIC) - o->began,
      .fd = (uint32_t)o->fd,
      .call = (uint8_t)call,
      .result = error == 0               ? RECORD_OK
                : error == EINPROGRESS   ? RECORD_IN_PROGRESS
                                         : RECORD_FAILED,
      .error = (uint16_t)(error == EINPROGRESS ? 0 : error),
  };
  return e;
}

static void put_local(struct record_event *e, const struct endpoint *local)
{
  memcpy(e->local, local->address, sizeof e->local);
  e->local_scope = local->scope;
  e->local_port = local->port;
}

static void put_peer(struct record_event *e, const struct endpoint *peer)
{
  memcpy(e->peer, peer->address, sizeof e->peer);
  e->peer_scope = peer->scope;
  e->peer_port = peer->port;
}

/* getsockname() of a stream socket goes on telling the port of an earlier connect that failed:
 * a later one that found no port would seem to have had it. */
static void drop_earlier_port(struct record_event *e, struct descriptor before, int error)
{
  if ((before.flags & DESCRIPTOR_EARLIER) && before.port == e->local_port &&
      e->transport != IPPROTO_UDP && !had_port(error))
    e->local_port = 0;
}

static enum record_chooser chooser(struct descriptor before, uint16_t port)
{
  bool program = (before.flags & DESCRIPTOR_PROGRAM) && before.port == port && port;
  return program ? RECORD_PROGRAM : RECORD_KERNEL;
}

/* What is known of the descriptor after a connect, or a send that is one. */
static void remember_connect(const struct observation *o, uint16_t port, int error)
{
  struct descriptor d = o->before;
  bool begun = error == 0 || error == EINPROGRESS || error == EINTR;
  d.flags &= DESCRIPTOR_PROGRAM;
  if (!(d.flags && d.port == port)) {
    d.flags = DESCRIPTOR_EARLIER;
    d.port = port ? port : d.port;
  }
  if (error == EINPROGRESS || error == EINTR)
    d.flags |= DESCRIPTOR_CONNECTING;
  if (begun) {
    d.flags |= DESCRIPTOR_SETTLED;
    d.kind = SOCKET_UNKNOWN; /* the hint has served: it could only grow stale */
  }
  descriptor_set(o->fd, d);
}

static void write_connect(struct observation *o, enum record_call call,
                          const struct endpoint *peer, int error)
{
  struct endpoint local;
  struct record_event e = event(o, call, error);
  local_endpoint(o->fd, &local);
  e.transport = protocol(o->fd, o->before.kind);
  put_local(&e, &local);
  put_peer(&e, peer);
  drop_earlier_port(&e, o->before, error);
  e.chosen_by = (uint8_t)chooser(o->before, e.local_port);
  remember_connect(o, e.local_port, error);
  recorder_write(&e);
}

/* connect() on a socket whose connection an earlier call began: EALREADY and EISCONN say so, 0
 * completes it. Where the socket was closed before the call, that connection had failed and an
 * error only brings the news (ECONNABORTED where SO_ERROR has told it already), but 0 and
 * EINPROGRESS begin another: the descriptor is a new socket. */
static bool is_repeat(const struct observation *o, int error)
{
  bool begins = error == 0 || error == EINPROGRESS;
  if (error == EALREADY || error == EISCONN)
    return true;
  return o->state >= 0 && !(o->state == TCP_CLOSE && begins);
}

/* connect(AF_UNSPEC) dissolves the association, and gives a port that was not bound back. */
static void forget_association(const struct observation *o)
{
  struct descriptor d = o->before;
  d.flags &= (uint8_t)~(DESCRIPTOR_SETTLED | DESCRIPTOR_CONNECTING);
  d.kind = SOCKET_UNKNOWN;
  descriptor_set(o->fd, d);
}

static void connect_ended(struct observation *o, const struct sockaddr *address, socklen_t size,
                          int error)
{
  struct endpoint peer;
  if (meaningless(error) || (error && o->before.kind == SOCKET_OTHER))
    return;
  if (is_repeat(o, error)) {
    struct descriptor d = o->before;
    d.flags &= (uint8_t)~(error == EALREADY ? 0 : DESCRIPTOR_CONNECTING);
    descriptor_set(o->fd, d);
    return;
  }
  if (!may_read(address, size, error))
    return;
  if (endpoint_from(&peer, address, size)) {
    write_connect(o, RECORD_CONNECT, &peer, error);
  } else if (!error && endpoint_family(address, size) == AF_UNSPEC) {
    forget_association(o);
  } else if (!error) {
    struct descriptor other = {.kind = SOCKET_OTHER};
    descriptor_set(o->fd, other);
  }
}

void observe_connect(struct observation *o, const struct sockaddr *peer, socklen_t size,
                     int result)
{
  int error = errno;
  connect_ended(o, peer, size, result ? error : 0);
  errno = error;
}

/* bind() takes AF_UNSPEC for AF_INET (net/ipv4/af_inet.c, __inet_bind). */
static bool asked_from(struct endpoint *asked, const struct sockaddr *address, socklen_t size)
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

static void bind_ended(struct observation *o, const struct sockaddr *address, socklen_t size,
                       int error)
{
  struct endpoint asked, local;
  if (meaningless(error) || !may_read(address, size, error) ||
      !asked_from(&asked, address, size) || !local_endpoint(o->fd, &local))
    return;
  struct record_event e = event(o, RECORD_BIND, error);
  e.transport = protocol(o->fd, o->before.kind);
  e.chosen_by = asked.port ? RECORD_PROGRAM : RECORD_KERNEL;
  put_local(&e, &local);
  put_peer(&e, &asked);
  if (!error) {
    struct descriptor d = o->before;
    d.port = local.port;
    d.flags = (uint8_t)((asked.port ? DESCRIPTOR_PROGRAM : 0) |
                        (local.port ? DESCRIPTOR_SETTLED : 0));
    descriptor_set(o->fd, d);
  }
  recorder_write(&e);
}

void observe_bind(struct observation *o, const struct sockaddr *asked, socklen_t size,
                  int result)
{
  int error = errno;
  bind_ended(o, asked, size, result ? error : 0);
  errno = error;
}

static void listen_ended(struct observation *o, int error)
{
  struct endpoint local;
  if (meaningless(error) || error == EOPNOTSUPP || error == EINVAL ||
      !local_endpoint(o->fd, &local))
    return;
  struct record_event e = event(o, RECORD_LISTEN, error);
  e.transport = protocol(o->fd, o->before.kind);
  put_local(&e, &local);
  if (!error) {
    struct descriptor d = o->before;
    d.port = local.port;
    d.flags = DESCRIPTOR_SETTLED;
    descriptor_set(o->fd, d);
  }
  recorder_write(&e);
}

void observe_listen(struct observation *o, int result)
{
  int error = errno;
  listen_ended(o, result ? error : 0);
  errno = error;
}

/* A datagram's send chose a port if there is one now. None, and EAGAIN: the kernel found none
 * free (inet_autobind() in net/ipv4/af_inet.c). */
static void write_datagram(struct observation *o, enum record_call call,
                           const struct endpoint *peer, int error)
{
  struct endpoint local;
  if (!local_endpoint(o->fd, &local) || (local.port == 0 && error != EAGAIN))
    return;
  struct record_event e = event(o, call, error);
  e.transport = protocol(o->fd, o->before.kind);
  put_local(&e, &local);
  put_peer(&e, peer);
  if (local.port) {
    struct descriptor d = {.port = local.port,
                           .kind = o->before.kind,
                           .flags = DESCRIPTOR_SETTLED};
    descriptor_set(o->fd, d);
  }
  recorder_write(&e);
}

static void send_ended(struct observation *o, enum record_call call, int flags,
                       const struct sockaddr *address, socklen_t size, int error)
{
  struct endpoint peer;
  if (!may_read(address, size, error) || !asked_from(&peer, address, size))
    return;
  if (!(flags & MSG_FASTOPEN) || tcp_state(o->fd) < 0)
    write_datagram(o, call, &peer, error);
  else if (error != EALREADY && error != EISCONN)
    write_connect(o, call, &peer, error);
}

void observe_sendto(struct observation *o, int flags, const struct sockaddr *peer,
                    socklen_t size, ssize_t result)
{
  int error = errno;
  if (result >= 0 || !meaningless(error))
    send_ended(o, RECORD_SENDTO, flags, peer, size, result < 0 ? error : 0);
  errno = error;
}

void observe_sendmsg(struct observation *o, enum record_call call, int flags,
                     const struct msghdr *message, ssize_t result)
{
  int error = errno;
  if (result >= 0 || (!meaningless(error) && memory_readable(message, sizeof *message)))
    send_ended(o, call, flags, message->msg_name, message->msg_namelen,
               result < 0 ? error : 0);
  errno = error;
}
