// SPDX-License-Identifier: MIT
#include <jansson.h>
#include <math.h>

#include "cli/json.h"
#include "cli/simulate.h"

static uint32_t usable_ports(const struct workload *w)
{
  uint32_t count = 0;
  for (uint32_t port = w->low; port <= w->high; port++)
    count += !model_ports_has(&w->held, (uint16_t)port);
  return count;
}

static const char *plural(uint32_t count)
{
  return count == 1 ? "" : "s";
}

void print_workload(const struct workload *w)
{
  uint32_t usable = usable_ports(w), size = (uint32_t)w->high - w->low + 1;
  printf("ports %u-%u: %u", w->low, w->high, size);
  if (usable != size)
    printf(", %u of them reserved or held", size - usable);
  if (w->own_range)
    printf(" (IP_LOCAL_PORT_RANGE)");
  printf("; %u source%s, %u destination%s\n", w->sources, plural(w->sources), w->destinations,
         plural(w->destinations));
  printf("%u connection%s", w->connections, plural(w->connections));
  if (w->rate > 0)
    printf(", %g a second", w->rate);
  else
    printf(" at once");
  if (isinf(w->lifetime))
    printf(", none closed\n");
  else if (!w->client_closes)
    printf(", each open for %g s and closed by the server\n", w->lifetime);
  else if (w->time_wait_reuse < w->time_wait)
    printf(", each open for %g s and in TIME_WAIT for %g s, of which connect() waits for %g s\n",
           w->lifetime, w->time_wait, w->time_wait_reuse);
  else
    printf(", each open for %g s and in TIME_WAIT for %g s\n", w->lifetime, w->time_wait);
}

void print_attempt(void *unused, const struct attempt *a)
{
  (void)unused;
  printf("%u %u %u\n", a->number + 1, a->choice.port, a->choice.looked_at);
}

void print_attempt_json(void *algorithm, const struct attempt *a)
{
  json_print(stdout,
             json_pack("{s:s, s:i, s:i, s:i}", "algorithm", algorithm_name(algorithm), "connection",
                       a->number + 1, "port", a->choice.port, "looked_at", a->choice.looked_at));
}

/* --- a table --------------------------------------------------------------------------------- */

void print_results_head(void)
{
  puts(
      "\n                                      ports looked at        time (us)      low's  used "
      "again after\n"
      "algorithm               ok   failed     mean    p99   most     mean      p99 parity    least "
      "   p50");
}

void print_result(const struct workload *w, const struct algorithm *a,
                  const struct simulation_result *r)
{
  double us = algorithm_look_ns(a) / 1000.0;
  printf("%-16s %9u %8u %8.1f %6u %6u %8.1f %8.1f %5.0f%%", algorithm_name(a), r->successes,
         r->failures, r->looks_mean, r->looks_p99, r->looks_most, r->looks_mean * us,
         r->looks_p99 * us, r->successes ? 100.0 * r->low_parity / r->successes : 0);
  if (r->reuses)
    printf(" %8u %6u\n", r->reuse_least, r->reuse_p50);
  else
    printf(" %8s %6s\n", "-", "-");
  if (r->failures)
    printf("%16s %s for the first time at connection %u%s\n", "", algorithm_error(a),
           r->first_failure + 1, w->rate > 0 ? "" : ", with none closed before");
}

/* --- JSON ------------------------------------------------------------------------------------ */

void print_result_json(const struct workload *w, const struct algorithm *a,
                       const struct simulation_result *r)
{
  json_t *o = json_pack(
      "{s:s, s:i, s:i, s:i, s:i, s:i, s:{s:f, s:i, s:i, s:i}, s:{s:f, s:f}, s:{s:i, s:i}, s:i}",
      "algorithm", algorithm_name(a), "version", 1, "connections", w->connections, "ok",
      r->successes, "failed", r->failures, "most_ports_taken", r->most_taken, "looked_at", "mean",
      r->looks_mean, "p50", r->looks_p50, "p99", r->looks_p99, "max", r->looks_most, "duration_ns",
      "mean", r->looks_mean * algorithm_look_ns(a), "p99",
      (double)r->looks_p99 * algorithm_look_ns(a), "parity", "low", r->low_parity, "other",
      r->successes - r->low_parity, "reuses", r->reuses);
  if (r->reuses)
    json_object_set_new(o, "reuse_distance",
                        json_pack("{s:i, s:i}", "min", r->reuse_least, "p50", r->reuse_p50));
  if (r->failures)
    json_object_set_new(o, "first_failure", json_integer(r->first_failure + 1));
  json_print(stdout, o);
}
