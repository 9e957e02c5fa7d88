// SPDX-License-Identifier: MIT
#include "steer/claim.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "policy/pool.h"
#include "record/sys.h"
#include "record/text.h"
#include "steer/observation.h"
#include "steer/offer.h"
#include "steer/range.h"
#include "steer/socket.h"

/* All of it, so that no event tells what happened to lie on the stack. */
void claim_begin(struct claim *c)
{
  memset(c, 0, offsetof(struct claim, candidates));
}

/* --- whether a rule takes the call ----------------------------------------------------------- */

static uint8_t transport_of(uint16_t protocol)
{
  switch (protocol) {
  case IPPROTO_TCP:
  case PROTOCOL_MPTCP: return POLICY_TCP;
  case IPPROTO_UDP: return POLICY_UDP;
  default: return 0;
  }
}

uint8_t claim_transport(struct observation *o)
{
  bool seen = o->before.kind != SOCKET_UNKNOWN && o->before.kind != SOCKET_OTHER;
  bool raw = o->before.kind == SOCKET_RAW;
  int type = raw ? SOCK_RAW : seen ? 0 : socket_option(o->fd, SOL_SOCKET, SO_TYPE);
  if (type == SOCK_RAW)
    return 0; /* whatever protocol it carries, it has no port */
  if (!seen && !type)
    o->claim.forbidden = errno == SYS_FORBIDDEN;
  return transport_of(observation_protocol(o));
}

void claim_forbidden(struct claim *c, const struct record_event *e)
{
  struct policy_connection connection = {.transport = transport_of(e->transport),
                                         .port = e->peer_port};
  memcpy(connection.address, e->peer, 16);
  bool binds = e->call == RECORD_BIND;
  if (!connection.transport || e->chosen_by != RECORD_KERNEL)
    return;
  c->rule = binds ? rules_match_bind(connection.transport) : rules_match(&connection);
  if (!c->rule)
    return;
  c->outcome = CLAIM_LEFT;
  c->unsteered = c->rule->rule->steers ? RECORD_FORBIDDEN : RECORD_STEERED;
}

static bool finds_rule(struct observation *o, const struct endpoint *peer)
{
  struct claim *c = &o->claim;
  struct policy_connection connection = {.transport = claim_transport(o), .port = peer->port};
  if (!connection.transport)
    return false;
  memcpy(connection.address, peer->address, 16);
  c->rule = rules_match(&connection);
  c->flow.transport = connection.transport;
  c->protocol = o->protocol;
  c->flow.peer = *peer;
  c->flow.now = o->began;
  c->flow.fd = o->fd;
  if (c->rule)
    c->outcome = CLAIM_LEFT;
  return c->rule;
}

/* A UDP socket that shares its port by an option would overshadow, or be overshadowed. */
static void look_at_sharing(struct observation *o)
{
  errno = 0;
  if (socket_option(o->fd, SOL_SOCKET, SO_REUSEADDR) ||
      socket_option(o->fd, SOL_SOCKET, SO_REUSEPORT))
    o->claim.unsteered = RECORD_REUSE;
  else
    o->claim.forbidden = errno == SYS_FORBIDDEN;
}

/* A stream socket whose connection failed, seen or not, has lost the port that it was given. */
static bool is_closed(struct observation *o)
{
  int state = socket_tcp_state(o->fd);
  if (state >= 0 && state != TCP_CLOSE)
    return false;
  if (o->before.flags & DESCRIPTOR_EARLIER)
    o->before.flags &= (uint8_t)~DESCRIPTOR_SETTLED;
  return true;
}

/* Whether the call is to give the socket a port: it is closed, and has none. */
static bool gets_port(struct observation *o, uint8_t transport)
{
  return o->fresh || ((transport != POLICY_TCP || is_closed(o)) && observation_lacks_port(o));
}

/* Whether the socket is one that the rule may give a port: closed, without one, and none of the
 * reasons to leave it alone. */
static bool may_steer(struct observation *o)
{
  struct claim *c = &o->claim;
  if (!c->rule->rule->steers || !gets_port(o, c->flow.transport))
    return false;
  if (observation_has_own_range(o))
    c->unsteered = RECORD_OWN_RANGE;
  else if (c->flow.transport == POLICY_UDP)
    look_at_sharing(o);
  return !c->unsteered && !c->forbidden;
}

/* The source address that the program has bound the socket to, which the kernel keeps when it takes
 * the port back (tcp_disconnect(), and inet_put_port() after a failure). What a connection that failed
 * has left behind is not meant: it comes with that one's port. */
