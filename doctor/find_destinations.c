// SPDX-License-Identifier: MIT
//
// Destinations towards which ports run short, or are found slowly.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doctor/finding.h"

/* The kernel looks at a port in about 28 ns (Linux 6.18). */
#define LOOK_NS 28

/* From where on ports are proposed: most services have theirs below. */
#define BELOW 10240

static uint32_t first_proposed(const struct doctor_view *v)
{
  int64_t start = v->settings.unprivileged_start;
  return start > BELOW ? (uint32_t)start : BELOW;
}

/* What a rule may be given: a policy takes reserved ports too where they are named, and a client on the
 * port of a server is in its way. */
static bool is_proposed(const struct doctor_view *v, uint32_t port)
{
  return v->holds[port] != HOLD_RESERVED && v->holds[port] != HOLD_LISTENER;
}

/* Whether that is more than the range. */
static bool proposes_more(const struct doctor_view *v)
{
  for (uint32_t port = first_proposed(v); port < 65536; port++)
    if (is_proposed(v, port) && (port < v->ports->low || port > v->ports->high))
      return true;
  return false;
}

/* `"local_ports": "10240-65535", "except": ["10240-10250", "11000"]`, of this namespace; NULL where
 * that would be no port more, or without memory. */
static char *proposed_ports(const struct doctor_view *v)
{
  char *text = NULL;
  size_t size;
  uint32_t first = first_proposed(v);
  const char *between = ", \"except\": [";
  FILE *out = proposes_more(v) ? open_memstream(&text, &size) : NULL;
  if (!out)
    return NULL;
  fprintf(out, "\"local_ports\": \"%u-65535\"", first);
  for (uint32_t port = first, end; port < 65536; port = end + 1) {
    for (end = port; end < 65536 && !is_proposed(v, end); end++)
      ;
    if (end == port)
      continue;
    fprintf(out, end - port > 1 ? "%s\"%u-%u\"" : "%s\"%u\"", between, port, end - 1);
    between = ", ";
  }
  fputs(between[2] ? "" : "]", out);
  if (fclose(out) == 0)
    return text;
  free(text);
  return NULL;
}

struct names {
  char peer[DESTINATION_TEXT], local[DESTINATION_TEXT];
};

static struct names names_of(const struct destination *d)
{
  struct names n;
  destination_peer(d, n.peer);
  destination_local(d, n.local);
  return n;
}

/* `ports`: proposed for a rule, or NULL. */
static void nearly_full(struct findings *f, const struct examination *e,
                        const struct destination *d, const char *ports)
{
  const struct doctor_view *v = e->view;
  struct names n = names_of(d);
  uint32_t size = doctor_range_size(v);
  bool full = d->used >= size;
  findings_add(
      f,
      (struct finding){
          .severity = FAILURE,
          .weight = d->used,
          .code = full ? "destination-full" : "destination-nearly-full",
          .figure = finding_text("%s from %s: %u of %u ports are used or lost, at most %u are "
                                 "free",
                                 n.peer, n.local, d->used, size, size - d->used),
          .cause = "A connection is known by its addresses and ports: from one address to one "
                   "destination there are as many as the range has ports, those in TIME_WAIT "
                   "included.",
          .remedy = finding_text("keep connections open and use them again; connect from another "
                                 "address too%s",
                                 ports ? "; widen net.ipv4.ip_local_port_range; or let berth use "
                                         "ports outside the range too:"
                                       : "; or let the server listen on more ports or addresses"),
          .policy = !ports ? NULL
                           : finding_text("{\"version\": 1, \"rules\": [{\"name\": \"more-ports\", "
                                          "\"match\": {\"to\": \"%s\"}, %s}]}",
                                          n.peer, ports),
          .source = "connect(2): EADDRNOTAVAIL; ip(7): ip_local_port_range"});
}

/* The ports from which a connection is one with its own peer, which is its destination's. */
static uint32_t count_itself(const struct doctor_view *v, const struct destination *d)
{
  uint32_t count = 0;
  for (uint32_t i = 0; i < v->sockets.count; i++) {
    const struct diag_socket *s = &v->sockets.sockets[i];
    count += destination_is_itself(s) && s->state != DIAG_TIME_WAIT &&
             s->peer_port == d->peer_port && memcmp(s->peer, d->peer, 16) == 0;
  }
  return count;
}

