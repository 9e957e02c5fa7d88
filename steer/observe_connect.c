// SPDX-License-Identifier: MIT
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "steer/observation.h"
#include "steer/recorder.h"
#include "steer/socket.h"

bool observe_connect_begin(struct observation *o, int fd)
{
  if (!recorder_wanted())
    return false; /* SOCKET_OTHER is looked at: its sockaddr tells, at no cost, if it lies */
  o->error = errno;
  observation_begin(o, fd);
  if (o->before.flags & DESCRIPTOR_CONNECTING)
    o->state = socket_tcp_state(fd);
  errno = o->error;
  return true;
}

/* Errors that a connection has only after it had a port. */
static bool had_port(int error)
{
  return error == 0 || error == EINPROGRESS || error == EINTR || error == ECONNREFUSED ||
         error == ECONNRESET || error == ETIMEDOUT;
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

void observation_write_connect(struct observation *o, enum record_call call,
                               const struct endpoint *peer, int error)
{
  struct endpoint local;
  struct record_event e = observation_event(o, call, error);
  socket_local(o->fd, &local);
  e.transport = socket_protocol(o->fd, o->before.kind);
  observation_put_local(&e, &local);
  observation_put_peer(&e, peer);
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
  d.flags &= (uint8_t) ~(DESCRIPTOR_SETTLED | DESCRIPTOR_CONNECTING);
  d.kind = SOCKET_UNKNOWN;
  descriptor_set(o->fd, d);
}

static void connect_ended(struct observation *o, const struct sockaddr *address, socklen_t size,
                          int error)
{
  struct endpoint peer;
  if (observation_is_void(error) || (error && o->before.kind == SOCKET_OTHER))
    return;
  if (is_repeat(o, error)) {
    struct descriptor d = o->before;
    d.flags &= (uint8_t) ~(error == EALREADY ? 0 : DESCRIPTOR_CONNECTING);
    descriptor_set(o->fd, d);
    return;
  }
  if (!observation_may_read(address, size, error))
    return;
  if (endpoint_from(&peer, address, size)) {
    observation_write_connect(o, RECORD_CONNECT, &peer, error);
  } else if (!error && endpoint_family(address, size) == AF_UNSPEC) {
    forget_association(o);
  } else if (!error) {
    struct descriptor other = {.kind = SOCKET_OTHER};
    descriptor_set(o->fd, other);
  }
}

void observe_connect(struct observation *o, const struct sockaddr *peer, socklen_t size, int result)
{
  int error = errno;
  connect_ended(o, peer, size, result ? error : 0);
  errno = error;
}