static bool keeps_address(struct observation *o)
{
  struct descriptor d = o->before;
  if (o->fresh || address_is_unspecified(o->local.address))
    return false;
  if (!(d.flags & DESCRIPTOR_ADDRESS) && (d.flags & DESCRIPTOR_EARLIER) && d.port == o->local.port)
    return false;
  memcpy(o->claim.flow.local, o->local.address, 16);
  o->claim.flow.local_scope = o->local.scope;
  return true;
}

/* --- offers ---------------------------------------------------------------------------------- */

/* A sandbox that forbids bind(2) forbids it of most ports (Landlock's rules name them one by one):
 * where so many were refused, and no other answer came, the rest of a set is not tried. */
#define MOST_DENIED 16

static bool may_offer(const struct claim *c)
{
  uint32_t tries = c->rule->rule->tries;
  return (!tries || c->tries < tries) && !(c->denied >= MOST_DENIED && c->denied == c->tries);
}

/* It was the port, or else there is none that will do: then the call ends as the kernel's own. */
static enum offer_answer refused(struct offering *o)
{
  struct claim *c = o->claim;
  if (offer_lacks_source(o)) {
    o->result = -1;
    o->error = EADDRNOTAVAIL;
    return OFFER_ANSWERED;
  }
  c->refused = c->offer;
  candidates_refused(&c->candidates, &c->offer);
  return OFFER_REFUSED;
}

/* The set, from one source address. OFFER_REFUSED: no port of it is free. */
static enum offer_answer offer_set(struct offering *o)
{
  struct claim *c = o->claim;
  enum offer_answer answer = OFFER_REFUSED;
  candidates_begin(&c->candidates, c->rule, &c->flow);
  while (answer == OFFER_REFUSED && may_offer(c) && candidates_next(&c->candidates, &c->offer)) {
    c->tries++;
    answer = c->offer.by_range ? offer_range(o) : offer_bind(o, false);
    if (answer == OFFER_REFUSED)
      answer = refused(o);
  }
  if (answer == OFFER_REFUSED && o->has_resort && may_offer(c) &&
      candidates_again(&c->candidates, &o->resort)) {
    c->offer = o->resort;
    c->tries++;
    answer = offer_bind(o, true);
  }
  o->has_resort = false;
  candidates_end(&c->candidates);
  return answer;
}