static void itself(struct findings *f, const struct examination *e, const struct destination *d)
{
  struct names n = names_of(d);
  if (memcmp(d->local, d->peer, 16) != 0 || !count_itself(e->view, d))
    return;
  findings_add(
      f,
      (struct finding){
          .severity = WARNING,
          .weight = 5,
          .code = "self-connection",
          .figure = finding_text("%s is connected to itself, and nobody listens there", n.peer),
          .cause = "A connect() to a port of the range on which nobody listens may leave from that "
                   "very port, and then meets itself: the program reads what it wrote, and the "
                   "server cannot listen.",
          .remedy = finding_text("end that connection; sysctl -w "
                                 "net.ipv4.ip_local_reserved_ports=%u, beside those that are "
                                 "reserved, keeps the kernel from choosing the port",
                                 d->peer_port),
          .source = "RFC 9293, 3.5: simultaneous open; ip(7): ip_local_reserved_ports"});
}

static void slow(struct findings *f, const struct examination *e, const struct destination *d)
{
  struct names n = names_of(d);
  uint32_t scan = destination_scan(d, e->view);
  findings_add(
      f, (struct finding){
             .severity = WARNING,
             .weight = scan,
             .code = "low-parity-used-up",
             .figure = finding_text("%s from %s: no port of the parity of %u is free, %u of the "
                                    "other; each connect() looks at about %u ports (%u us)",
                                    n.peer, n.local, e->view->ports->low, d->free_other, scan,
                                    scan * LOOK_NS / 1000),
             .cause = "connect() goes over all ports of low's parity before it looks at the other, "
                      "and begins anew with each call.",
             .remedy = finding_text("let berth offer the ports, which it does without parities:"),
             .policy = finding_text("{\"version\": 1, \"rules\": [{\"name\": \"no-parity\", "
                                    "\"match\": {\"to\": \"%s\"}, \"order\": \"kernel\"}]}",
                                    n.peer),
             .source = "1580ab63fc9a (4.6), 207184853dbd (6.8)"});
}

static void time_wait(struct findings *f, const struct examination *e, const struct destination *d)
{
  const struct doctor_view *v = e->view;
  struct names n = names_of(d);
  bool reused = destination_reuses(d, v);
  findings_add(
      f,
      (struct finding){
          .severity = WARNING,
          .weight = d->by_state[DIAG_TIME_WAIT],
          .code = "time-wait",
          .figure = finding_text("%s from %s: %u of %u used ports are in TIME_WAIT", n.peer,
                                 n.local, d->by_state[DIAG_TIME_WAIT], d->used),
          .cause = "Who closes a connection first keeps its port for 60 seconds; no sysctl "
                   "shortens that.",
          .remedy = reused ? finding_text("tcp_tw_reuse is set already, and may give %u of them "
                                          "back: keep connections open, or let the server close "
                                          "first",
                                          d->back_low + d->back_other)
                           : finding_text("keep connections open, let the server close first, or "
                                          "sysctl -w net.ipv4.tcp_tw_reuse=1, which gives back %u "
                                          "at most (what the peer's timestamps say is not shown)",
                                          d->reusable),
          .source = "tcp(7), RFC 6191; TCP_TIMEWAIT_LEN"});
}

void find_destinations(struct findings *f, const struct examination *e)
{
  char *ports = proposed_ports(e->view);
  for (uint32_t i = 0; i < e->destinations->count; i++) {
    const struct destination *d = &e->destinations->list[i];
    double percent = destination_percent(d, e->view);
    if (destination_is_short(d, e->view, e->threshold))
      nearly_full(f, e, d, ports);
    itself(f, e, d);
    if (!d->free_low && !d->back_low && d->free_other && doctor_range_size(e->view) >= 64)
      slow(f, e, d);
    if (percent >= 25 && d->by_state[DIAG_TIME_WAIT] > d->sockets / 2)
      time_wait(f, e, d);
  }
  free(ports);
}
