// SPDX-License-Identifier: MIT
//
// simulate/: each connection is a success or an error, no 4-tuple is held twice, and the seed
// decides all.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "simulate/counts.h"
#include "simulate/simulation.h"

#define MOST_FLOWS 64

/* Who holds what: a bit for each port, for each pair of addresses. */
struct ledger {
  struct flow flows[MOST_FLOWS];
  struct model_ports held[MOST_FLOWS];
  uint32_t count, held_now, most, ok, failed;
  uint64_t digest; /* of all ports in their order */
  const struct workload *w;
};

static uint32_t flow_number(struct ledger *l, const struct flow *f)
{
  uint32_t i = 0;
  while (i < l->count && memcmp(&l->flows[i], f, sizeof *f) != 0)
    i++;
  assert_true(i < MOST_FLOWS);
  if (i == l->count)
    l->flows[l->count++] = *f;
  return i;
}

static void on_attempt(void *data, const struct attempt *a)
{
  struct ledger *l = data;
  uint16_t port = a->choice.port;
  l->digest = l->digest * UINT64_C(6364136223846793005) + port;
  if (!port) {
    l->failed++;
    return;
  }
  uint32_t flow = flow_number(l, &a->flow);
  assert_false(model_ports_has(&l->held[flow], port));
  assert_false(model_ports_has(&l->w->held, port));
  assert_in_range(port, l->w->low, l->w->high);
  model_ports_add(&l->held[flow], port);
  l->ok++;
  if (++l->held_now > l->most)
    l->most = l->held_now;
}

static void on_release(void *data, const struct flow *f, uint16_t port)
{
  struct ledger *l = data;
  uint32_t flow = flow_number(l, f);
  assert_true(model_ports_has(&l->held[flow], port));
  model_ports_remove(&l->held[flow], port);
  l->held_now--;
}

static struct simulation_result run(const struct workload *w, const struct algorithm *a,
                                    struct ledger *l)
{
  struct simulation_result r;
  struct simulation_observer observer = {NULL, on_attempt, on_release, l, NULL};
  memset(l, 0, sizeof *l);
  l->w = w;
  assert_int_equal(simulate(w, a, &observer, &r), 0);
  return r;
}

static struct workload workload(void)
{
  return (struct workload){.connections = 3000,
                           .lifetime = INFINITY,
                           .destinations = 1,
                           .sources = 1,
                           .low = 40000,
                           .high = 40255,
                           .udp_slots = 16,
                           .client_closes = true,
                           .time_wait = 60,
                           .time_wait_reuse = INFINITY,
                           .seed = 7};
}

static void each_connection_is_a_success_or_an_error(void **state)
{
  (void)state;
  static struct ledger l;
  struct workload w = workload();
  w.rate = 20;
  w.lifetime = 2;
  w.sources = 2;
  w.destinations = 3;
  model_ports_add(&w.held, 40007);
  for (int i = 0; i < algorithm_count(); i++) {
    struct simulation_result r = run(&w, &algorithms[i], &l);
    assert_int_equal(r.successes + r.failures, w.connections);
    assert_int_equal(r.successes, l.ok);
    assert_int_equal(r.failures, l.failed);
  }
}

static void ports_run_out_where_the_range_ends(void **state)
{
  (void)state;
  static struct ledger l;
  struct workload w = workload();
  for (int i = 0; i < algorithm_count(); i++) {
    struct simulation_result r = run(&w, &algorithms[i], &l);
    assert_int_equal(r.successes, 256);
    assert_int_equal(r.first_failure, 256);
    assert_int_equal(r.most_taken, 256);
    assert_int_equal(r.low_parity, 128);
  }
}

static void the_4_tuple_gives_each_destination_the_range(void **state)
{
  (void)state;
  static struct ledger l;
  struct workload w = workload();
  w.destinations = 4;
  for (int i = 0; i < algorithm_count(); i++)
    assert_int_equal(run(&w, &algorithms[i], &l).successes, algorithms[i].to_all ? 256 : 1024);
}

static void time_wait_holds_a_port_until_it_is_over_or_reused(void **state)
{
  (void)state;
  static struct ledger l;
  const struct algorithm *a = algorithm_find("linux-6.8");
  struct workload w = workload();
  w.rate = 10;
  w.lifetime = 1;
  assert_int_equal(run(&w, a, &l).failures > 0, 1); /* 610 connections in the 61 seconds */
  w.time_wait_reuse = 1;
  assert_int_equal(run(&w, a, &l).failures, 0);
  assert_in_range(l.most, 20, 21);
  w.time_wait_reuse = INFINITY;
  w.client_closes = false;
  assert_int_equal(run(&w, a, &l).failures, 0);
  assert_in_range(l.most, 10, 11);
}

static void the_seed_decides(void **state)
{
  (void)state;
  static struct ledger l, again, other;
  struct workload w = workload(), v = workload();
  v.seed = 8;
  for (int i = 0; i < algorithm_count(); i++) {
    run(&w, &algorithms[i], &l);
    run(&w, &algorithms[i], &again);
    run(&v, &algorithms[i], &other);
    assert_true(l.digest == again.digest);
    if (algorithms[i].model || algorithms[i].order < POLICY_SEQUENTIAL)
      assert_true(l.digest != other.digest);
  }
}

static void once_low_parity_is_full_each_call_scans_it(void **state)
{
  (void)state;
  static struct ledger l;
  struct workload w = workload();
  w.connections = 192;
  struct simulation_result r = run(&w, algorithm_find("linux-6.8"), &l);
  assert_true(r.looks_p99 > 128);
  w.own_range = true;
  r = run(&w, algorithm_find("linux-6.8"), &l);
  assert_true(r.looks_p99 < 128);
}

static void counts_are_exact(void **state)
{
  (void)state;
  struct counts c;
  assert_true(counts_begin(&c));
  assert_int_equal(counts_percentile(&c, 50), 0);
  for (uint32_t i = 1; i <= 100; i++)
    counts_add(&c, i);
  assert_int_equal(counts_percentile(&c, 0), 1);
  assert_int_equal(counts_percentile(&c, 50), 50);
  assert_int_equal(counts_percentile(&c, 99), 99);
  assert_int_equal(counts_percentile(&c, 100), 100);
  assert_true(counts_mean(&c) == 50.5);
  counts_end(&c);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_connection_is_a_success_or_an_error),
      cmocka_unit_test(ports_run_out_where_the_range_ends),
      cmocka_unit_test(the_4_tuple_gives_each_destination_the_range),
      cmocka_unit_test(time_wait_holds_a_port_until_it_is_over_or_reused),
      cmocka_unit_test(the_seed_decides),
      cmocka_unit_test(once_low_parity_is_full_each_call_scans_it),
      cmocka_unit_test(counts_are_exact),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
