// SPDX-License-Identifier: MIT
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "record/text.h"
#include "steer/observation.h"
#include "steer/recorder.h"
#include "steer/socket.h"
#include "steer/stray.h"

/* The number has come to another socket, by dup() or from another process: what is remembered of
 * the connection that its last one had begun tells nothing. */
static bool is_another(const struct observation *o)
{
  struct endpoint local;
  return o->state == TCP_CLOSE && socket_local(o->fd, &local) && local.port != o->before.port;
}

static void ask_state(struct observation *o)
{
  o->state = socket_tcp_state(o->fd);
  if (!is_another(o))
    return;
  o->before = (struct descriptor){.generation = o->before.generation};
  o->state = -1;
}

bool observe_connect_begin(struct observation *o, int fd)
{
  if (!recorder_wanted() && !rules_any())
    return false; /* SOCKET_OTHER is looked at: its sockaddr tells, at no cost, if it lies */
  o->error = errno;
  observation_begin(o, fd);
  if (o->before.flags & DESCRIPTOR_CONNECTING)
    ask_state(o);
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

/* By the descriptor, or where nothing is known of it (dup(), fcntl(), a received one), by what
 * the program has bound anywhere. */
static bool program_chose(struct descriptor before, uint16_t port)
{
  bool unseen = before.kind == SOCKET_UNKNOWN && !(before.flags & ~DESCRIPTOR_ADDRESS);
  if (before.flags & DESCRIPTOR_PROGRAM)
    return port && before.port == port;
  return port && unseen && descriptor_port_was_bound(port);
}

static bool policy_chose(struct descriptor before, uint16_t port)
{
  return port && (before.flags & DESCRIPTOR_POLICY) && before.port == port;
}

/* What is known of the descriptor after a connect, or a send that is one. */
static void remember_connect(const struct observation *o, const struct record_event *e, int error)
{
  struct descriptor d = o->before;
  bool begun = error == 0 || error == EINPROGRESS || error == EINTR;
  bool by_policy = e->local_port && e->chosen_by == RECORD_POLICY;
  bool bound = o->claim.bound || policy_chose(d, e->local_port) ||
               (by_policy && e->transport == IPPROTO_UDP); /* which no later connect() gives back */
  d.flags = (d.flags & DESCRIPTOR_LASTING) | (uint8_t)(o->claim.ranged ? DESCRIPTOR_RANGED : 0) |
            (uint8_t)(o->claim.keeps ? DESCRIPTOR_ADDRESS : 0) |
            (uint8_t)(e->chosen_by == RECORD_PROGRAM ? DESCRIPTOR_PROGRAM
                      : bound                        ? DESCRIPTOR_POLICY
                                                     : DESCRIPTOR_EARLIER);
  if (e->local_port)
    d.port = e->local_port;
  if (error == EINPROGRESS || error == EINTR)
    d.flags |= DESCRIPTOR_CONNECTING;
  d.multipath = begun && by_policy && e->transport == PROTOCOL_MPTCP;
  if (d.multipath)
    stray_expect();
  if (begun) {
    d.flags |= DESCRIPTOR_SETTLED;
    d.kind = SOCKET_UNKNOWN; /* the hint has served: it could only grow stale */
  }
  observation_remember(o, d);
}

/* Where the socket is gone its addresses cannot be asked: the port is known where a rule gave one,
 * and the protocol where it was asked before. */
static bool local_of(struct observation *o, const struct endpoint *peer, int error,
                     struct endpoint *local)
{
  if (observation_is_same(o))
    return observation_local(o, local, error) || errno != EAFNOSUPPORT;
  memset(local, 0, sizeof *local);
  if (address_is_ipv4(peer->address))
    memset(local->address + 10, 0xff, 2);
  local->port = had_port(error) ? claim_certain_port(&o->claim) : 0;
  return o->protocol || o->before.kind == SOCKET_TCP || o->before.kind == SOCKET_UDP;
}

void observation_write_connect(struct observation *o, enum record_call call,
                               const struct endpoint *peer, int error)
{
  struct endpoint local;
  if (!local_of(o, peer, error, &local))
    return; /* an address of ours for a socket of another family */
  struct record_event e = observation_event(o, call, error);
  e.transport = observation_protocol(o);
  observation_put_local(o, &e, &local);
  observation_put_peer(&e, peer);
  drop_earlier_port(&e, o->before, error);
  if (program_chose(o->before, e.local_port))
    e.chosen_by = RECORD_PROGRAM;
  else if (policy_chose(o->before, e.local_port))
    e.chosen_by = RECORD_POLICY;
  observation_write(o, &e);
  remember_connect(o, &e, error);
}

/* Errors that a connection in progress does not end with: they are of an attempt of its own. */
static bool is_of_attempt(int error)
{
  return error == 0 || error == EINPROGRESS || error == EADDRNOTAVAIL || error == EINVAL ||
         error == EACCES || error == EPERM || error == EAFNOSUPPORT || error == ENOBUFS;
}

/* EALREADY and EISCONN say so, 0 completes it. Where the socket was closed before the call, that
 * connection had failed and an error brings the news (ECONNABORTED where SO_ERROR has told it
 * already), or else another was begun: the descriptor is a new socket, or was shut down. */
static bool is_repeat(const struct observation *o, int error)
{
  if (error == EALREADY || error == EISCONN)
    return true;
  return o->state >= 0 && !(o->state == TCP_CLOSE && is_of_attempt(error));
}

bool observation_is_repeat(const struct observation *o, int error)
{
  struct descriptor d = o->before;
  if (!is_repeat(o, error))
    return false;
  if (error != EALREADY && error != EINTR) /* else it goes on */
    d.flags &= (uint8_t)~DESCRIPTOR_CONNECTING;
  if (o->claim.bound) { /* the next one will leave from there */
    d.flags = (uint8_t)((d.flags & ~DESCRIPTOR_EARLIER) | DESCRIPTOR_POLICY);
    d.port = o->claim.offer.low;
  }
  observation_remember(o, d);
  return true;
}

/* connect(AF_UNSPEC) dissolves the association, and gives a port that was not bound back: what the
 * program does next with the socket, by whichever descriptor, may choose one. */
static void forget_association(const struct observation *o)
{
  const uint8_t over = DESCRIPTOR_SETTLED | DESCRIPTOR_CONNECTING | DESCRIPTOR_RANGED;
  struct descriptor d = o->before;
  claim_restore_range(o->fd);
  d.flags = (uint8_t)((d.flags & ~over) | (descriptor_get(o->fd).flags & DESCRIPTOR_RANGED));
  d.kind = SOCKET_UNKNOWN;
  descriptor_set(o->fd, d);
}

static bool dissolves(const struct observation *o, const struct sockaddr *address, socklen_t size,
                      int error)
{
  return !error && observation_may_read(o, address, size, error) &&
         endpoint_family(address, size) == AF_UNSPEC;
}

static void connect_ended(struct observation *o, const struct sockaddr *address, socklen_t size,
                          int error)
{
  struct endpoint peer;
  if (!observation_end(o, error) || (error && o->before.kind == SOCKET_OTHER))
    return;
  if (dissolves(o, address, size, error)) {
    forget_association(o);
    return;
  }
  if (observation_is_repeat(o, error) || !observation_may_read(o, address, size, error))
    return;
  if (endpoint_from(&peer, address, size)) {
    observation_write_connect(o, RECORD_CONNECT, &peer, error);
  } else if (!error) {
    struct descriptor other = {.kind = SOCKET_OTHER, .generation = o->before.generation};
    descriptor_set(o->fd, other);
  }
}

void observe_connect(struct observation *o, const struct sockaddr *peer, socklen_t size, int result)
{
  int error = errno;
  if (result <= 0) /* else it is no result of the kernel's, but of a handler of SIGSYS */
    connect_ended(o, peer, size, result ? error : 0);
  errno = error;
}
