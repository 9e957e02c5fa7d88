// SPDX-License-Identifier: MIT
//
// policy/taken.c: the maps of a pool, and their bits against the same asked one by one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/taken.h"

#define SECOND (TAKEN_AGE / 10)

static struct taken_pool pool;

static int forget(void **state)
{
  (void)state;
  memset(&pool, 0, sizeof pool);
  return 0;
}

static void finding_makes_nothing(void **state)
{
  (void)state;
  assert_null(taken_find(&pool, 7, SECOND));
  assert_null(taken_find(&pool, 0, SECOND));
  struct taken_map *map = taken_make(&pool, 7, SECOND);
  assert_non_null(map);
  assert_ptr_equal(taken_find(&pool, 7, SECOND), map);
  assert_ptr_equal(taken_make(&pool, 7, 2 * SECOND), map);
  assert_null(taken_find(&pool, 8, SECOND));
  assert_non_null(taken_make(&pool, 0, SECOND));
  assert_non_null(taken_find(&pool, 0, SECOND));
}

static void a_map_is_forgotten_in_time(void **state)
{
  (void)state;
  struct taken_map *map = taken_make(&pool, 7, SECOND);
  taken_fill(map, 0, 1000);
  assert_ptr_equal(taken_find(&pool, 7, 11 * SECOND), map);
  assert_ptr_equal(taken_find(&pool, 7, 0), map); /* a process that looked earlier */
  assert_null(taken_find(&pool, 7, 11 * SECOND + 1));
  assert_null(taken_find(&pool, 7, 2 * SECOND));
  map = taken_make(&pool, 7, 12 * SECOND);
  assert_int_equal(taken_free_count(map, TAKEN_NUMBERS), TAKEN_NUMBERS);
  atomic_store(&pool.born[map - pool.maps], UINT64_MAX); /* nonsense is not for ever */
  assert_null(taken_find(&pool, 7, 12 * SECOND));
}

static void the_oldest_gives_way(void **state)
{
  (void)state;
  for (uint64_t i = 1; i <= TAKEN_MAPS; i++)
    taken_set(taken_make(&pool, i, ((i + TAKEN_MAPS - 2) % TAKEN_MAPS + 4) * SECOND / 4), 5);
  struct taken_map *map = taken_make(&pool, 99, 6 * SECOND);
  assert_false(taken_test(map, 5));
  for (uint64_t i = 1; i <= TAKEN_MAPS; i++)
    assert_int_equal(taken_find(&pool, i, 6 * SECOND) == NULL, i == 2);
}

static void bits_tell_what_they_were(void **state)
{
  (void)state;
  struct taken_map *map = &pool.maps[0];
  assert_false(taken_set(map, 65535));
  assert_true(taken_set(map, 65535));
  assert_true(taken_test(map, 65535));
  assert_false(taken_test(map, 65534));
  taken_clear(map, 65535);
  assert_false(taken_set(map, 65535));
}

static void what_was_given_back_is_not_taken(void **state)
{
  (void)state;
  struct taken_map *map = taken_make(&pool, 7, SECOND);
  uint64_t before = taken_given_back(&pool);
  taken_refused(&pool, map, 100, 3, before);
  assert_true(taken_test(map, 100) && taken_test(map, 102));
  taken_give_back(&pool, 7, 101);
  assert_false(taken_test(map, 101));
  assert_true(taken_test(map, 100) && taken_test(map, 102));
  taken_give_back(&pool, 8, 100); /* of another destination */
  assert_true(taken_test(map, 100));
  taken_refused(&pool, map, 5, 1, before); /* asked before it was given back */
  assert_false(taken_test(map, 5));
  taken_refused(&pool, map, 5, 1, taken_given_back(&pool));
  assert_true(taken_test(map, 5));
}

static void a_window_may_begin_and_end_anywhere(void **state)
{
  (void)state;
  static const uint32_t windows[][2] = {{0, 64},     {0, 1},     {63, 2},    {10, 300},
                                        {64, 64},    {5, 0},     {65535, 1}, {65472, 64},
                                        {65500, 64}, {1, 65535}, {0, 65536}};
  for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
    uint32_t first = windows[i][0], end = first + windows[i][1];
    forget(NULL);
    taken_fill(&pool.maps[0], first, end - first);
    for (uint32_t n = 0; n < TAKEN_NUMBERS; n++)
      assert_int_equal(taken_test(&pool.maps[0], n), first <= n && n < end);
  }
}

/* As taken_next_window() is described: whole words, one after the other. */
static uint32_t slow_window(const struct taken_map *map, uint32_t size, uint32_t from)
{
  uint32_t words = (size + 63) / 64;
  for (uint32_t i = 0; i < words; i++) {
    uint32_t first = (from / 64 + i) % words * 64;
    for (uint32_t n = first; n < size && n < first + 64; n++)
      if (!taken_test(map, n))
        return first;
  }
  return size;
}

