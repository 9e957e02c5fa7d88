// SPDX-License-Identifier: MIT
//
// What became of a call that a rule took.
#include <errno.h>

#include "steer/held.h"
#include "steer/observation.h"
#include "steer/range.h"

static bool offered(const struct claim *c, uint16_t port)
{
  return c->outcome == CLAIM_OFFERED && port >= c->offer.low && port <= c->offer.high;
}

/* Of a window, where a filter forbids to ask which port of it the kernel took. */
static bool has_hidden_port(const struct claim *c, const struct record_event *e)
{
  return c->outcome == CLAIM_OFFERED && e->forbidden && e->result != RECORD_FAILED;
}

uint16_t claim_certain_port(const struct claim *c)
{
  bool single = c->outcome == CLAIM_OFFERED && c->offer.low == c->offer.high;
  return single && (c->bound || c->via == RECORD_VIA_RANGE) ? c->offer.low : 0;
}

/* Of a call that got a port which it was not offered: whether the socket had it before, by a bind()
 * that no hook saw, through another descriptor, by another process or by a system call. Where not, the
 * kernel does not heed the range (inet_sk_get_local_port_range()): it is not what it was. */
static bool had_port(const struct claim *c)
{
  if (c->outcome != CLAIM_OFFERED || !c->offer.by_range)
    return c->had_port && !c->flow.binds;
  return range_is_heeded(c->offer.low, c->offer.high);
}

/* Until the descriptor is closed; which it is, where another thread was faster. */
static void hold(const struct observation *o, uint64_t held)
{
  if (observation_is_same(o))
    held_set(o->fd, held);
  else
    candidates_released(held);
}

/* Which rule gave the port by an earlier call: "" where nobody knows, as of a received socket. */
static const char *giver(const struct observation *o, bool in_set)
{
  const struct active_rule *rule = o->claim.rule;
  const char *name = candidates_giver(held_get(o->fd));
  return name ? name : in_set && rule->rule->steers ? rule->name : "";
}

const struct record_steering *claim_settle(struct observation *o, struct record_event *e,
                                           struct record_steering *s)
{
  struct claim *c = &o->claim;
  uint32_t index;
  uint16_t port = e->local_port;
  if (c->forbidden && !c->rule)
    claim_forbidden(c, e);
  if (!c->rule)
    return NULL;
  bool in_set = port && port_set_index(&c->rule->set, port, &index);
  bool given = in_set ? offered(c, port) : has_hidden_port(c, e);
  bool earlier = port && e->chosen_by == RECORD_POLICY && !given; /* by an earlier call */
  const char *chooser = earlier ? giver(o, in_set) : NULL;
  bool kept = in_set && chooser == c->rule->name;
  *s = (struct record_steering){.rule = c->rule->name};
  s->chooser = chooser == c->rule->name ? NULL : chooser;
  s->tries = c->tries;
  s->refused_low = c->refused.low;
  s->refused_high = c->refused.high;
  s->via = c->tries ? c->via : RECORD_VIA_NONE;
  s->unsteered = c->unsteered;
  if (c->outcome == CLAIM_FELL_BACK && !c->unsteered)
    s->unsteered = RECORD_EXHAUSTED;
  s->forbidden = c->unsteered == RECORD_FORBIDDEN;
  s->claimed = (given || kept) && e->error != EADDRNOTAVAIL; /* else it is stuck */
  s->exhausted = !s->forbidden && (c->outcome == CLAIM_EXHAUSTED || c->outcome == CLAIM_FELL_BACK);
  s->kernel = c->outcome == CLAIM_FELL_BACK;
  s->outside = c->rule->rule->steers && port && !in_set;
  s->stuck = c->stuck;
  if (given || c->outcome == CLAIM_EXHAUSTED)
    e->chosen_by = RECORD_POLICY;
  if (given && port)
    hold(o, candidates_granted(&c->candidates, port, c->bound));
  else if (port && e->chosen_by == RECORD_KERNEL && had_port(c))
    e->chosen_by = RECORD_PROGRAM;
  if (!given && (port || (e->error && e->error != EINTR))) /* else nobody knows */
    candidates_withdraw(&c->flow);
  return s;
}
