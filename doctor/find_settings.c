// SPDX-License-Identifier: MIT
//
// Settings that make connections fail without a port being short.
#include <inttypes.h>

#include "doctor/finding.h"

static void ipv6_off(struct findings *f)
{
  findings_add(f, (struct finding){
                      .severity = NOTE,
                      .weight = 3,
                      .code = "ipv6-off",
                      .figure = finding_text("IPv6 is switched off (disable_ipv6=1)"),
                      .cause = "connect() to an IPv6 address, ::1 too, fails with EADDRNOTAVAIL "
                               "though no port is short: no address was found to leave from.",
                      .remedy = finding_text("sysctl -w net.ipv6.conf.all.disable_ipv6=0, or names "
                                             "that resolve to IPv4 alone"),
                      .source = "Documentation/networking/ipv6.rst: disable"});
}

static void conntrack(struct findings *f, const struct doctor_settings *s)
{
  findings_add(f, (struct finding){
                      .severity = s->conntrack_count >= s->conntrack_max ? FAILURE : WARNING,
                      .weight = 4,
                      .code = "conntrack-full",
                      .figure = finding_text("conntrack has %" PRId64 " of %" PRId64 " entries",
                                             s->conntrack_count, s->conntrack_max),
                      .cause = "A full table drops the packets of new connections: connect() waits "
                               "and then fails with ETIMEDOUT.",
                      .remedy = finding_text("raise net.netfilter.nf_conntrack_max"),
                      .source = "Documentation/networking/nf_conntrack-sysctl.rst"});
}

void find_settings(struct findings *f, const struct examination *e)
{
  const struct doctor_settings *s = &e->view->settings;
  if (s->ipv6_off == 1)
    ipv6_off(f);
  if (s->conntrack_max > 0 && s->conntrack_count * 10 >= s->conntrack_max * 9)
    conntrack(f, s);
}
