// SPDX-License-Identifier: MIT
#include "steer/offer.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>

#include "record/clock.h"
#include "record/sys.h"
#include "record/text.h"
#include "steer/machine.h"
#include "steer/range.h"
#include "steer/rules.h"
#include "steer/self.h"
#include "steer/socket.h"
#include "steer/subflow.h"

/* While an offer was under way another thread can have closed the descriptor. */
static bool is_same(const struct offering *o)
{
  return self_lends() || descriptor_is(o->fd, o->generation);
}

/* After a call that failed: another offer would go to somebody else's socket. */
static bool is_gone(const struct offering *o)
{
  return o->called && !is_same(o);
}

static void set_option(const struct offering *o, int level, int name, int value)
{
  if (is_same(o))
    sys_setsockopt(o->fd, level, name, &value, sizeof value);
}

/* The socket's own, asked once. */
static int family_of(struct offering *o)
{
  if (!o->family)
    o->family = socket_option(o->fd, SOL_SOCKET, SO_DOMAIN);
  return o->family;
}

bool offer_ask_reuse(struct offering *o)
{
  if (o->reuse_asked)
    return true;
  errno = 0;
  o->reuse_before = o->reuse = socket_option(o->fd, SOL_SOCKET, SO_REUSEADDR);
  o->reuse_asked = errno != SYS_FORBIDDEN;
  return o->reuse_asked;
}

void offer_set_reuse(struct offering *o, bool on)
{
  if (o->reuse != on)
    set_option(o, SOL_SOCKET, SO_REUSEADDR, on);
  o->reuse = on;
}

void offer_restore_reuse(struct offering *o)
{
  if (o->reuse_asked)
    offer_set_reuse(o, o->reuse_before);
}

void offer_call(struct offering *o)
{
  tuple_asker_end(&o->asker);
  if (is_gone(o))
    return;
  o->called = true;
  errno = o->saved_errno;
  o->result = o->call(o->arguments);
  o->error = o->result < 0 ? errno : 0;
}

bool offer_has_begun(const struct offering *o)
{
  return !o->error || o->error == EINPROGRESS || o->error == EINTR;
}

/* A datagram's send can also mean by EAGAIN that its buffer is full: then it has a port. */
static bool found_no_port(const struct offering *o)
{
  struct endpoint local;
  if (o->claim->flow.transport == POLICY_TCP)
    return o->error == EADDRNOTAVAIL || o->error == EADDRINUSE;
  return o->error == EAGAIN && socket_local(o->fd, &local) && !local.port;
}

void offer_restore_range(struct offering *o)
{
  if (o->ranged)
    set_option(o, IPPROTO_IP, OPTION_LOCAL_PORT_RANGE, 0);
  o->ranged = false;
}

int offer_bind_port(struct offering *o, uint16_t port)
{
  struct sockaddr_storage address;
  struct endpoint local = {.port = port, .scope = o->claim->flow.local_scope};
  int family = family_of(o);
  memcpy(local.address, o->claim->flow.local, 16);
  socklen_t size = endpoint_to(&local, family, &address);
  if (!is_same(o))
    return EBADF;
  int error = sys_bind(o->fd, &address, size) ? errno : 0;
  o->claim->had_port = error == EINVAL; /* __inet_bind(): it is bound, or in use */
  return error;
}

/* Returns 0 or an errno. */
static int bind_address(struct offering *o)
{
  int before = socket_option(o->fd, IPPROTO_IP, OPTION_NO_PORT);
  if (!before)
    set_option(o, IPPROTO_IP, OPTION_NO_PORT, 1);
  int error = offer_bind_port(o, 0);
  if (!before)
    set_option(o, IPPROTO_IP, OPTION_NO_PORT, 0);
  o->address_lost = false;
  return error;
}

/* With an address of IPv6 the kernel sets IPV6_V6ONLY, and nothing but the option itself takes that
 * back (__inet6_bind() in net/ipv6/af_inet6.c). */
static void ask_only(struct offering *o)
{
  if (o->only_asked || family_of(o) != AF_INET6 || address_is_ipv4(o->claim->flow.local))
    return;
  o->only_before = socket_option(o->fd, IPPROTO_IPV6, IPV6_V6ONLY);
  o->only_asked = true;
}

void offer_restore_only(struct offering *o)
{
  if (o->only_asked && !o->only_before)
    set_option(o, IPPROTO_IPV6, IPV6_V6ONLY, 0);
}

