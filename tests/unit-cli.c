// SPDX-License-Identifier: MIT
//
// cli/: what the command makes of words: port lists, destinations, near misses, LD_PRELOAD.
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"
#include "cli/match.h"
#include "cli/preload.h"
#include "policy/nearest.h"

static struct record_event to(uint8_t a, uint8_t d, uint16_t port)
{
  struct record_event e = {.local_port = 40000,
                           .peer_port = port,
                           .peer = {[10] = 0xff, [11] = 0xff, [12] = a, [15] = d}};
  return e;
}

static bool peer_matches(const char *text, struct record_event e)
{
  struct event_match m = {0};
  const char *problem = NULL;
  assert_true(parse_peer(&m, text, &problem));
  return event_matches(&m, &e);
}

static void destinations(void **state)
{
  (void)state;
  assert_true(peer_matches("443", to(10, 1, 443)));
  assert_true(peer_matches(":443", to(10, 1, 443)));
  assert_true(peer_matches("*:443", to(10, 1, 443)));
  assert_false(peer_matches("443", to(10, 1, 444)));
  assert_true(peer_matches("10.0.0.1", to(10, 1, 9)));
  assert_false(peer_matches("10.0.0.1", to(10, 2, 9)));
  assert_true(peer_matches("10.0.0.0/8:1-9", to(10, 2, 9)));
  assert_false(peer_matches("10.0.0.0/8:1-8", to(10, 2, 9)));
  assert_false(peer_matches("12.0.0.0/7", to(11, 2, 9)));
  assert_true(peer_matches("10.0.0.0/7", to(11, 2, 9)));
  assert_true(peer_matches("0.0.0.0/0", to(11, 2, 9)));
  struct record_event six = {.peer = {0xfd, [15] = 1}, .peer_port = 9042};
  assert_true(peer_matches("[fd00::]/8:9042", six));
  assert_true(peer_matches("fd00::1", six));
  assert_false(peer_matches("[fd00::2]:9042", six));
  assert_false(peer_matches("10.0.0.0/8", six));
}

static void bad_destinations(void **state)
{
  (void)state;
  static const char *const bad[] = {"",        "x",         "10.0.0.0/33", "10.0.0:80",    "[::1",
                                    "::1/129", "10.0.0.1:", ":70000",      "10.0.0.1:9-8", "a:80"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct event_match m = {0};
    const char *problem = NULL;
    assert_false(parse_peer(&m, bad[i], &problem));
    assert_non_null(problem);
  }
}

static void a_listener_has_no_destination(void **state)
{
  (void)state;
  struct record_event e = to(10, 1, 443);
  e.call = RECORD_BIND;
  assert_false(peer_matches("443", e));
}

static void port_lists(void **state)
{
  (void)state;
  struct port_bits set = {{0}};
  const char *problem = NULL;
  assert_true(parse_ports(&set, "0,65535,100-102", &problem));
  assert_int_equal(set.bits[0], 1);
  assert_int_equal(set.bits[1], UINT64_C(7) << 36);
  assert_int_equal(set.bits[1023], UINT64_C(1) << 63);
  assert_false(parse_ports(&set, "1,,2", &problem));
  assert_false(parse_ports(&set, "1-", &problem));
  assert_false(parse_ports(&set, "-5", &problem));
  assert_false(parse_ports(&set, "65536", &problem));
  assert_false(parse_ports(&set, "99999999999999999999", &problem));
}

static const char *word(int i, const void *words)
{
  return ((const char *const *)words)[i];
}

static void the_nearest_word_is_named_if_it_is_near(void **state)
{
  (void)state;
  static const char *const words[] = {"run", "log", "stats", "env"};
  assert_string_equal(policy_nearest("lgo", word, 4, words), "log");
  assert_string_equal(policy_nearest("stat", word, 4, words), "stats");
  assert_string_equal(policy_nearest("rnu", word, 4, words), "run");
  assert_string_equal(policy_nearest("sta", word, 4, words), "stats");
  static const char *const unrelated[] = {"zzzzzz", "top", "start", "help", "tail", "s", "", "ls"};
  for (size_t i = 0; i < sizeof unrelated / sizeof *unrelated; i++)
    assert_null(policy_nearest(unrelated[i], word, 4, words));
  static const char *const alike[] = {"local-ports", "local-range"};
  assert_null(policy_nearest("local", word, 2, alike));
}

static void expect_preload(const char *existing, const char *want)
{
  char *value = preload_value(existing, "/l/libberth.so");
  assert_string_equal(value, want);
  free(value);
}

static void what_was_preloaded_stays(void **state)
{
  (void)state;
  expect_preload(NULL, "/l/libberth.so");
  expect_preload("", "/l/libberth.so");
  expect_preload("/a.so", "/l/libberth.so:/a.so");
  expect_preload("/a.so /b.so", "/l/libberth.so:/a.so:/b.so");
  expect_preload("/l/libberth.so", "/l/libberth.so");
  expect_preload("/a.so:/l/libberth.so", "/l/libberth.so:/a.so");
  expect_preload("/usr/lib/libasan.so.8:/a.so", "/usr/lib/libasan.so.8:/l/libberth.so:/a.so");
  expect_preload("/a.so  libtsan.so.2", "libtsan.so.2:/l/libberth.so:/a.so");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(destinations),
      cmocka_unit_test(bad_destinations),
      cmocka_unit_test(a_listener_has_no_destination),
      cmocka_unit_test(port_lists),
      cmocka_unit_test(the_nearest_word_is_named_if_it_is_near),
      cmocka_unit_test(what_was_preloaded_stays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