static void agrees_with_one_by_one(const struct taken_map *map, uint32_t size)
{
  uint32_t count = 0, width;
  for (uint32_t n = 0; n < size; n++)
    if (!taken_test(map, n))
      assert_int_equal(taken_nth_free(map, size, count++), n);
  assert_int_equal(taken_free_count(map, size), count);
  assert_int_equal(taken_nth_free(map, size, count), size);
  assert_int_equal(taken_nth_free(map, size, UINT32_MAX), size);
  for (uint32_t from = 0; from < size; from += 1 + from / 100) {
    uint32_t window = taken_next_window(map, size, from, &width);
    assert_int_equal(window, slow_window(map, size, from));
    if (window < size)
      assert_int_equal(width, size - window < 64 ? size - window : 64);
  }
}

static void any_size_agrees_with_one_by_one(void **state)
{
  (void)state;
  static const uint32_t sizes[] = {1, 2, 63, 64, 65, 127, 128, 129, 1000, 28232};
  struct taken_map *map = &pool.maps[0];
  srand(64);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    uint32_t size = sizes[i];
    forget(NULL);
    agrees_with_one_by_one(map, size);
    for (int n = 0; n < 10; n++) {
      taken_fill(map, (uint32_t)rand() % size, (uint32_t)rand() % 300);
      taken_set(map, (uint32_t)rand() % size);
    }
    agrees_with_one_by_one(map, size);
    taken_fill(map, 0, size);
    agrees_with_one_by_one(map, size);
    taken_clear(map, size - 1);
    agrees_with_one_by_one(map, size);
    taken_set(map, size - 1);
    taken_clear(map, 0);
    agrees_with_one_by_one(map, size);
  }
  uint32_t width;
  taken_fill(map, 0, TAKEN_NUMBERS);
  assert_int_equal(taken_next_window(map, TAKEN_NUMBERS, 3, &width), TAKEN_NUMBERS);
}

/* Of many processes that make maps at once, each gets one, and none is left with another's tag. */
static void maps_are_made_at_once(void **state)
{
  (void)state;
  struct taken_pool *shared = mmap(NULL, sizeof pool, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(shared != MAP_FAILED);
  for (uint64_t child = 1; child <= 4; child++) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid)
      continue;
    for (uint64_t i = 0; i < 2000; i++) {
      struct taken_map *map = taken_make(shared, child * 100 + i % 3, i * SECOND / 100);
      if (map && (map < shared->maps || map >= shared->maps + TAKEN_MAPS))
        _exit(1);
      if (map)
        taken_set(map, (uint32_t)i);
    }
    _exit(0);
  }
  for (int child = 0; child < 4; child++) {
    int status;
    assert_true(wait(&status) > 0);
    assert_int_equal(status, 0);
  }
  assert_non_null(taken_make(shared, 1, 100 * SECOND));
  munmap(shared, sizeof pool);
}

static void a_number_is_kept_for_one(void **state)
{
  (void)state;
  const uint32_t most = 4194303;
  assert_int_equal(taken_reserve(&pool, 7, 5, SECOND, most), 0);
  assert_int_equal(taken_reserve(&pool, 7, 5, SECOND, 100), most);
  assert_int_equal(taken_reserve(&pool, 8, 5, SECOND, 100), 0);
  taken_unreserve(&pool, 7, 5, 100); /* it is not its own */
  assert_int_equal(taken_reserve(&pool, 7, 5, SECOND, 100), most);
  taken_unreserve(&pool, 7, 5, most);
  assert_int_equal(taken_reserve(&pool, 7, 5, SECOND, 100), 0);
  assert_int_equal(taken_reserve(&pool, 7, 5, 2 * SECOND, 101), 100);
  assert_int_equal(taken_reserve(&pool, 7, 5, 4 * SECOND, 101), 0); /* not waited for any longer */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_number_is_kept_for_one, forget),
      cmocka_unit_test_setup(finding_makes_nothing, forget),
      cmocka_unit_test_setup(a_map_is_forgotten_in_time, forget),
      cmocka_unit_test_setup(the_oldest_gives_way, forget),
      cmocka_unit_test_setup(bits_tell_what_they_were, forget),
      cmocka_unit_test_setup(what_was_given_back_is_not_taken, forget),
      cmocka_unit_test_setup(a_window_may_begin_and_end_anywhere, forget),
      cmocka_unit_test_setup(any_size_agrees_with_one_by_one, forget),
      cmocka_unit_test_setup(maps_are_made_at_once, forget),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
