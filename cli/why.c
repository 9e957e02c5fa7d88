// SPDX-License-Identifier: MIT
#include "cli/why.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/namespace.h"
#include "cli/why_here.h"
#include "record/text.h"

struct sentence {
  char text[768];
  size_t size;
};

__attribute__((format(printf, 2, 3))) static void say(struct sentence *s, const char *format, ...)
{
  va_list list;
  va_start(list, format);
  int size = vsnprintf(s->text + s->size, sizeof s->text - s->size, format, list);
  va_end(list);
  if (size > 0)
    s->size += (size_t)size < sizeof s->text - s->size ? (size_t)size
                                                       : sizeof s->text - s->size - 1;
}

/* An address, or with its port: as events are printed. */
static const char *name_of(char text[64], const uint8_t address[16], uint16_t port)
{
  struct text t = {text, text, text + 64, false};
  bool brackets = port && !address_is_ipv4(address);
  if (brackets)
    text_char(&t, '[');
  text_address(&t, address, "");
  if (brackets)
    text_char(&t, ']');
  if (port) {
    text_char(&t, ':');
    text_u64(&t, port);
  }
  return text_end(&t);
}

static bool is_udp(const struct record_event *e)
{
  return e->transport == IPPROTO_UDP;
}

/* --- who holds a port ------------------------------------------------------------------------ */

/* A process by the name that it gave itself, which may be any bytes. */
static void say_program(struct sentence *s, uint32_t pid)
{
  char chosen[HOLDER_NAME], name[HOLDER_NAME + 1] = "?";
  struct text t = {name, name, name + sizeof name, false};
  size_t size = holder_name(pid, chosen);
  if (size)
    text_name(&t, chosen, size);
  else
    text_char(&t, '?');
  say(s, "%s (pid %u)", text_end(&t), pid);
}

static void say_holder(struct sentence *s, const struct diag_socket *held, bool udp)
{
  uint32_t pid = here_holder(held);
  if (held->state == DIAG_TIME_WAIT) {
    say(s, " in TIME_WAIT, for %u s more", (held->expires + 999) / 1000);
    return;
  }
  if (!held->inode) {
    say(s, " by a connection that its process has closed (%s)", diag_state_name(held->state));
    return;
  }
  say(s, " by a %s",
      udp                          ? "UDP socket"
      : held->state == DIAG_LISTEN ? "listener"
      : held->state == DIAG_BOUND  ? "bound socket"
                                   : "connection");
  if (!pid) {
    say(s, " of a process that is not seen");
    return;
  }
  say(s, " of ");
  say_program(s, pid);
}

/* What a count, or a port without a socket, leaves open on kernels before 6.8. */
static void say_unseen(struct sentence *s)
{
  if (!here_sees_bound())
    say(s, "; sockets that are bound and not connected are not to be seen on this kernel");
}

/* bind(2) says EACCES then, whoever holds the port; what the program may is not to be seen any more. */
static void say_right(struct sentence *s, uint16_t lowest)
{
  int64_t start = here()->settings.unprivileged_start;
  if (lowest && lowest < start)
    say(s,
        "; or the program may not have it: ports below %lld (net.ipv4.ip_unprivileged_port_start) "
        "need CAP_NET_BIND_SERVICE",
        (long long)start);
}

static const struct diag_socket *holder_of(uint16_t port, bool udp)
{
  return udp ? here_udp_port(port) : here_port(port);
}

static void say_held(struct sentence *s, uint16_t port, bool udp)
{
  const struct diag_socket *held = holder_of(port, udp);
  if (!held && (udp || here_sees_bound())) {
    say(s, "port %u was held, and is free now", port);
    return;
  }
  if (!held) {
    say(s,
        "port %u was held, by a socket that is closed now, or bound and not connected, which is "
        "not to be seen on this kernel",
        port);
    return;
  }
  say(s, "port %u is held", port);
  say_holder(s, held, udp);
}

/* --- a port was found ------------------------------------------------------------------------ */

static const char *ordinal(uint32_t number)
{
  if (number % 100 / 10 == 1)
    return "th";
  return number % 10 == 1 ? "st" : number % 10 == 2 ? "nd" : number % 10 == 3 ? "rd" : "th";
}