/* An address that the program bound, and that the machine has lost since, can be bound by a socket
 * with IP_FREEBIND alone. */
void offer_restore_address(struct offering *o)
{
  if (!o->address_lost || bind_address(o) != EADDRNOTAVAIL || !o->claim->keeps)
    return;
  int before = socket_option(o->fd, IPPROTO_IP, IP_FREEBIND);
  set_option(o, IPPROTO_IP, IP_FREEBIND, 1);
  bind_address(o);
  set_option(o, IPPROTO_IP, IP_FREEBIND, before);
}

void offer_drop_address(struct offering *o)
{
  memset(o->claim->flow.local, 0, sizeof o->claim->flow.local);
  o->claim->flow.local_scope = 0;
  bind_address(o);
  offer_restore_only(o);
}

/* Whether the kernel would connect this socket to a sockaddr of that family at all: if not, it is
 * not to be bound for it. A datagram socket of AF_INET6 takes both. */
static bool takes_family(struct offering *o)
{
  sa_family_t family = o->claim->family;
  return family_of(o) == family || (o->family == AF_INET && family == AF_UNSPEC) ||
         (o->family == AF_INET6 && family == AF_INET && o->claim->flow.transport == POLICY_UDP);
}

/* Not, where a filter forbids to ask: nothing could be put back as it was. */
static bool is_known(struct offering *o)
{
  errno = 0;
  return family_of(o) || errno != SYS_FORBIDDEN;
}

void offer_take_back(struct offering *o)
{
  offer_restore_range(o);
  offer_restore_reuse(o);
  offer_restore_address(o);
}

static enum offer_answer call_plainly(struct offering *o)
{
  offer_take_back(o);
  o->claim->outcome = CLAIM_LEFT;
  offer_call(o);
  return OFFER_ANSWERED;
}

enum offer_answer offer_nothing(struct offering *o)
{
  o->claim->unsteered = RECORD_FORBIDDEN;
  if (!rules_strict() || o->claim->flow.binds) /* a bind(2) leaves nothing by itself */
    return call_plainly(o);
  offer_take_back(o);
  o->claim->outcome = CLAIM_LEFT;
  o->result = -1;
  o->error = EPERM;
  return OFFER_ANSWERED;
}

/* Of an option or a bind(2): by a filter that was asked, or one that nobody knows of. */
static bool is_forbidden(int error)
{
  return error == SYS_FORBIDDEN || error == EPERM || error == ENOSYS;
}

enum offer_answer offer_address(struct offering *o)
{
  if (!is_known(o))
    return offer_nothing(o);
  if (!takes_family(o))
    return call_plainly(o);
  ask_only(o);
  int error = bind_address(o);
  if (!error)
    return OFFER_REFUSED;
  if (error == EADDRNOTAVAIL)
    return OFFER_NO_ADDRESS;
  return is_forbidden(error) || error == EACCES ? offer_nothing(o) : call_plainly(o);
}

/* Older kernels do not know the option, or not for sockets of that kind, and a sandbox may forbid
 * it: then bind() is what is left, of a window the first port. */
static enum offer_answer offer_instead_of_range(struct offering *o, int error)
{
  struct claim *c = o->claim;
  struct candidate *offer = &c->offer;
  range_refused(o->fd, c->protocol, error);
  c->flow.rangeless = true;
  if (c->rule->rule->via == POLICY_RANGE)
    return is_forbidden(error) ? offer_nothing(o) : OFFER_REFUSED;
  offer->high = offer->low;
  offer->count = 1;
  offer->by_range = false;
  return offer_bind(o, false);
}

static void note_ranged(const struct offering *o)
{
  struct descriptor d = descriptor_get(o->fd);
  d.flags |= DESCRIPTOR_RANGED;
  d.generation = o->generation;
  descriptor_set(o->fd, d);
}

/* Before the call, out of which a thread may be cancelled. Returns 0 or an errno. */
static int set_range(struct offering *o, struct policy_ports ports)
{
  uint32_t range = (uint32_t)ports.high << 16 | ports.low;
  if (sys_setsockopt(o->fd, IPPROTO_IP, OPTION_LOCAL_PORT_RANGE, &range, sizeof range))
    return errno;
  o->ranged = true;
  note_ranged(o);
  return 0;
}

static bool may_hold_subflows(const struct offering *o)
{
  return o->claim->protocol == PROTOCOL_MPTCP && !o->claim->flow.rangeless && is_same(o);
}

