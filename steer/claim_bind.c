// SPDX-License-Identifier: MIT
//
// bind() to port 0: the port from a rule's set, or put off until the connect (late_bind).
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "record/sys.h"
#include "steer/machine.h"
#include "steer/observation.h"
#include "steer/offer.h"
#include "steer/socket.h"

static void begin(struct observation *o, const struct endpoint *asked, uint8_t transport)
{
  struct claim *c = &o->claim;
  memset(&c->flow.peer, 0, sizeof c->flow.peer);
  memcpy(c->flow.local, asked->address, 16);
  c->flow.local_scope = asked->scope;
  c->flow.transport = transport;
  c->flow.now = o->began;
  c->flow.fd = o->fd;
  c->flow.binds = true;
  c->rule = rules_match_bind(transport);
  if (c->rule)
    c->outcome = CLAIM_LEFT;
}

/* Port 0 of a socket that shares ports by an option means one that nobody else has, and only the
 * kernel can tell that then. A stream socket's SO_REUSEADDR can be put aside for the bind. */
static bool may_steer(struct observation *o)
{
  struct claim *c = &o->claim;
  if (!c->rule || !c->rule->rule->steers)
    return false;
  if (observation_has_own_range(o))
    c->unsteered = RECORD_OWN_RANGE;
  else if (socket_option(o->fd, SOL_SOCKET, SO_REUSEPORT) ||
           (c->flow.transport == POLICY_UDP && socket_option(o->fd, SOL_SOCKET, SO_REUSEADDR)))
    c->unsteered = RECORD_REUSE;
  return !c->unsteered;
}

static enum offer_answer offer_port(struct offering *o)
{
  uint16_t port = o->claim->offer.low;
  o->claim->via = RECORD_VIA_BIND;
  o->error = offer_bind_port(o, port);
  o->result = o->error ? -1 : 0;
  if (o->error == SYS_FORBIDDEN)
    return offer_nothing(o);
  bool refused = o->error == EADDRINUSE || (o->error == EACCES && offer_lacks_right(o, port));
  return refused ? OFFER_REFUSED : OFFER_ANSWERED;
}

static enum offer_answer offer_set(struct offering *o)
{
  struct claim *c = o->claim;
  enum offer_answer answer = OFFER_REFUSED;
  candidates_begin(&c->candidates, c->rule, &c->flow);
  while (answer == OFFER_REFUSED && candidates_next(&c->candidates, &c->offer)) {
    c->tries++;
    answer = offer_port(o);
    if (answer == OFFER_REFUSED) {
      c->refused = c->offer;
      candidates_refused(&c->candidates, &c->offer);
    }
  }
  candidates_end(&c->candidates);
  return answer;
}

static long steer(struct observation *o, claim_call *call, const void *arguments)
{
  struct claim *c = &o->claim;
  struct offering offering = {.claim = c,
                              .fd = o->fd,
                              .generation = o->before.generation,
                              .family = c->family,
                              .saved_errno = o->error,
                              .call = call,
                              .arguments = arguments};
  bool tcp = c->flow.transport == POLICY_TCP;
  bool asked = !tcp || offer_ask_reuse(&offering);
  if (tcp && asked)
    offer_set_reuse(&offering, false);
  c->outcome = CLAIM_OFFERED;
  enum offer_answer answer = asked ? offer_set(&offering) : offer_nothing(&offering);
  if (answer == OFFER_REFUSED && tcp && offering.reuse_before && machine_autobind_reuse()) {
    offer_set_reuse(&offering, true);
    answer = offer_set(&offering);
  }
  offer_restore_reuse(&offering);
  if (answer == OFFER_REFUSED) {
    c->outcome = c->rule->rule->exhausted == POLICY_LEAVE ? CLAIM_FELL_BACK : CLAIM_EXHAUSTED;
    offering.error = EADDRINUSE;
  } else {
    c->bound = !offering.error && c->outcome == CLAIM_OFFERED;
  }
  if (c->outcome == CLAIM_FELL_BACK)
    offer_call(&offering);
  errno = offering.error ? offering.error : o->error;
  return offering.result;
}

static int set_no_port(int fd, int on)
{
  return sys_setsockopt(fd, IPPROTO_IP, OPTION_NO_PORT, &on, sizeof on);
}

static long put_off(struct observation *o, claim_call *call, const void *arguments)
{
  set_no_port(o->fd, 1);
  errno = o->error;
  long result = call(arguments);
  int error = errno;
  if (result)
    set_no_port(o->fd, 0);
  errno = error;
  return result;
}

/* Whether the kernel would take the address for this socket, as far as berth can tell, and choose a
 * port. berth binds to a sockaddr of its own: what the kernel refuses of the program's is to be
 * refused by the kernel (__inet_bind() and __inet6_bind(), which take AF_UNSPEC for 0.0.0.0). */
