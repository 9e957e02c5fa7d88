// SPDX-License-Identifier: MIT
//
// Ports of the range that no connect() can have, wherever to.
#include <stdio.h>
#include <stdlib.h>

#include "doctor/finding.h"

#define NAMED 5

/* The first few ports that are held so, as "40000, 40001 and 12 more". */
static void name_ports(const struct doctor_view *v, enum port_hold hold, char *text, size_t size)
{
  uint32_t named = 0;
  size_t at = 0;
  for (uint32_t port = v->ports->low; port <= v->ports->high && named < NAMED; port++)
    if (v->holds[port] == hold)
      at += (size_t)snprintf(text + at, size - at, "%s%u", named++ ? ", " : "", port);
  if (v->held[hold] > named)
    snprintf(text + at, size - at, " and %u more", v->held[hold] - named);
}

/* Reserving a port gives none back: it is a remedy only for who comes later. */
static char *remedy_of(const struct doctor_view *v, enum port_hold hold)
{
  uint32_t low = v->ports->low, high = v->ports->high;
  switch (hold) {
  case HOLD_LISTENER:
    return finding_text("let servers listen outside %u-%u; of one that cannot, "
                        "net.ipv4.ip_local_reserved_ports keeps the port while it does not run",
                        low, high);
  case HOLD_BOUND:
    return finding_text("close what is bound and not used; bind to ports outside %u-%u", low, high);
  default:
    return finding_text("let the programs that name their ports name some outside %u-%u, or none",
                        low, high);
  }
}

static void held(struct findings *f, const struct doctor_view *v, enum port_hold hold,
                 const char *code, const char *what)
{
  uint32_t count = v->held[hold], size = doctor_range_size(v);
  char ports[128];
  name_ports(v, hold, ports, sizeof ports);
  findings_add(
      f,
      (struct finding){
          .severity = count * 10 >= size ? WARNING : NOTE,
          .weight = 10 + count,
          .code = code,
          .figure = finding_text("%u port%s of the range %s: %s", count, count == 1 ? "" : "s",
                                 what, ports),
          .cause = "A port that a listener or a bind() owns, on whatever address, is passed by in "
                   "every connect() that leaves the choice to the kernel.",
          .remedy = remedy_of(v, hold),
          .source = "__inet_hash_connect(): a bucket whose fastreuse is not -1"});
}

static void reserved(struct findings *f, const struct doctor_view *v)
{
  uint32_t count = v->held[HOLD_RESERVED], size = doctor_range_size(v);
  char ports[128];
  name_ports(v, HOLD_RESERVED, ports, sizeof ports);
  findings_add(f,
               (struct finding){
                   .severity = count * 10 >= size ? WARNING : NOTE,
                   .weight = count,
                   .code = "reserved-ports",
                   .figure = finding_text("%u of %u ports of the range are reserved: %s", count,
                                          size, ports),
                   .cause = "The kernel chooses none of ip_local_reserved_ports; after a long row "
                            "of them the next port is chosen more often than others.",
                   .remedy = finding_text("reserve only what servers use, or widen the range"),
                   .source = "ip(7): ip_local_reserved_ports"});
}

void find_holds(struct findings *f, const struct examination *e)
{
  const struct doctor_view *v = e->view;
  if (v->held[HOLD_LISTENER])
    held(f, v, HOLD_LISTENER, "listeners-in-range",
         v->held[HOLD_LISTENER] == 1 ? "is listened on" : "are listened on");
  if (v->held[HOLD_BOUND])
    held(f, v, HOLD_BOUND, "bound-in-range",
         v->held[HOLD_BOUND] == 1 ? "is bound and not connected" : "are bound and not connected");
  if (v->held[HOLD_EXPLICIT])
    held(f, v, HOLD_EXPLICIT, "explicit-in-range",
         v->held[HOLD_EXPLICIT] == 1 ? "was named in bind()" : "were named in bind()");
  if (v->held[HOLD_RESERVED])
    reserved(f, v);
}