static void say_policy(struct sentence *s, const struct record_event *e, const char *rule)
{
  say(s, "policy %s", rule[0] ? rule : "?");
  if (!e->tries) {
    say(s, ", of an earlier call");
    return;
  }
  say(s, ", %u%s candidate", e->tries, ordinal(e->tries));
  if (!e->refused_low)
    return;
  say(s, ": ");
  if (e->refused_low != e->refused_high) {
    say(s, "none of %u-%u was free", e->refused_low, e->refused_high);
    say_right(s, e->refused_low);
    return;
  }
  const struct diag_socket *held = holder_of(e->refused_low, is_udp(e));
  say(s, "%u was held", e->refused_low);
  if (held)
    say_holder(s, held, is_udp(e));
  else if (!is_udp(e))
    say_unseen(s);
  say_right(s, e->refused_low);
}

/* By port: the socket for which bind() to port 0, or listen(), last chose it. */
static struct {
  uint32_t pid, fd;
} bound[65536];

static void remember_bind(const struct record_event *e)
{
  bool chose = e->call == RECORD_BIND || e->call == RECORD_LISTEN;
  if (!chose || e->result == RECORD_FAILED || e->chosen_by != RECORD_KERNEL ||
      e->transport != IPPROTO_TCP || !e->local_port)
    return;
  bound[e->local_port].pid = e->pid;
  bound[e->local_port].fd = e->fd;
}

static bool was_bound(const struct record_event *e)
{
  return bound[e->local_port].pid == e->pid && bound[e->local_port].fd == e->fd;
}

/* bind() prefers what connect() does not; with SO_REUSEADDR, of which the event knows nothing, the
 * lower half of the range. */
static void say_bind(struct sentence *s, const struct record_event *e)
{
  const struct doctor_view *v = here();
  if (!e->local_port)
    say(s, "put off until connect(): IP_BIND_ADDRESS_NO_PORT");
  else if (doctor_is_low_parity(v, e->local_port))
    say(s, "bind(0): low's parity, as the other is used up or SO_REUSEADDR is set");
  else
    say(s, "bind(0): the parity other than low's first");
}

/* connect() goes over low's parity, and then over the other; without IP_LOCAL_PORT_RANGE, of which
 * the event knows nothing. */
static void say_parity(struct sentence *s, const struct record_event *e)
{
  const struct doctor_view *v = here();
  uint8_t peer[16];
  here_reached(e, peer);
  const struct destination *d = here_destination(e->local, peer, e->peer_port);
  if (e->local_port < v->ports->low || e->local_port > v->ports->high)
    say(s, "not of the range of now, %u-%u", v->ports->low, v->ports->high);
  else if (doctor_is_low_parity(v, e->local_port))
    say(s, "low's parity: first pass of connect()");
  else if (d && !d->free_low)
    say(s, "other parity: low's is used up towards this destination");
  else
    say(s, "other parity: low's was used up towards this destination, or the program set "
           "IP_LOCAL_PORT_RANGE, or bound the socket to port 0 before");
}

static void say_forbidden(struct sentence *s, const char *rule)
{
  say(s, "a sandbox (seccomp or Landlock) kept rule %s from offering a port", rule);
}

static void say_kernel(struct sentence *s, const struct record_event *e, const char *rule)
{
  if (e->unsteered == RECORD_EXHAUSTED)
    say(s, "the port set of rule %s was exhausted, and it leaves that to the kernel; ", rule);
  if (e->unsteered == RECORD_REUSE)
    say(s, "rule %s steers no UDP socket that shares its port; ", rule);
  if (e->unsteered == RECORD_OWN_RANGE)
    say(s, "rule %s leaves sockets with an IP_LOCAL_PORT_RANGE of their own; ", rule);
  if (e->unsteered == RECORD_FORBIDDEN) {
    say_forbidden(s, rule);
    say(s, "; ");
  }
  if (is_udp(e))
    say(s, "UDP: a random port, of either parity; with SO_REUSEADDR perhaps another socket's");
  else if (e->call == RECORD_BIND)
    say_bind(s, e);
  else if (e->call == RECORD_LISTEN)
    say(s, "listen() on a socket without a port: as bind(0)");
  else if (was_bound(e))
    say(s, "as bind(0) had chosen it");
  else
    say_parity(s, e);
}

/* The SYN meets the very socket that sent it, as in a simultaneous open (RFC 9293, 3.5). */
static void say_itself(struct sentence *s, const struct record_event *e)
{
  if (e->chosen_by == RECORD_KERNEL)
    say(s,
        "connected to itself: nobody listened on port %u, and the kernel chose that very port to "
        "leave from; net.ipv4.ip_local_reserved_ports=%u keeps it from that",
        e->local_port, e->local_port);
  else
    say(s, "connected to itself: the socket was bound to the port that it connected to");
}