void offer_hold_subflows(struct offering *o, uint16_t port)
{
  struct claim *c = o->claim;
  struct policy_ports ports;
  int error = 0;
  if (may_hold_subflows(o) && subflow_ports(&c->rule->set, port, &ports))
    error = set_range(o, ports);
  if (error)
    range_refused(o->fd, c->protocol, error);
}

/* The single port that the connection was offered serves a subflow from another address alone. The
 * kernel answers EINVAL to a connected socket and has set it all the same, for the subflows to come
 * (mptcp_setsockopt_sol_ip_set() in net/mptcp/sockopt.c). */
static void widen_for_subflows(struct offering *o)
{
  struct policy_ports ports;
  uint16_t port = o->claim->offer.low;
  if (may_hold_subflows(o) && offer_has_begun(o) &&
      subflow_ports(&o->claim->rule->set, port, &ports) && ports.low < ports.high)
    set_range(o, ports);
}

enum offer_answer offer_range(struct offering *o)
{
  const struct candidate *offer = &o->claim->offer;
  const struct policy_ports ports = {offer->low, offer->high};
  if (is_gone(o))
    return OFFER_ANSWERED;
  o->claim->via = RECORD_VIA_RANGE;
  offer_restore_address(o);
  int error = set_range(o, ports);
  if (error)
    return offer_instead_of_range(o, error);
  offer_call(o);
  widen_for_subflows(o);
  return o->error && found_no_port(o) ? OFFER_REFUSED : OFFER_ANSWERED;
}

/* Which a bind() that fails takes away (__inet_bind() in net/ipv4/af_inet.c). */
static bool has_address(const struct claim *c)
{
  static const uint8_t any[16];
  return memcmp(c->flow.local, any, sizeof any) != 0;
}

/* Between the look and the connect another process of the rule could take the 4-tuple, which shares
 * the port too: so it is kept for as long. One that ended, or this thread itself, out of a call that
 * never returned, keeps it no more. */
static bool keep_port(struct offering *o, const uint8_t source[16])
{
  struct claim *c = o->claim;
  uint32_t other = 0;
  memcpy(o->kept_source, source, 16);
  o->thread = self_tid(self_pid());
  for (int i = 0; i < 2 && !o->kept; i++) {
    other = candidates_keep(&c->candidates, &c->offer, source, o->thread);
    o->kept = !other;
    if (other && other != o->thread && sys_lives(other))
      return false;
    if (other)
      candidates_let_go(&c->candidates, &c->offer, source, other);
  }
  return o->kept;
}

/* Only sockets that share the port by SO_REUSEADDR can hold the 4-tuple once a bind with it
 * succeeds, and then the connect would fail for good: so the kernel is asked before. */
static bool may_share(struct offering *o, bool anyhow)
{
  struct claim *c = o->claim;
  const struct route *route = candidates_route(&c->flow);
  if (!keep_port(o, has_address(c) ? c->flow.local : route->source))
    return false;
  enum tuple_state state = tuple_state(&o->asker, route, c->flow.local, c->offer.low);
  if (state == TUPLE_TAKEN || anyhow)
    return state != TUPLE_TAKEN;
  bool known_free = state == TUPLE_FREE;
  if (state != TUPLE_TIME_WAIT && candidates_reserve(&c->candidates, &c->offer, known_free))
    return true;
  if (!known_free && !o->has_resort)
    o->resort = c->offer;
  o->has_resort |= !known_free;
  return false;
}

static bool has_port_reuse(struct offering *o)
{
  if (!o->port_reuse_asked)
    o->port_reuse = socket_option(o->fd, SOL_SOCKET, SO_REUSEPORT);
  o->port_reuse_asked = true;
  return o->port_reuse;
}

/* Without SO_REUSEPORT, by which a bind would succeed beside a listener that has it. */
static int bind_unshared(struct offering *o, uint16_t port)
{
  bool shares = has_port_reuse(o);
  if (shares)
    set_option(o, SOL_SOCKET, SO_REUSEPORT, 0);
  int error = offer_bind_port(o, port);
  if (shares)
    set_option(o, SOL_SOCKET, SO_REUSEPORT, 1);
  return error;
}

/* Alone if that can be: a port that no other socket has cannot have its 4-tuple taken. Otherwise
 * beside sockets that connect to somebody else. */
static int bind_tcp(struct offering *o, bool anyhow)
{
  uint16_t port = o->claim->offer.low;
  int error = EADDRINUSE;
  offer_set_reuse(o, false);
  if (!anyhow)
    error = bind_unshared(o, port);
  if (error != EADDRINUSE || !may_share(o, anyhow))
    return error;
  offer_set_reuse(o, true);
  return bind_unshared(o, port);
}