static bool asks_for_port(struct observation *o, const struct sockaddr *address, socklen_t size,
                          struct endpoint *asked)
{
  static const uint8_t any[16] = {[10] = 0xff, [11] = 0xff};
  if (!address || size < sizeof address->sa_family || size > sizeof(struct sockaddr_storage))
    return false;
  enum memory answer = memory_ask(o->fd, address, size);
  o->claim.forbidden = answer == MEMORY_UNKNOWN;
  if (answer != MEMORY_READABLE || !observation_endpoint(asked, address, size) || asked->port)
    return false;
  int family = endpoint_family(address, size);
  if (family == AF_UNSPEC)
    family = memcmp(asked->address, any, sizeof any) ? AF_UNSPEC : AF_INET;
  o->claim.family = (sa_family_t)family;
  int domain = socket_option(o->fd, SOL_SOCKET, SO_DOMAIN);
  o->claim.forbidden = !domain && errno == SYS_FORBIDDEN;
  return family == domain;
}

/* A socket whose port was put off is bound as far as the program knows: a second bind() fails. */
static void fix_earlier(struct observation *o)
{
  if (!o->before.portless || !rules_bind_late())
    return;
  claim_late_port(o);
  claim_begin(&o->claim);
  o->before = descriptor_get(o->fd);
}

long claim_bind(struct observation *o, const struct sockaddr *address, socklen_t size,
                claim_call *call, const void *arguments)
{
  struct endpoint asked;
  if (!rules_any())
    return call(arguments);
  claim_restore_range(o->fd);
  fix_earlier(o);
  uint8_t transport = 0;
  bool chooses = asks_for_port(o, address, size, &asked) && (transport = claim_transport(o));
  if (chooses && rules_refused()) {
    errno = EPERM;
    return -1;
  }
  /* With that option the program has put the choice off itself. */
  if (chooses && !socket_option(o->fd, IPPROTO_IP, OPTION_NO_PORT)) {
    if (transport == POLICY_TCP && rules_bind_late())
      return put_off(o, call, arguments);
    begin(o, &asked, transport);
    if (may_steer(o))
      return steer(o, call, arguments);
  }
  errno = o->error;
  return call(arguments);
}

/* --- late_bind's end ------------------------------------------------------------------------- */

/* Not where the program itself wants none before the connect. */
static bool waits_for_port(int fd, struct endpoint *local)
{
  return !descriptor_get(fd).puts_off && socket_option(fd, IPPROTO_IP, OPTION_NO_PORT) &&
         socket_tcp_state(fd) == TCP_CLOSE && socket_local(fd, local) && !local->port;
}

struct late {
  int fd;
  struct sockaddr_storage address;
  socklen_t size;
};

static long bind_plainly(const void *arguments)
{
  const struct late *late = arguments;
  return sys_bind(late->fd, &late->address, late->size);
}

/* A bind() that fails takes the address away too (__inet_bind() in net/ipv4/af_inet.c). */
static void put_off_again(const struct late *late)
{
  set_no_port(late->fd, 1);
  bind_plainly(late);
}

static void remember_port(const struct observation *o)
{
  struct endpoint local;
  struct descriptor d = descriptor_get(o->fd);
  if (!socket_local(o->fd, &local) || !local.port)
    return;
  d.port = local.port;
  d.flags &= DESCRIPTOR_LASTING;
  d.flags |= DESCRIPTOR_SETTLED | (o->claim.bound ? DESCRIPTOR_POLICY : 0);
  descriptor_set(o->fd, d);
}

static void bind_now(struct observation *o, const struct endpoint *local)
{
  struct late late = {.fd = o->fd};
  set_no_port(o->fd, 0);
  o->claim.family = (sa_family_t)socket_option(o->fd, SOL_SOCKET, SO_DOMAIN);
  late.size = endpoint_to(local, o->claim.family, &late.address);
  begin(o, local, POLICY_TCP);
  long result = may_steer(o) ? steer(o, bind_plainly, &late) : bind_plainly(&late);
  if (result)
    put_off_again(&late);
  else
    remember_port(o);
}

bool claim_late_port(struct observation *o)
{
  struct endpoint local;
  int error = errno;
  claim_restore_range(o->fd);
  if (rules_bind_late() && waits_for_port(o->fd, &local))
    bind_now(o, &local);
  bool exhausted = o->claim.outcome == CLAIM_EXHAUSTED;
  errno = exhausted ? EADDRINUSE : error;
  return !exhausted;
}

void claim_late_name(int fd)
{
  struct observation o;
  if (!rules_bind_late())
    return;
  o.error = errno;
  observation_begin(&o, fd);
  claim_late_port(&o);
  errno = o.error;
}

void claim_late_option(int fd, int level, int option)
{
  bool tells = (level == IPPROTO_IP && option == OPTION_NO_PORT) ||
               (level == IPPROTO_IPV6 && option == IPV6_V6ONLY);
  if (tells && descriptor_get(fd).portless)
    claim_late_name(fd);
}
