// SPDX-License-Identifier: MIT
//
// policy/order*.c: what holds for all orders, and what each of RFC 6056's does across calls.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/order.h"
#include "tests/policy-order.h"

static const uint32_t sizes[] = {1, 2, 3, 5, 7, 8, 100, 257, 28232, 65535};
#define SIZES (sizeof sizes / sizeof *sizes)

static uint8_t seen[65536];

static void fill(struct orders *o, uint32_t with, uint32_t step)
{
  atomic_store(&o->words.next, with);
  atomic_store(&o->words.clock, with);
  for (int i = 0; i < ORDER_TABLE_SIZE; i++)
    atomic_store(&o->table.entries[i], with);
  for (uint32_t i = 0; i < ORDER_STAMPS; i++)
    atomic_store(&o->stamps.used[i], with + i * step);
  for (uint32_t i = 0; i < ORDER_BLOCKS; i++)
    atomic_store(&o->stamps.least[i], with + i * step);
}

static void a_walk_gives_each_number_once(void **state)
{
  (void)state;
  static const uint32_t values[][2] = {
      {0, 0}, {1, 0}, {UINT32_MAX, 0}, {UINT32_MAX - 3, 1}, {0x80000000, 0}, {77, 0x9e3779b9}};
  struct orders *o = orders_new();
  uint64_t random = 1;
  for (size_t v = 0; v < sizeof values / sizeof *values; v++)
    for (int order = 0; order < POLICY_ORDERS; order++)
      for (size_t i = 0; i < SIZES; i++) {
        struct order_walk w;
        fill(o, values[v][0], values[v][1]);
        memset(seen, 0, sizeof seen);
        walk_begin(&w, (enum policy_order)order, o, sizes[i], some_random(&random));
        walk_out(&w, sizes[i], seen);
      }
  orders_free(o);
}

static void so_does_any_draw(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  uint64_t random = 2;
  for (int order = 0; order < POLICY_ORDERS; order++)
    for (uint32_t size = 1; size < 300; size += size < 20 ? 1 : 13)
      for (int i = 0; i < 20; i++) {
        struct order_walk w;
        memset(seen, 0, sizeof seen);
        walk_begin(&w, (enum policy_order)order, o, size, i ? some_random(&random) : UINT64_MAX);
        walk_out(&w, size, seen);
        order_settle(&w, (uint32_t)i % size);
      }
  orders_free(o);
}

static void an_empty_set_gives_nothing(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  for (int order = 0; order < POLICY_ORDERS; order++) {
    struct order_walk w;
    uint32_t index;
    walk_begin(&w, (enum policy_order)order, o, 0, 1);
    assert_false(order_next(&w, &index));
    order_settle(&w, 0);
  }
  orders_free(o);
}

static void without_its_memory_an_order_is_another(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  o->state.table = NULL;
  o->state.stamps = NULL;
  memset(seen, 0, sizeof seen);
  for (uint32_t i = 0; i < 5; i++)
    assert_int_equal(one_call(POLICY_LEAST_RECENT, o, 100, 1), i);
  order_release(&o->state, 3);
  struct order_walk w;
  walk_begin(&w, POLICY_DOUBLE_HASH, o, 100, 1);
  walk_out(&w, 100, seen);
  assert_int_equal(atomic_load(&o->words.next), 105);
  orders_free(o);
}

static void kernel_goes_on_from_what_was_given(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  struct order_walk w;
  for (uint32_t i = 0; i < 20; i++)
    assert_int_equal(one_call(POLICY_KERNEL, o, 8, i), i % 8);
  walk_begin(&w, POLICY_KERNEL, o, 8, 0);
  order_settle(&w, 6); /* picked in a window */
  assert_int_equal(one_call(POLICY_KERNEL, o, 8, 0), 7);
  orders_free(o);
}

/* Whether `counts` of what should be even are likely. Chi-square has the mean n - 1 and the variance
 * 2 (n - 1); six deviations do not happen, and the draws are the same in each run. */
static void are_even(const uint32_t *counts, uint32_t n)
{
  double total = 0, chi = 0, freedom = n - 1, off;
  for (uint32_t i = 0; i < n; i++)
    total += counts[i];
  for (uint32_t i = 0; i < n; i++)
    chi += (counts[i] - total / n) * (counts[i] - total / n) / (total / n);
  off = chi - freedom;
  if (off * off > 36 * 2 * freedom + 36 && n > 1) {
    printf("# chi-square %.1f of %u numbers\n", chi, n);
    fail();
  }
}

static uint32_t counts[28232];

static void first_candidates_are_even(enum policy_order order)
{
  struct orders *o = orders_new();
  uint64_t random = 3;
  for (size_t i = 0; i < SIZES && sizes[i] <= 28232; i++) {
    memset(counts, 0, sizeof counts);
    for (uint32_t n = 0; n < 20 * sizes[i] + 5000; n++) {
      if (order == POLICY_RANDOM_INCREMENT)
        atomic_store(&o->words.next, 0);
      counts[one_call(order, o, sizes[i], some_random(&random))]++;
    }
    are_even(counts, sizes[i]);
  }
  orders_free(o);
}

static void random_draws_evenly(void **state)
{
  (void)state;
  first_candidates_are_even(POLICY_RANDOM);
  first_candidates_are_even(POLICY_RANDOM_START);
  first_candidates_are_even(POLICY_RANDOM_INCREMENT);
}