static bool is_to_itself(const struct record_event *e)
{
  uint8_t peer[16];
  here_reached(e, peer);
  return e->transport == IPPROTO_TCP && e->call != RECORD_BIND && e->call != RECORD_LISTEN &&
         e->result != RECORD_FAILED && e->local_port && e->local_port == e->peer_port &&
         memcmp(e->local, peer, 16) == 0;
}

static void say_found(struct sentence *s, const struct record_event *e, const char *rule)
{
  if (is_to_itself(e))
    say_itself(s, e);
  else if (e->chosen_by == RECORD_POLICY)
    say_policy(s, e, rule);
  else if (e->chosen_by == RECORD_KERNEL)
    say_kernel(s, e, rule);
  else
    say(s, "the program named the port in bind()");
}

/* --- none was found -------------------------------------------------------------------------- */

static void say_exhausted(struct sentence *s, const struct record_event *e, const char *rule)
{
  if (!e->tries) {
    say(s,
        "rule %s had no port to offer: its set is empty here, or this machine has none of its "
        "local_addresses, which `berth check` of the policy tells; or all its ports rest, or are "
        "the destination's own",
        rule[0] ? rule : "?");
    return;
  }
  if (e->unsteered == RECORD_FORBIDDEN) {
    say_forbidden(s, rule);
    say(s, ": bind(2) to %u port%s was refused", e->tries, e->tries == 1 ? "" : "s");
    return;
  }
  say(s, "the port set of rule %s is exhausted: %u offer%s refused", rule[0] ? rule : "?", e->tries,
      e->tries == 1 ? " was" : "s were");
  if (e->refused_low && e->refused_low == e->refused_high) {
    say(s, ", the last because ");
    say_held(s, e->refused_low, is_udp(e));
  }
  say_right(s, e->refused_low);
}

/* That no port was found then is certain; what the range was then is not known. Returns whether the
 * ports that are used now may be the reason still. */
static bool say_how_full(struct sentence *s, const struct destination *d, const char *peer)
{
  const struct doctor_view *v = here();
  uint32_t size = doctor_range_size(v), used = d ? d->used : doctor_lost(v);
  char local[64];
  if (d && used >= size) {
    say(s, "%s %u port%s to %s from %s %s in use", size == 1 ? "the" : "all", size,
        size == 1 ? "" : "s", peer, name_of(local, d->local, 0), size == 1 ? "is" : "are");
    return true;
  }
  say(s, "no port to %s was found then; now %u of the %u of %u-%u are in use", peer, used, size,
      v->ports->low, v->ports->high);
  if (here_occupied() > used && here_occupied() * 2 >= size)
    say(s,
        ", %u have a socket or are reserved: a port that bind() to port 0 chose is taken towards "
        "every destination (`berth doctor %s`)",
        here_occupied(), peer);
  if (size % 2 && used + 1 == size)
    say(s, ", and of an odd number of ports each connect() leaves one of low's parity out");
  return d && used * 2 >= size;
}

static void say_full(struct sentence *s, const struct record_event *e)
{
  char peer[64];
  uint8_t reached[16];
  here_reached(e, reached);
  const struct doctor_view *v = here();
  const struct destination *d = here_destination(e->local, reached, e->peer_port);
  uint32_t count, pid;
  name_of(peer, reached, e->peer_port);
  if (!say_how_full(s, d, peer)) {
    say_unseen(s);
    return;
  }
  if (d->by_state[DIAG_TIME_WAIT])
    say(s, ", %u in TIME_WAIT", d->by_state[DIAG_TIME_WAIT]);
  if (doctor_lost(v))
    say(s, ", %s%u lost to listeners, binds and reservations", here_sees_bound() ? "" : "at least ",
        doctor_lost(v));
  if ((pid = here_main_holder(d, &count))) {
    say(s, ", %u held by ", count);
    say_program(s, pid);
  }
  say(s, "; use connections again, or another source address, or a wider range: berth doctor %s",
      peer);
}

static void say_taken(struct sentence *s, const struct record_event *e)
{
  char local[64], peer[64];
  const struct diag_socket *held = here_tuple(e);
  say(s, "the 4-tuple %s > %s is taken", name_of(local, e->local, e->local_port),
      name_of(peer, e->peer, e->peer_port));
  if (held)
    say_holder(s, held, false);
}

