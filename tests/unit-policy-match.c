// SPDX-License-Identifier: MIT
//
// policy/match.c: globs as fnmatch(3) has them, and which rule takes a connection.
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/match.h"
#include "tests/policy-image.h"

static struct image image;

static void globs_are_fnmatchs(void **state)
{
  (void)state;
  static const struct {
    const char *pattern, *name;
    bool matches;
  } cases[] = {
      {"java", "java", true},
      {"java", "javac", false},
      {"cqlsh*", "cqlsh.py", true},
      {"*", "", true},
      {"", "", true},
      {"", "a", false},
      {"a?c", "abc", true},
      {"a?c", "ac", false},
      {"*a*b*c", "xxaxxbxxc", true},
      {"[a-c]x", "bx", true},
      {"[!a-c]x", "bx", false},
      {"[^a-c]x", "dx", true},
      {"[]x]", "]", true},
      {"[a-]", "-", true},
      {"[", "[", true},
      {"[ab", "[ab", true},
      {"\\*", "*", true},
      {"\\*", "x", false},
      {"[\\]]", "]", true},
      {"a\\", "a", false},
      {"a\\", "a\\", false},
      {"*/b", "a/c/b", true},
      {"[\x80-\xff]", "\xc3", true},
      {"*.[0-9]", "python3.9", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_int_equal(policy_glob(cases[i].pattern, cases[i].name), cases[i].matches);
}

static const char *some(char *to, const char *alphabet, int most)
{
  int length = rand() % (most + 1);
  for (int i = 0; i < length; i++)
    to[i] = alphabet[(size_t)rand() % strlen(alphabet)];
  to[length] = 0;
  return to;
}

/* Not those that end in '-': glibc refuses "[a-" as a range without an end, before it sees that
 * there is no ']' and the '[' is a plain character. */
static void a_million_globs_agree_with_fnmatch(void **state)
{
  (void)state;
  char pattern[16], name[16];
  srand(3);
  for (int i = 0; i < 1000000; i++) {
    some(pattern, "ab*?[]!-\\/", 9);
    some(name, "ab-]/[", 7);
    size_t length = strlen(pattern);
    if (length && pattern[length - 1] == '-')
      continue;
    if (policy_glob(pattern, name) == !fnmatch(pattern, name, 0))
      continue;
    print_message("# \"%s\" \"%s\"\n", pattern, name);
    fail();
  }
}

static void many_stars_take_no_time(void **state)
{
  (void)state;
  char pattern[201], name[256];
  for (int i = 0; i < 200; i += 2)
    memcpy(pattern + i, "*a", 2);
  memcpy(pattern + 200, "", 1);
  memset(name, 'a', 254);
  memcpy(name + 254, "b", 2);
  assert_false(policy_glob(pattern, name));
}

static void a_program_is_a_base_name(void **state)
{
  (void)state;
  struct policy_span none = {0}, some_programs = {0};
  image_begin(&image);
  assert_true(policy_names_program(&image.header, none, "", ""));
  assert_false(policy_binds_late(&image.header, "nginx", "nginx"));
  image_program(&image, &some_programs, "java");
  image_program(&image, &some_programs, "cqlsh*");
  assert_true(policy_names_program(&image.header, some_programs, "java", ""));
  assert_true(
      policy_names_program(&image.header, some_programs, "/opt/cqlsh.py", "/usr/bin/python"));
  assert_true(policy_names_program(&image.header, some_programs, "x", "/usr/bin/java"));
  assert_false(policy_names_program(&image.header, some_programs, "/opt/java/run", "/bin/sh"));
  assert_false(policy_names_program(&image.header, some_programs, "", ""));
  image_program(&image, &image.header.late_bind, "nginx");
  assert_true(policy_binds_late(&image.header, "nginx", ""));
  assert_false(policy_binds_late(&image.header, "java", ""));
}

static struct policy_connection to(const char *address, uint16_t port)
{
  struct policy_connection c = {.transport = POLICY_TCP, .port = port};
  image_address(c.address, address);
  return c;
}

static bool taken(const char *address, uint16_t port)
{
  struct policy_connection c = to(address, port);
  return policy_rule_takes(&image.header, image.rules, &c);
}

static void one_destination(const char *address, int prefix, uint16_t low, uint16_t high)
{
  image_begin(&image);
  image_rule(&image);
  image_to(&image, address, prefix, low, high);
}

static void ports_are_inclusive(void **state)
{
  (void)state;
  one_destination(NULL, 0, 9142, 9144);
  assert_false(taken("10.0.0.1", 9141));
  assert_true(taken("10.0.0.1", 9142));
  assert_true(taken("fd00::1", 9144));
  assert_false(taken("fd00::1", 9145));
  one_destination(NULL, 0, 0, 65535);
  assert_true(taken("10.0.0.1", 0));
  assert_true(taken("::", 65535));
}

static void families_are_kept_apart(void **state)
{
  (void)state;
  one_destination("::", 0, 0, 65535); /* [::]/0 */
  assert_true(taken("fd00::1", 1));
  assert_false(taken("10.0.0.1", 1));
  one_destination("0.0.0.0", 96, 0, 65535);
  assert_false(taken("fd00::1", 1));
  assert_false(taken("::1", 1));
  assert_true(taken("10.0.0.1", 1));
}

/* Each prefix length: the address differs in the last bit that counts, and in the first that does
 * not. */
static void prefixes_are_exact(void **state)
{
  (void)state;
  for (int prefix = 1; prefix <= 128; prefix++) {
    one_destination("::", prefix, 0, 65535);
    struct policy_connection c = to("::", 1);
    assert_true(policy_rule_takes(&image.header, image.rules, &c));
    c.address[(prefix - 1) / 8] ^= (uint8_t)(0x80 >> (prefix - 1) % 8);
    assert_false(policy_rule_takes(&image.header, image.rules, &c));
    if (prefix == 128)
      break;
    c = to("::", 1);
    c.address[prefix / 8] ^= (uint8_t)(0x80 >> prefix % 8);
    assert_true(policy_rule_takes(&image.header, image.rules, &c));
  }
  one_destination("10.0.0.0", 96 + 8, 9042, 9042);
  assert_true(taken("10.255.0.1", 9042));
  assert_false(taken("11.0.0.1", 9042));
  assert_false(taken("::a00:1", 9042)); /* not a v4-mapped one */
}

static void the_first_rule_wins(void **state)
{
  (void)state;
  static const uint32_t all[] = {0, 1, 2, 3}, last[] = {2, 3};
  image_begin(&image);
  image_rule(&image)->transports = POLICY_UDP;
  image_rule(&image);
  image_to(&image, "10.0.0.0", 104, 0, 65535);
  image_to(&image, "fd00::", 8, 0, 65535);
  image_rule(&image);
  image_to(&image, "10.1.0.0", 112, 0, 65535);
  image_to(&image, "11.0.0.0", 104, 80, 80);
  image_rule(&image)->transports = POLICY_TCP;
  struct policy_connection c = to("10.1.0.1", 80);
  assert_int_equal(policy_match(&image.header, all, 4, &c), 1);
  assert_int_equal(policy_match(&image.header, last, 2, &c), 2);
  assert_int_equal(policy_match(&image.header, all, 1, &c), POLICY_NO_RULE);
  assert_int_equal(policy_match(&image.header, all, 0, &c), POLICY_NO_RULE);
  c = to("fd01::", 1);
  assert_int_equal(policy_match(&image.header, all, 4, &c), 1);
  c = to("11.0.0.1", 80);
  assert_int_equal(policy_match(&image.header, all, 4, &c), 2);
  c = to("11.0.0.1", 81);
  assert_int_equal(policy_match(&image.header, all, 4, &c), 3);
  c.transport = POLICY_UDP;
  assert_int_equal(policy_match(&image.header, all, 4, &c), 0);
}

static void a_bind_skips_rules_with_destinations(void **state)
{
  (void)state;
  static const uint32_t all[] = {0, 1, 2};
  image_begin(&image);
  image_rule(&image);
  image_to(&image, NULL, 0, 0, 65535);
  image_rule(&image)->transports = POLICY_UDP;
  image_rule(&image);
  assert_int_equal(policy_match_bind(&image.header, all, 3, POLICY_TCP), 2);
  assert_int_equal(policy_match_bind(&image.header, all, 3, POLICY_UDP), 1);
  assert_int_equal(policy_match_bind(&image.header, all, 2, POLICY_TCP), POLICY_NO_RULE);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(globs_are_fnmatchs),
      cmocka_unit_test(a_million_globs_agree_with_fnmatch),
      cmocka_unit_test(many_stars_take_no_time),
      cmocka_unit_test(a_program_is_a_base_name),
      cmocka_unit_test(ports_are_inclusive),
      cmocka_unit_test(families_are_kept_apart),
      cmocka_unit_test(prefixes_are_exact),
      cmocka_unit_test(the_first_rule_wins),
      cmocka_unit_test(a_bind_skips_rules_with_destinations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