/* Not only the first candidate: any pair of first and second, and first and last. */
static void random_draws_pairs_evenly(void **state)
{
  (void)state;
  static const uint32_t small[] = {2, 3, 4, 5, 6, 7, 8, 13, 33, 100};
  struct orders *o = orders_new();
  uint64_t random = 4;
  for (size_t i = 0; i < sizeof small / sizeof *small; i++)
    for (int last = 0; last < 2; last++) {
      uint32_t size = small[i], first, index;
      memset(counts, 0, sizeof counts);
      for (uint32_t n = 0; n < size * size * 30 + 1000; n++) {
        struct order_walk w;
        walk_begin(&w, POLICY_RANDOM, o, size, some_random(&random));
        order_next(&w, &first);
        order_next(&w, &index);
        while (last && order_next(&w, &index))
          ;
        counts[first * (size - 1) + index - (index > first)]++;
      }
      are_even(counts, size * (size - 1));
    }
  orders_free(o);
}

static void random_start_goes_up(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  struct order_walk w;
  uint32_t first, index;
  walk_begin(&w, POLICY_RANDOM_START, o, 100, 12345);
  order_next(&w, &first);
  for (uint32_t i = 1; order_next(&w, &index); i++)
    assert_int_equal(index, (first + i) % 100);
  walk_begin(&w, POLICY_RANDOM_START, o, 100, UINT64_MAX);
  order_next(&w, &first);
  assert_int_equal(first, 99);
  orders_free(o);
}

static uint32_t first_of_flow(enum policy_order order, struct orders *o, uint64_t flow,
                              uint64_t other_flow, uint32_t tries)
{
  struct order_input in = {.size = 100, .flow = flow, .other_flow = other_flow, .state = &o->state};
  struct order_walk w;
  uint32_t first, index;
  order_begin(&w, order, &in);
  order_next(&w, &first);
  for (uint32_t i = 1; i < tries; i++) {
    order_next(&w, &index);
    assert_int_equal(index, (first + i) % 100);
  }
  return first;
}

static void hash_shares_one_counter(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  assert_int_equal(first_of_flow(POLICY_HASH, o, 230, 0, 1), 30);
  assert_int_equal(first_of_flow(POLICY_HASH, o, 230, 0, 1), 31);
  assert_int_equal(first_of_flow(POLICY_HASH, o, UINT64_MAX - 15, 0, 3), 2); /* ...600 + 2 */
  assert_int_equal(first_of_flow(POLICY_HASH, o, 97, 0, 1), 2);
  assert_int_equal(atomic_load(&o->words.next), 6);
  orders_free(o);
}

static void double_hash_has_many(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  assert_int_equal(first_of_flow(POLICY_DOUBLE_HASH, o, 30, 7, 2), 30);
  assert_int_equal(first_of_flow(POLICY_DOUBLE_HASH, o, 30, 8, 1), 30);
  assert_int_equal(first_of_flow(POLICY_DOUBLE_HASH, o, 50, 7 + ORDER_TABLE_SIZE, 1), 52);
  assert_int_equal(first_of_flow(POLICY_DOUBLE_HASH, o, 30, 8, 1), 31);
  assert_int_equal(atomic_load(&o->words.next), 0);
  orders_free(o);
}

static void random_increments_are_1_to_500(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  uint32_t was = one_call(POLICY_RANDOM_INCREMENT, o, 28232, 1), least = 501, most = 0;
  uint64_t random = 5;
  for (int i = 0; i < 20000; i++) {
    uint32_t now = one_call(POLICY_RANDOM_INCREMENT, o, 28232, some_random(&random));
    uint32_t by = (now + 28232 - was) % 28232;
    least = by < least ? by : least;
    most = by > most ? by : most;
    was = now;
  }
  assert_int_equal(least, 1);
  assert_int_equal(most, 500);
  orders_free(o);
}

static void sequential_goes_on_after_what_was_given(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  struct order_walk w, v;
  uint32_t index;
  for (uint32_t i = 0; i < 15; i++)
    assert_int_equal(one_call(POLICY_SEQUENTIAL, o, 10, 0), i % 10);
  walk_begin(&w, POLICY_SEQUENTIAL, o, 10, 0);
  for (int i = 0; i < 7; i++)
    order_next(&w, &index);
  assert_int_equal(index, 1);
  order_settle(&w, index);
  assert_int_equal(one_call(POLICY_SEQUENTIAL, o, 10, 0), 2);
  walk_begin(&w, POLICY_SEQUENTIAL, o, 10, 0); /* two at once */
  walk_begin(&v, POLICY_SEQUENTIAL, o, 10, 0);
  order_next(&v, &index);
  order_settle(&v, index);
  assert_int_equal(index, 4);
  order_next(&w, &index);
  order_settle(&w, index);
  assert_int_equal(index, 3);
  assert_int_equal(one_call(POLICY_SEQUENTIAL, o, 10, 0), 5);
  orders_free(o);
}

static void sequential_calls_at_once_share_nothing(void **state)
{
  (void)state;
  struct orders *o = orders_new();
  calls_at_once(POLICY_SEQUENTIAL, o, 5000, 4, 1000);
  given_at_most(o, 5000, 1);
  orders_free(o);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_walk_gives_each_number_once),
      cmocka_unit_test(so_does_any_draw),
      cmocka_unit_test(an_empty_set_gives_nothing),
      cmocka_unit_test(without_its_memory_an_order_is_another),
      cmocka_unit_test(kernel_goes_on_from_what_was_given),
      cmocka_unit_test(random_draws_evenly),
      cmocka_unit_test(random_draws_pairs_evenly),
      cmocka_unit_test(random_start_goes_up),
      cmocka_unit_test(hash_shares_one_counter),
      cmocka_unit_test(double_hash_has_many),
      cmocka_unit_test(random_increments_are_1_to_500),
      cmocka_unit_test(sequential_goes_on_after_what_was_given),
      cmocka_unit_test(sequential_calls_at_once_share_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
