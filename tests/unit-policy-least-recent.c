// SPDX-License-Identifier: MIT
//
// policy/order_least_recent.c: compared with a list that is kept in order of use.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/order.h"
#include "tests/policy-order.h"

static uint32_t call(struct orders *o, uint32_t size)
{
  return one_call(POLICY_LEAST_RECENT, o, size, 0);
}

static void unused_ports_go_up(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  for (uint32_t i = 0; i < 3 * 1000; i++)
    assert_int_equal(call(o, 1000), i % 1000);
  orders_free(o);
}

static void a_closed_port_was_used_until_then(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  for (uint32_t i = 0; i < 5; i++)
    assert_int_equal(call(o, 5), i);
  order_release(&o->state, 0);
  order_release(&o->state, 2);
  order_release(&o->state, 65535);
  order_release(&o->state, UINT32_MAX);
  static const uint32_t then[] = {1, 3, 4, 0, 2};
  for (int i = 0; i < 5; i++)
    assert_int_equal(call(o, 5), then[i]);
  orders_free(o);
}

static void what_the_kernel_picked_is_used(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  struct order_walk w;
  walk_begin(&w, POLICY_LEAST_RECENT, o, 5, 0);
  order_settle(&w, 1);
  order_settle(&w, 5); /* none of it */
  assert_int_equal(call(o, 5), 0);
  assert_int_equal(call(o, 5), 2);
  orders_free(o);
}

/* Oldest first. */
static uint32_t list[3000];

static void is_used(uint32_t size, uint32_t number)
{
  uint32_t at = 0;
  while (list[at] != number)
    at++;
  memmove(list + at, list + at + 1, (size - 1 - at) * sizeof *list);
  list[size - 1] = number;
}

/* Calls that are refused a few times, closes in any order: the same as the list says. */
static void agrees_with_a_list(uint32_t size, uint32_t clock)
{
  struct orders *o = orders_new();
  uint64_t random = size;
  atomic_store(&o->words.clock, clock);
  for (uint32_t i = 0; i < ORDER_STAMPS; i++)
    atomic_store(&o->stamps.used[i], clock);
  for (uint32_t i = 0; i < ORDER_BLOCKS; i++)
    atomic_store(&o->stamps.least[i], clock);
  for (uint32_t i = 0; i < size; i++)
    list[i] = i;
  for (int i = 0; i < 5000; i++) {
    struct order_walk w;
    uint32_t index, tries = 1 + (uint32_t)some_random(&random) % 50;
    walk_begin(&w, POLICY_LEAST_RECENT, o, size, 0);
    for (uint32_t t = 0; t < tries && order_next(&w, &index); t++) {
      assert_int_equal(index, list[0]);
      is_used(size, index);
    }
    for (uint32_t t = 0; t < 20; t++) {
      index = (uint32_t)some_random(&random) % size;
      order_release(&o->state, index);
      is_used(size, index);
    }
  }
  orders_free(o);
}

static void the_oldest_comes_first(void **state)
{
  (void)state;
  agrees_with_a_list(100, 0);
  agrees_with_a_list(3000, 0);
}

static void so_it_does_as_the_clock_wraps(void **state)
{
  (void)state;
  agrees_with_a_list(257, UINT32_MAX - 50000);
  agrees_with_a_list(2000, UINT32_C(0x80000000) - 50000);
}

/* Another call, a close, or a page of nonsense between any two candidates of a walk. */
static void others_cannot_change_what_a_walk_covers(void **state)
{
  (void)state;
  static const uint32_t sizes[] = {1, 2, 3, 8, 100, 300, 3000};
  static uint8_t seen[65536];
  struct orders *o = orders_new();
  uint64_t random = 9;
  for (int round = 0; round < 40; round++)
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      struct order_walk w;
      uint32_t index, before = (uint32_t)some_random(&random) % sizes[i];
      memset(seen, 0, sizeof seen);
      walk_begin(&w, POLICY_LEAST_RECENT, o, sizes[i], 0);
      for (uint32_t n = 0; n < before && order_next(&w, &index); n++) {
        assert_false(seen[index]);
        seen[index] = 1;
        uint64_t draw = some_random(&random);
        if (draw % 3)
          call(o, sizes[i]);
        order_release(&o->state, (uint32_t)(draw >> 8) % sizes[i]);
        if (round % 4 == 0)
          atomic_store(&o->stamps.used[(draw >> 16) % sizes[i]], (uint32_t)(draw >> 32));
        if (round % 4 == 1)
          atomic_store(&o->stamps.least[(draw >> 16) % ORDER_BLOCKS], (uint32_t)(draw >> 32));
      }
      walk_out(&w, sizes[i], seen);
    }
  orders_free(o);
}

static void calls_at_once_share_nothing(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  calls_at_once(POLICY_LEAST_RECENT, o, 5000, 4, 1000);
  given_at_most(o, 5000, 1);
  orders_free(o);
}

/* Within one round of a set that each call goes on in, a number more cannot come twice. */
static void calls_at_once_take_turns(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  calls_at_once(POLICY_LEAST_RECENT, o, 1000, 4, 1000);
  uint32_t all = 0;
  for (uint32_t i = 0; i < 1000; i++)
    all += atomic_load(&o->given[i]);
  assert_int_equal(all, 4000);
  given_at_most(o, 1000, 5);
  orders_free(o);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(unused_ports_go_up),
      cmocka_unit_test(a_closed_port_was_used_until_then),
      cmocka_unit_test(what_the_kernel_picked_is_used),
      cmocka_unit_test(the_oldest_comes_first),
      cmocka_unit_test(so_it_does_as_the_clock_wraps),
      cmocka_unit_test(others_cannot_change_what_a_walk_covers),
      cmocka_unit_test(calls_at_once_share_nothing),
      cmocka_unit_test(calls_at_once_take_turns),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
