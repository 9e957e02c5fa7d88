// SPDX-License-Identifier: MIT
//
// The range itself: its size, its parity, where it begins.
#include <inttypes.h>

#include "doctor/finding.h"

#define SMALL 1024

static void small(struct findings *f, const struct doctor_view *v)
{
  uint32_t size = doctor_range_size(v);
  findings_add(f,
               (struct finding){
                   .severity = WARNING,
                   .weight = SMALL - size,
                   .code = "small-range",
                   .figure = finding_text("the range %u-%u has %u port%s", v->ports->low,
                                          v->ports->high, size, size == 1 ? "" : "s"),
                   .cause = "It is the number of connections that can leave from one address to "
                            "one destination.",
                   .remedy = finding_text("sysctl -w net.ipv4.ip_local_port_range='32768 60999', "
                                          "which is what Linux begins with"),
                   .source = "ip(7): ip_local_port_range"});
}

static void odd(struct findings *f, const struct doctor_view *v)
{
  findings_add(
      f,
      (struct finding){
          .severity = NOTE,
          .weight = 1,
          .code = "odd-range",
          .figure = finding_text("the range %u-%u has an odd number of ports, %u", v->ports->low,
                                 v->ports->high, doctor_range_size(v)),
          .cause = "Each connect() leaves one port of low's parity out, so that the last free one "
                   "may not be found.",
          .remedy = finding_text("sysctl -w net.ipv4.ip_local_port_range='%u %u'", v->ports->low,
                                 v->ports->high - 1),
          .source = "07f4c90062f8 (4.2): low and high of different parity are better"});
}

static void privileged(struct findings *f, const struct doctor_view *v)
{
  findings_add(f,
               (struct finding){
                   .severity = NOTE,
                   .weight = 2,
                   .code = "privileged-ports",
                   .figure = finding_text("the range begins at %u, and ports below %" PRId64
                                          " are privileged",
                                          v->ports->low, v->settings.unprivileged_start),
                   .cause = "A connection may leave from a port that servers ask privileges for.",
                   .remedy = finding_text("begin the range at %" PRId64 " or above",
                                          v->settings.unprivileged_start),
                   .source = "ip(7): ip_unprivileged_port_start"});
}

void find_range(struct findings *f, const struct examination *e)
{
  const struct doctor_view *v = e->view;
  uint32_t size = doctor_range_size(v);
  if (size < SMALL)
    small(f, v);
  if (size % 2 && size > 1)
    odd(f, v);
  if (v->ports->low < v->settings.unprivileged_start)
    privileged(f, v);
}
