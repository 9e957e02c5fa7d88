// SPDX-License-Identifier: MIT
#include "simulate/simulation.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "simulate/counts.h"

/* All that leaves from one source address to one destination; or, where a port is taken towards all
 * destinations at once, from one source address. */
struct pair {
  struct model_ports taken;
  uint32_t taken_count;
  uint32_t attempts;
  uint32_t *last_use; /* by port - low: the attempt of this pair that had it, from 1; 0: none */
};

/* A port that comes free. All connections live and wait equally long: first taken, first free. */
struct release {
  double time;
  struct flow flow;
  struct pair *pair;
  uint16_t port;
};

struct machine {
  const struct workload *w;
  const struct simulation_observer *observer;
  struct chooser chooser;
  struct pair *pairs;
  uint32_t pair_count;
  struct release *releases; /* in the order of time; a ring of as many as can be held at once */
  uint32_t released, released_until, room;
  struct counts looks, reuses;
};

static void look(void *data, uint16_t port, bool usable)
{
  const struct simulation_observer *observer = data;
  observer->look(observer->data, port, usable);
}

static uint32_t range_size(const struct workload *w)
{
  return (uint32_t)w->high - w->low + 1;
}

/* --- memory ---------------------------------------------------------------------------------- */

static bool begin(struct machine *m, const struct algorithm *a)
{
  const struct workload *w = m->w;
  m->pair_count = w->sources * (a->to_all ? 1 : w->destinations);
  m->pairs = calloc(m->pair_count, sizeof *m->pairs);
  uint64_t most = (uint64_t)m->pair_count * range_size(w);
  m->room = most < w->connections ? (uint32_t)most : w->connections;
  m->releases = isinf(w->lifetime) ? NULL : calloc(m->room, sizeof *m->releases);
  bool enough = chooser_begin(&m->chooser, a, w->seed) && m->pairs &&
                (isinf(w->lifetime) || m->releases) && counts_begin(&m->looks) &&
                counts_begin(&m->reuses);
  for (uint32_t i = 0; enough && i < m->pair_count; i++)
    enough = (m->pairs[i].last_use = calloc(range_size(w), sizeof(uint32_t)));
  if (enough && w->hint)
    chooser_remember(&m->chooser, *w->hint);
  return enough;
}

static void end(struct machine *m)
{
  for (uint32_t i = 0; m->pairs && i < m->pair_count; i++)
    free(m->pairs[i].last_use);
  free(m->pairs);
  free(m->releases);
  counts_end(&m->looks);
  counts_end(&m->reuses);
  chooser_end(&m->chooser);
}

/* --- connections come and go ----------------------------------------------------------------- */

static void release_until(struct machine *m, double now)
{
  for (; m->released < m->released_until; m->released++) {
    struct release *r = &m->releases[m->released % m->room];
    if (r->time > now)
      return;
    model_ports_remove(&r->pair->taken, r->port);
    r->pair->taken_count--;
    if (m->observer->release)
      m->observer->release(m->observer->data, &r->flow, r->port);
  }
}

/* How long a connection keeps its port from others to the same destination. */
static double holds(const struct workload *w)
{
  return w->lifetime + (w->client_closes ? fmin(w->time_wait, w->time_wait_reuse) : 0);
}

static void take(struct machine *m, struct pair *p, const struct attempt *a,
                 struct simulation_result *r)
{
  uint16_t port = a->choice.port;
  uint32_t *last = &p->last_use[port - m->w->low];
  r->successes++;
  r->low_parity += port % 2 == m->w->low % 2;
  if (*last) {
    r->reuses++;
    counts_add(&m->reuses, p->attempts - *last);
  }
  *last = p->attempts;
  model_ports_add(&p->taken, port);
  if (++p->taken_count > r->most_taken)
    r->most_taken = p->taken_count;
  if (m->releases)
    m->releases[m->released_until++ % m->room] = (struct release){a->time + holds(m->w), a->flow, p,
                                                                  port};
}

/* The i-th source address is 10.0.0.1 + i, the i-th destination 192.0.2.1:443 + i. */
static struct flow flow_of(const struct workload *w, uint32_t number)
{
  uint32_t source = number % w->sources, destination = number / w->sources % w->destinations;
  return (struct flow){htonl(0x0a000001 + source), htonl(0xc0000201 + destination), 443};
}

static struct pair *pair_of(struct machine *m, uint32_t number)
{
  return &m->pairs[number % m->pair_count];
}

static bool is_watched(const struct simulation_observer *o, uint32_t number)
{
  return o->look && (!o->looked || *o->looked == number);
}

static void attempt(struct machine *m, uint32_t number, struct simulation_result *r)
{
  const struct workload *w = m->w;
  struct attempt a = {
      .number = number, .time = w->rate > 0 ? number / w->rate : 0, .flow = flow_of(w, number)};
  struct pair *p = pair_of(m, number);
  release_until(m, a.time);
  a.taken = p->taken_count;
  a.offset = w->offset ? *w->offset : chooser_hash(&m->chooser, &a.flow, a.time);
  struct model_call call = {.low = w->low,
                            .high = w->high,
                            .own_range = w->own_range,
                            .reuse = w->reuse,
                            .step_width = w->step_width,
                            .mask = w->udp_slots - 1,
                            .held = &w->held,
                            .taken = &p->taken,
                            .offset = a.offset,
                            .look = is_watched(m->observer, number) ? look : NULL,
                            .look_data = (void *)(uintptr_t)m->observer};
  chooser_choose(&m->chooser, &call, &a.choice);
  p->attempts++;
  counts_add(&m->looks, a.choice.looked_at);
  if (a.choice.port)
    take(m, p, &a, r);
  else if (!r->failures++)
    r->first_failure = number;
  if (m->observer->attempt)
    m->observer->attempt(m->observer->data, &a);
}

int simulate(const struct workload *w, const struct algorithm *a,
             const struct simulation_observer *observer, struct simulation_result *result)
{
  struct machine m = {.w = w, .observer = observer};
  *result = (struct simulation_result){0};
  bool enough = begin(&m, a);
  for (uint32_t i = 0; enough && i < w->connections; i++)
    attempt(&m, i, result);
  if (enough) {
    result->looks_mean = counts_mean(&m.looks);
    result->looks_p50 = counts_percentile(&m.looks, 50);
    result->looks_p99 = counts_percentile(&m.looks, 99);
    result->looks_most = counts_percentile(&m.looks, 100);
    result->reuse_least = counts_percentile(&m.reuses, 0);
    result->reuse_p50 = counts_percentile(&m.reuses, 50);
  }
  end(&m);
  return enough ? 0 : ENOMEM;
}
