// SPDX-License-Identifier: MIT
//
// Destinations towards which ports run short, or are found slowly.
#include <inttypes.h>

#include "doctor/finding.h"

/* The kernel looks at a port in about 28 ns (Linux 6.18). */
#define LOOK_NS 28

/* From where on a range is proposed: most services have their ports below. */
#define BELOW 10240

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

static void nearly_full(struct findings *f, const struct examination *e,
                        const struct destination *d)
{
  const struct doctor_view *v = e->view;
  struct names n = names_of(d);
  uint32_t size = doctor_range_size(v);
  bool full = d->used >= size, below = v->ports->low > BELOW;
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
                                 below ? "; widen net.ipv4.ip_local_port_range; or let berth use "
                                         "the ports below the range:"
                                       : "; or let the server listen on more ports or addresses"),
          .policy = !below ? NULL
                           : finding_text(
                                 "{\"version\": 1, \"rules\": [{\"name\": \"more-ports\", "
                                 "\"match\": {\"to\": \"%s\"}, \"local_ports\": \"%d-65535\"}]}",
                                 n.peer, BELOW),
          .source = "connect(2): EADDRNOTAVAIL; ip(7): ip_local_port_range"});
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
  for (uint32_t i = 0; i < e->destinations->count; i++) {
    const struct destination *d = &e->destinations->list[i];
    double percent = destination_percent(d, e->view);
    if (destination_is_short(d, e->view, e->threshold))
      nearly_full(f, e, d);
    if (!d->free_low && !d->back_low && d->free_other && doctor_range_size(e->view) >= 64)
      slow(f, e, d);
    if (percent >= 25 && d->by_state[DIAG_TIME_WAIT] > d->sockets / 2)
      time_wait(f, e, d);
  }
}