/* Destinations that had a source address: the tag of the hints, over the time in seconds. */
#define SOURCED 64
#define SOURCED_FOR 10
static _Atomic uint64_t sourced[SOURCED];

#define TRIES_BY_MEMORY 16 /* then the look adds little to what was done already */

static bool had_source(const struct claim *c, bool has_now)
{
  const uint64_t time_bits = 0xffff;
  uint64_t tag = c->candidates.tag, time = c->flow.now / UINT64_C(1000000000);
  _Atomic uint64_t *word = &sourced[(tag >> 32) % SOURCED];
  uint64_t then = atomic_load_explicit(word, memory_order_relaxed);
  if (has_now)
    atomic_store_explicit(word, (tag & ~time_bits) | (time & time_bits), memory_order_relaxed);
  return ((tag ^ then) & ~time_bits) == 0 && (uint16_t)(time - then) <= SOURCED_FOR;
}

bool offer_lacks_source(struct offering *o)
{
  const struct claim *c = o->claim;
  if (o->source_asked || c->flow.transport != POLICY_TCP || has_address(c) ||
      address_is_ipv4(c->flow.peer.address))
    return false;
  if (!c->bound && c->tries < TRIES_BY_MEMORY && had_source(c, false))
    return false;
  o->source_asked = true;
  if (route_lacks_source(o->fd, &c->flow.peer))
    return true;
  had_source(c, true);
  return false;
}

bool offer_lacks_right(struct offering *o, uint16_t port)
{
  if (!o->unprivileged)
    o->unprivileged = machine_unprivileged();
  return port < o->unprivileged;
}

/* EACCES: a port for which one has no right (net.ipv4.ip_unprivileged_port_start), or Landlock or
 * SELinux. */
static enum offer_answer bind_failed(struct offering *o, int error)
{
  if (is_forbidden(error))
    return offer_nothing(o);
  switch (error) {
  case EACCES: o->claim->denied += !offer_lacks_right(o, o->claim->offer.low); return OFFER_REFUSED;
  case EADDRINUSE: return OFFER_REFUSED;
  case EADDRNOTAVAIL: return o->claim->keeps ? call_plainly(o) : OFFER_NO_ADDRESS;
  default: return call_plainly(o);
  }
}

/* After a call that may have blocked, the descriptor can be another socket's without a hook's having
 * seen it: the port tells. */
static bool has_offered_port(const struct offering *o)
{
  const uint64_t moment = 1000000;
  struct endpoint local;
  if (clock_ns(CLOCK_MONOTONIC) - o->claim->flow.now < moment)
    return true;
  return socket_local(o->fd, &local) && local.port == o->claim->offer.low;
}

static enum offer_answer bind_and_call(struct offering *o, bool anyhow)
{
  struct claim *c = o->claim;
  bool tcp = c->flow.transport == POLICY_TCP;
  int error = tcp ? bind_tcp(o, anyhow) : offer_bind_port(o, c->offer.low);
  if (error) {
    offer_restore_reuse(o);
    o->address_lost = has_address(c) && error != EINVAL; /* it has a port, with its address */
    return bind_failed(o, error);
  }
  c->bound = true;
  candidates_end(&c->candidates); /* a thread may be cancelled in the call, and no other follows */
  offer_hold_subflows(o, c->offer.low);
  offer_call(o);
  if (tcp && has_offered_port(o))
    offer_set_reuse(o, true);
  c->stuck = o->error == EADDRNOTAVAIL && tcp && !offer_lacks_source(o);
  return OFFER_ANSWERED;
}

enum offer_answer offer_bind(struct offering *o, bool anyhow)
{
  struct claim *c = o->claim;
  const struct candidate offer = c->offer;
  if (is_gone(o))
    return OFFER_ANSWERED;
  offer_restore_range(o);
  bool known = is_known(o) && (c->flow.transport != POLICY_TCP || offer_ask_reuse(o));
  if (!known || !takes_family(o)) {
    c->tries--; /* nothing is offered */
    return known ? call_plainly(o) : offer_nothing(o);
  }
  c->via = RECORD_VIA_BIND;
  enum offer_answer answer = bind_and_call(o, anyhow);
  if (o->kept)
    candidates_let_go(&c->candidates, &offer, o->kept_source, o->thread);
  o->kept = false;
  return answer;
}