/* bind() wants a link-local address's interface: the peer's. */
static bool is_link_local(const uint8_t address[16])
{
  return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

/* Each address of the pool, in turn, as long as the rule's `tries` last. */
static enum offer_answer offer_pool(struct offering *o, struct policy_span pool)
{
  struct claim *c = o->claim;
  uint32_t size = policy_pool_size(rules_image(), pool);
  bool ipv4 = address_is_ipv4(c->flow.peer.address);
  uint32_t turn = policy_state_turn(rules_state(), c->rule->number,
                                    ipv4 ? POLICY_IPV4 : POLICY_IPV6);
  enum offer_answer answer = OFFER_NO_ADDRESS;
  bool refused = false;
  for (uint32_t i = 0; i < size && answer != OFFER_ANSWERED && may_offer(c); i++) {
    policy_pool_address(rules_image(), pool, (turn + i) % size, c->flow.local);
    c->flow.local_scope = is_link_local(c->flow.local) ? c->flow.peer.scope : 0;
    answer = offer_address(o);
    if (answer == OFFER_REFUSED)
      answer = offer_set(o);
    refused |= answer == OFFER_REFUSED;
  }
  if (answer != OFFER_ANSWERED)
    offer_drop_address(o);
  return answer == OFFER_ANSWERED || !refused ? answer : OFFER_REFUSED;
}

static int exhausted_error(const struct claim *c)
{
  return c->flow.transport == POLICY_UDP ? EAGAIN : EADDRNOTAVAIL;
}

static void end_exhausted(struct offering *o, enum offer_answer answer)
{
  struct claim *c = o->claim;
  offer_take_back(o);
  bool forbidden = c->denied && c->denied == c->tries;
  if (forbidden && rules_strict()) {
    offer_nothing(o);
    return;
  }
  c->outcome = c->rule->rule->exhausted == POLICY_LEAVE ? CLAIM_FELL_BACK : CLAIM_EXHAUSTED;
  if (forbidden)
    c->unsteered = RECORD_FORBIDDEN;
  if (c->outcome == CLAIM_FELL_BACK) {
    offer_call(o);
    return;
  }
  o->result = -1;
  o->error = answer == OFFER_NO_ADDRESS ? EADDRNOTAVAIL : exhausted_error(c);
}

/* The option has served once the call has chosen the port, but for the further subflows of MPTCP. By
 * another descriptor of the socket (dup(), fork(), a message) nobody would know that it is a rule's. */
static long finish(struct offering *o)
{
  tuple_asker_end(&o->asker);
  if (o->claim->protocol == PROTOCOL_MPTCP && offer_has_begun(o))
    o->claim->ranged = o->ranged;
  else
    offer_restore_range(o);
  if (!offer_has_begun(o))
    offer_restore_only(o);
  errno = o->error ? o->error : o->saved_errno;
  return o->result;
}

/* A connection to 0.0.0.0 or :: goes to the source address where the socket has one
 * (ip_route_output_key_hash_rcu() in net/ipv4/route.c): to give it one would change where to. */
static struct policy_span pool_for(struct observation *o)
{
  const struct policy_rule *rule = o->claim.rule->rule;
  const uint8_t *peer = o->claim.flow.peer.address;
  const struct policy_span none = {0, 0};
  o->claim.keeps = keeps_address(o);
  if (o->claim.keeps || address_is_unspecified(peer))
    return none;
  return address_is_ipv4(peer) ? rule->ipv4 : rule->ipv6;
}

static struct offering begin_offering(struct observation *o, claim_call *call,
                                      const void *arguments)
{
  return (struct offering){.claim = &o->claim,
                           .fd = o->fd,
                           .generation = o->before.generation,
                           .saved_errno = o->error,
                           .call = call,
                           .arguments = arguments,
                           .ranged = o->before.flags & DESCRIPTOR_RANGED};
}

/* The number can be of a socket of another kind than is remembered (steer/descriptor.h): no call is
 * to fail for that. So the kernel is asked where it would, or did in a way that its kind does not. */
static bool is_of_its_kind(const struct observation *o)
{
  uint8_t kind = o->before.kind;
  if (kind != SOCKET_TCP && kind != SOCKET_MPTCP && kind != SOCKET_UDP)
    return true; /* it was asked */
  errno = 0;
  int type = socket_option(o->fd, SOL_SOCKET, SO_TYPE);
  int protocol = socket_option(o->fd, SOL_SOCKET, SO_PROTOCOL); /* of a Unix socket, 0 */
  int state = o->fresh ? socket_tcp_state(o->fd) : -1;
  if (errno == SYS_FORBIDDEN)
    return true;
  if (kind == SOCKET_UDP)
    return type == SOCK_DGRAM && protocol == IPPROTO_UDP;
  return type == SOCK_STREAM && transport_of((uint16_t)protocol) == POLICY_TCP &&
         (state < 0 || state == TCP_CLOSE);
}

static bool fails_oddly(const struct offering *o)
{
  if (o->claim->flow.transport == POLICY_TCP)
    return o->error == EAGAIN;
  return o->error == EADDRNOTAVAIL || o->error == EADDRINUSE;
}

/* Nothing of it was true. */
static void forget(struct observation *o)
{
  sa_family_t family = o->claim.family;
  o->before = (struct descriptor){.generation = o->before.generation};
  o->fresh = false;
  o->protocol = 0;
  descriptor_set(o->fd, o->before);
  claim_begin(&o->claim);
  o->claim.family = family;
}

/* False where the socket was none of its kind, and is as before. */
static bool steer(struct observation *o, claim_call *call, const void *arguments, long *result)
{
  struct claim *c = &o->claim;
  struct offering offering = begin_offering(o, call, arguments);
  struct policy_span pool = pool_for(o);
  c->flow.rangeless = !range_serves(o->fd, c->protocol);
  c->outcome = CLAIM_OFFERED;
  enum offer_answer answer = pool.count ? offer_pool(&offering, pool) : offer_set(&offering);
  if ((answer != OFFER_ANSWERED || fails_oddly(&offering)) && !is_of_its_kind(o)) {
    offer_take_back(&offering);
    tuple_asker_end(&offering.asker);
    return false;
  }
  if (answer != OFFER_ANSWERED)
    end_exhausted(&offering, answer);
  *result = finish(&offering);
  return true;
}

/* An MPTCP socket that connects from a port which a rule has bound, by bind() to port 0 or before a
 * connect that failed: its further subflows are to leave from the rule's ports too. */
static bool has_bound_port(struct observation *o)
{
  const struct claim *c = &o->claim;
  return c->rule && c->rule->rule->steers && c->protocol == PROTOCOL_MPTCP &&
         (o->before.flags & DESCRIPTOR_POLICY) && !(o->before.flags & DESCRIPTOR_OWN_RANGE) &&
         is_closed(o);
}

static long call_from_bound_port(struct observation *o, claim_call *call, const void *arguments)
{
  struct offering offering = begin_offering(o, call, arguments);
  o->claim.flow.rangeless = !range_serves(o->fd, o->claim.protocol);
  offer_hold_subflows(&offering, o->before.port);
  offer_call(&offering);
  return finish(&offering);
}

/* --- the calls ------------------------------------------------------------------------------- */

static long call_plainly(const struct observation *o, claim_call *call, const void *arguments)
{
  errno = o->error;
  return call(arguments);
}

/* The call, of which a sandbox forbids to find out what a rule would do with it: refused where the
 * policy is to be kept at any price, unless it is known that no rule steers it. */
static long call_unasked(struct observation *o, bool may_be_steered, claim_call *call,
                         const void *arguments)
{
  if (!may_be_steered || !rules_strict())
    return call_plainly(o, call, arguments);
  errno = EPERM;
  return -1;
}

/* What no policy could have steered goes on. */
static long refuse(struct observation *o, claim_call *call, const void *arguments)
{
  uint8_t transport = claim_transport(o);
  if (!transport || !gets_port(o, transport))
    return call_plainly(o, call, arguments);
  errno = EPERM;
  return -1;
}

/* No rule steers it, or none may. */
static long leave(struct observation *o, claim_call *call, const void *arguments)
{
  struct claim *c = &o->claim;
  bool steers = !c->rule || c->rule->rule->steers;
  if (has_bound_port(o))
    return call_from_bound_port(o, call, arguments);
  claim_restore_range(o->fd);
  if (c->forbidden && c->rule && steers)
    c->unsteered = RECORD_FORBIDDEN;
  return call_unasked(o, c->forbidden && steers, call, arguments);
}

static long claim(struct observation *o, const struct endpoint *peer, claim_call *call,
                  const void *arguments)
{
  long result;
  if (rules_refused())
    return refuse(o, call, arguments);
  while (finds_rule(o, peer) && may_steer(o)) {
    if (steer(o, call, arguments, &result))
      return result;
    forget(o);
  }
  return leave(o, call, arguments);
}

/* The kernel takes no sockaddr that is longer (move_addr_to_kernel() in net/socket.c). */
#define LONGEST sizeof(struct sockaddr_storage)

/* Where a sandbox lets nobody ask, the event says so. */
static bool may_read(struct observation *o, const struct sockaddr *address, socklen_t size)
{
  if (size > LONGEST)
    return false;
  enum memory answer = endpoint_ask(o->fd, address, size);
  o->claim.forbidden = answer == MEMORY_UNKNOWN;
  return answer == MEMORY_READABLE;
}

/* What is at the address is not known: of a socket that nobody saw made, the family neither. */
static long call_unread(struct observation *o, claim_call *call, const void *arguments)
{
  bool is_ours = o->before.kind != SOCKET_UNKNOWN && o->before.kind != SOCKET_OTHER;
  return call_unasked(o, o->claim.forbidden && is_ours, call, arguments);
}

long claim_connect(struct observation *o, const struct sockaddr *address, socklen_t size,
                   claim_call *call, const void *arguments)
{
  struct endpoint peer;
  if (!rules_any())
    return call(arguments);
  if (!may_read(o, address, size))
    return call_unread(o, call, arguments);
  if (!endpoint_from(&peer, address, size))
    return call_plainly(o, call, arguments);
  o->claim.family = (sa_family_t)endpoint_family(address, size);
  return claim(o, &peer, call, arguments);
}

/* A stream socket connects by MSG_FASTOPEN alone. */
static bool may_choose(struct observation *o, int flags)
{
  return (flags & MSG_FASTOPEN) || claim_transport(o) == POLICY_UDP;
}

long claim_sendto(struct observation *o, int flags, const struct sockaddr *address, socklen_t size,
                  claim_call *call, const void *arguments)
{
  struct endpoint peer;
  if (!rules_any())
    return call(arguments);
  if (!may_read(o, address, size))
    return call_unread(o, call, arguments);
  if (!observation_endpoint(&peer, address, size) || !may_choose(o, flags))
    return call_plainly(o, call, arguments);
  o->claim.family = (sa_family_t)endpoint_family(address, size);
  return claim(o, &peer, call, arguments);
}

long claim_sendmsg(struct observation *o, int flags, const struct msghdr *message, claim_call *call,
                   const void *arguments)
{
  if (!rules_any())
    return call(arguments);
  enum memory answer = memory_ask(o->fd, message, sizeof *message);
  o->claim.forbidden = answer == MEMORY_UNKNOWN;
  if (answer != MEMORY_READABLE)
    return call_unread(o, call, arguments);
  struct msghdr m;
  memcpy(&m, (const void *)message, sizeof m);
  socklen_t size = m.msg_namelen;
  if (size > LONGEST && size <= INT32_MAX) /* which the kernel cuts: __copy_msghdr() */
    size = LONGEST;
  return claim_sendto(o, flags, m.msg_name, size, call, arguments);
}