static bool has_address(const uint8_t address[16])
{
  struct ifaddrs *all, *i;
  bool found = false;
  if (getifaddrs(&all))
    return true; /* not known */
  for (i = all; i && !found; i = i->ifa_next) {
    const struct sockaddr_in *four = (const void *)i->ifa_addr;
    const struct sockaddr_in6 *six = (const void *)i->ifa_addr;
    if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && address_is_ipv4(address))
      found = memcmp(&four->sin_addr, address + 12, 4) == 0;
    else if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET6)
      found = memcmp(&six->sin6_addr, address, 16) == 0;
  }
  freeifaddrs(all);
  return found;
}

/* EADDRNOTAVAIL. */
static void say_not_available(struct sentence *s, const struct record_event *e, const char *rule)
{
  char address[64];
  const struct doctor_view *v = here();
  bool ipv6 = !address_is_ipv4(e->peer);
  if (e->call == RECORD_BIND && !has_address(e->peer))
    say(s, "%s is not an address of this namespace", name_of(address, e->peer, 0));
  else if (e->call == RECORD_BIND)
    say(s, "%s cannot be bound to", name_of(address, e->peer, 0));
  else if (ipv6 && v->settings.ipv6_off == 1)
    say(s, "no local address for %s (disable_ipv6=1): no port was searched",
        name_of(address, e->peer, 0));
  else if (e->chosen_by == RECORD_POLICY)
    say_exhausted(s, e, rule);
  else if (e->local_port)
    say_taken(s, e);
  else
    say_full(s, e);
}

/* EADDRINUSE; EAGAIN of UDP. */
static void say_in_use(struct sentence *s, const struct record_event *e, const char *rule)
{
  const struct doctor_view *v = here();
  uint16_t asked = e->call == RECORD_BIND ? e->peer_port : e->local_port;
  if (e->chosen_by == RECORD_POLICY)
    say_exhausted(s, e, rule);
  else if (asked)
    say_held(s, asked, is_udp(e));
  else if (e->transport != IPPROTO_TCP)
    say(s, "no port of %u-%u is free: UDP shares none", v->ports->low, v->ports->high);
  else {
    say(s, "no port of %u-%u was free for bind(0); of %u, %u have a socket now, or are reserved",
        v->ports->low, v->ports->high, doctor_range_size(v), here_occupied());
    say_unseen(s);
  }
}

/* --- all ------------------------------------------------------------------------------------- */

static bool is_shortage(const struct record_event *e)
{
  if (e->result != RECORD_FAILED)
    return false;
  return e->error == EADDRNOTAVAIL || e->error == EADDRINUSE ||
         (e->error == EAGAIN && is_udp(e) && !e->local_port);
}

/* bind() of a socket that is bound, as a rule. */
static bool had_port_before(const struct record_event *e)
{
  return e->result == RECORD_FAILED && (e->call == RECORD_BIND || e->call == RECORD_LISTEN) &&
         e->local_port;
}

const char *why(const struct record_event *e, const struct event_origin *origin)
{
  static struct sentence s;
  char rule[RECORD_RULE_NAME + 1];
  struct text name = {rule, rule, rule + sizeof rule, false};
  uint64_t net = own_namespace("net");
  text_name(&name, origin->rule, RECORD_RULE_NAME); /* it may be any bytes */
  text_end(&name);
  s.size = 0;
  s.text[0] = '\0';
  remember_bind(e);
  if (!net || origin->process->net_namespace != net)
    say(&s, "of another network namespace: not judged here");
  else if (!here())
    say(&s, "the sockets of this namespace cannot be seen");
  else if (is_shortage(e) && e->error == EADDRNOTAVAIL)
    say_not_available(&s, e, rule);
  else if (is_shortage(e))
    say_in_use(&s, e, rule);
  else if (e->result == RECORD_FAILED && e->unsteered == RECORD_FORBIDDEN)
    say_forbidden(&s, rule);
  else if (had_port_before(e))
    say(&s, "the socket had this port before: the call chose none");
  else if (e->local_port || (e->call == RECORD_BIND && e->result != RECORD_FAILED))
    say_found(&s, e, rule);
  return s.text;
}

const char *why_shortage(const struct record_event *e, const struct event_origin *origin)
{
  return is_shortage(e) ? why(e, origin) : "";
}
