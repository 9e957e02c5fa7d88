// SPDX-License-Identifier: MIT
//
// policy/rest.c: a port rests as long as it should, whatever the clock does.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "policy/rest.h"
#include "policy/rule.h"

#define BUCKETS 4

static policy_u64 words[BUCKETS * REST_BUCKET];
static struct rest_table table = {.words = words, .buckets = BUCKETS};

static int forget(void **state)
{
  (void)state;
  memset(words, 0, sizeof words);
  return 0;
}

static uint64_t key_of(uint32_t tag, uint32_t bucket)
{
  return (uint64_t)tag << 32 | bucket;
}

static void a_port_rests_from_when_it_was_given(void **state)
{
  (void)state;
  const uint64_t key = UINT64_C(0x123456789abcdef0);
  assert_true(rest_is_over(&table, key, 1000, 120));
  rest_given(&table, key, 1000);
  assert_false(rest_is_over(&table, key, 1000, 120));
  assert_true(rest_is_over(&table, key, 1000, 0));
  assert_false(rest_is_over(&table, key, 1000 + 120 * 16, 120));
  assert_true(rest_is_over(&table, key, 1000 + 120 * 16 + 1, 120));
  assert_true(rest_is_over(&table, key + 1, 1000, 120));
  assert_true(rest_is_over(&table, key ^ UINT64_C(1) << 63, 1000, 120));
  rest_given(&table, key, 2000);
  assert_false(rest_is_over(&table, key, 2000 + 120 * 16, 120));
  assert_false(rest_is_over(&table, key, 2000 + POLICY_MAX_REST * 16, POLICY_MAX_REST));
  assert_true(rest_is_over(&table, key, 2001 + POLICY_MAX_REST * 16, POLICY_MAX_REST));
}

static void what_is_taken_rests_until_it_is_taken_back(void **state)
{
  (void)state;
  struct rest_entry e, other;
  rest_given(&table, 5, 1000);
  assert_false(rest_take(&table, 5, 1016, 2, &e));
  rest_take_back(&e); /* nothing was taken */
  assert_false(rest_is_over(&table, 5, 1016, 2));
  assert_true(rest_take(&table, 5, 2000, 2, &e));
  assert_false(rest_take(&table, 5, 2000, 2, &other));
  rest_take_back(&e);
  rest_take_back(&e);
  assert_true(rest_is_over(&table, 5, 2000, 2));
  assert_false(rest_is_over(&table, 5, 2000, 1000)); /* it was given at 1000 */
  assert_true(rest_take(&table, 5, 2000, 0, &e));
  rest_given(&table, 5, 3000);
  rest_take_back(&e); /* somebody gave it since */
  assert_false(rest_is_over(&table, 5, 3000, 1));
}

static void the_clock_may_wrap(void **state)
{
  (void)state;
  rest_given(&table, 5, UINT32_MAX - 7);
  assert_false(rest_is_over(&table, 5, 0, 1));
  assert_false(rest_is_over(&table, 5, 8, 1));
  assert_true(rest_is_over(&table, 5, 9, 1));
}

static void another_process_may_be_ahead(void **state)
{
  (void)state;
  rest_given(&table, 5, 1001);
  assert_false(rest_is_over(&table, 5, 1000, 1));
  assert_true(rest_is_over(&table, 5, 1000 - 16 * 3600, 1)); /* that is 8 years ago */
}

static void a_tag_of_zero_is_as_good(void **state)
{
  (void)state;
  rest_given(&table, 2, 0);
  assert_false(rest_is_over(&table, 2, 0, 1));
  assert_int_equal(words[0], 0);
}

static void the_oldest_gives_way(void **state)
{
  (void)state;
  for (uint32_t i = 1; i <= REST_BUCKET; i++)
    rest_given(&table, key_of(i, 3), UINT32_MAX - 4 + i);
  rest_given(&table, key_of(1, 3), 100); /* again: no place more */
  for (uint32_t i = 1; i <= REST_BUCKET; i++)
    assert_false(rest_is_over(&table, key_of(i, 3), 100, 60));
  rest_given(&table, key_of(9, 3), 101);
  for (uint32_t i = 1; i <= REST_BUCKET + 1; i++)
    assert_int_equal(rest_is_over(&table, key_of(i, 3), 101, 60), i == 2);
  for (int i = 0; i < 3 * REST_BUCKET; i++)
    assert_int_equal(words[i], 0); /* no other bucket */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_port_rests_from_when_it_was_given, forget),
      cmocka_unit_test_setup(what_is_taken_rests_until_it_is_taken_back, forget),
      cmocka_unit_test_setup(the_clock_may_wrap, forget),
      cmocka_unit_test_setup(another_process_may_be_ahead, forget),
      cmocka_unit_test_setup(a_tag_of_zero_is_as_good, forget),
      cmocka_unit_test_setup(the_oldest_gives_way, forget),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
