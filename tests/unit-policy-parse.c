// SPDX-License-Identifier: MIT
//
// policy/: JSON to an image and its fields; images that must be refused, whatever their checksum.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/destination_text.h"
#include "policy/image.h"
#include "policy/parse.h"
#include "policy/plain.h"
#include "policy/ports_text.h"

/* The example of the manual: every key. */
static const char example[] =
    "{\"version\": 1, \"rules\": ["
    "{\"name\": \"shard-3\", \"description\": \"port % 8 is the shard\","
    " \"match\": {\"transport\": \"tcp\", \"program\": [\"java\", \"cqlsh*\"],"
    " \"to\": [\"10.0.0.0/8:9042\", \"[fd00::]/8:9042\", \"*:9142-9144\"]},"
    " \"local_addresses\": [\"10.1.0.5\", \"fd00::5\", \"10.1.0.16/28\"],"
    " \"local_ports\": [\"49152-65535\", 40001, \"40000\"], \"except\": [\"50000-50010\"],"
    " \"mod\": {\"of\": 8, \"is\": 3}, \"order\": \"hash\", \"via\": \"bind\", \"tries\": 64,"
    " \"rest\": 120, \"exhausted\": \"kernel\"},"
    "{\"match\": {\"to\": \"127.0.0.0/8\"}}],"
    " \"late_bind\": [\"envoy\"]}";

static policy_image *parse(const char *json, size_t *size)
{
  struct policy_problems problems;
  policy_image *image = policy_parse(json, strlen(json), size, &problems);
  for (size_t i = 0; i < problems.count; i++)
    print_error("%s\n", problems.lines[i]);
  policy_problems_free(&problems);
  assert_non_null(image);
  assert_null(policy_image_problem(image, *size));
  return image;
}

static void every_key_is_in_the_image(void **state)
{
  (void)state;
  size_t size;
  policy_image *p = parse(example, &size);
  assert_int_equal(policy_rule_count(p), 2);
  const struct policy_rule *r = policy_rule(p, 0);
  assert_string_equal(policy_string(p, r->name), "shard-3");
  assert_int_equal(r->transports, POLICY_TCP);
  assert_int_equal(r->programs.count, 2);
  assert_string_equal(policy_program(p, r->programs.first), "java");
  assert_string_equal(policy_program(p, r->programs.first + 1), "cqlsh*");
  assert_int_equal(r->mod_of, 8);
  assert_int_equal(r->mod_is, 3);
  assert_int_equal(r->order, POLICY_HASH);
  assert_int_equal(r->via, POLICY_BIND);
  assert_int_equal(r->exhausted, POLICY_LEAVE);
  assert_int_equal(r->tries, 64);
  assert_int_equal(r->rest, 120);
  assert_int_equal(r->steers, 1);
  assert_int_equal(p->late_bind.count, 1);
  assert_string_equal(policy_program(p, p->late_bind.first), "envoy");
  free(p);
}

static void a_rule_without_keys_steers_nothing(void **state)
{
  (void)state;
  size_t size;
  policy_image *p = parse(example, &size);
  const struct policy_rule *r = policy_rule(p, 1);
  assert_string_equal(policy_string(p, r->name), "rule-2");
  assert_int_equal(r->steers, 0);
  assert_int_equal(r->transports, POLICY_TCP | POLICY_UDP);
  assert_int_equal(r->order, POLICY_RANDOM);
  assert_int_equal(r->mod_of, 1);
  assert_int_equal(r->programs.count + r->ports.count + r->ipv4.count, 0);
  assert_int_equal(r->destinations.count, 1);
  free(p);
}

static void any_steering_key_steers(void **state)
{
  (void)state;
  static const char *const keys[] = {"\"local_addresses\": \"10.0.0.1\"",
                                     "\"local_ports\": 1",
                                     "\"except\": [1]",
                                     "\"mod\": {\"of\": 1, \"is\": 0}",
                                     "\"order\": \"random\"",
                                     "\"via\": \"auto\"",
                                     "\"tries\": 1",
                                     "\"rest\": 0",
                                     "\"exhausted\": \"fail\""};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    char json[128];
    size_t size;
    snprintf(json, sizeof json, "{\"version\": 1, \"rules\": [{%s}]}", keys[i]);
    policy_image *p = parse(json, &size);
    assert_int_equal(policy_rule(p, 0)->steers, 1);
    free(p);
  }
}

static void ports_are_sorted_and_joined(void **state)
{
  (void)state;
  size_t size;
  policy_image *p = parse(example, &size);
  const struct policy_rule *r = policy_rule(p, 0);
  const struct policy_ports *ports = policy_ports(p) + r->ports.first;
  assert_int_equal(r->ports.count, 2);
  assert_int_equal(ports[0].low, 40000);
  assert_int_equal(ports[0].high, 40001);
  assert_int_equal(ports[1].low, 49152);
  assert_int_equal(ports[1].high, 65535);
  assert_int_equal(r->except.count, 1);
  assert_int_equal(policy_ports(p)[r->except.first].high, 50010);
  free(p);
}

static void addresses_are_counted_by_family(void **state)
{
  (void)state;
  size_t size;
  policy_image *p = parse(example, &size);
  const struct policy_rule *r = policy_rule(p, 0);
  const struct policy_address *four = policy_addresses(p) + r->ipv4.first;
  assert_int_equal(r->ipv4.count, 2);
  assert_int_equal(r->ipv6.count, 1);
  assert_int_equal(four[0].before, 0);
  assert_int_equal(four[0].count, 1);
  assert_int_equal(four[0].prefix, 128);
  assert_int_equal(four[1].before, 1);
  assert_int_equal(four[1].count, 16);
  assert_int_equal(four[1].prefix, 124);
  assert_int_equal(policy_addresses(p)[r->ipv6.first].address[0], 0xfd);
  free(p);
}

static struct policy_destination destination(const char *text)
{
  struct policy_destination d;
  char problem[256] = "";
  if (!policy_destination_parse(text, &d, problem, sizeof problem))
    fail_msg("%s", problem);
  return d;
}

static void destinations_know_their_families(void **state)
{
  (void)state;
  static const struct {
    const char *text, *again;
    int families, prefix, low, high;
  } known[] = {
      {"*", "*", 3, 0, 0, 65535},
      {"*:443", "*:443", 3, 0, 443, 443},
      {"0.0.0.0/0", "0.0.0.0/0", 1, 96, 0, 65535},
      {"[::]/0", "[::]/0", 2, 0, 0, 65535},
      {"::/0", "[::]/0", 2, 0, 0, 65535},
      {"10.0.0.0/8:9042", "10.0.0.0/8:9042", 1, 104, 9042, 9042},
      {"10.1.2.3:1-65535", "10.1.2.3:1-65535", 1, 128, 1, 65535},
      {"[FD00:0::]/8:9142-9144", "[fd00::]/8:9142-9144", 2, 8, 9142, 9144},
      {"[::ffff:10.0.0.0]/104:80", "10.0.0.0/8:80", 1, 104, 80, 80},
      {"::ffff:0:0/96", "0.0.0.0/0", 1, 96, 0, 65535},
      {"fd00::1:443", "[fd00::1:443]", 2, 128, 0, 65535}, /* an address, no port */
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    char text[DESTINATION_TEXT];
    struct policy_destination d = destination(known[i].text);
    policy_destination_text(&d, text);
    assert_string_equal(text, known[i].again);
    assert_int_equal(d.families, known[i].families);
    assert_int_equal(d.prefix, known[i].prefix);
    assert_int_equal(d.low, known[i].low);
    assert_int_equal(d.high, known[i].high);
  }
}

static void ports_left_are_those_that_one_counts(void **state)
{
  (void)state;
  srand(1);
  for (int round = 0; round < 300; round++) {
    struct policy_ports in[4], out[4];
    uint32_t of = 1 + (uint32_t)rand() % 5, is = (uint32_t)rand() % of, want = 0;
    bool set[64] = {false};
    for (int i = 0; i < 4; i++) {
      in[i].low = (uint16_t)(1 + rand() % 50);
      in[i].high = (uint16_t)(in[i].low + rand() % 10);
      out[i].low = (uint16_t)(1 + rand() % 50);
      out[i].high = (uint16_t)(out[i].low + rand() % 10);
    }
    for (int i = 0; i < 4; i++)
      for (int port = in[i].low; port <= in[i].high; port++)
        set[port] = true;
    for (int i = 0; i < 4; i++)
      for (int port = out[i].low; port <= out[i].high; port++)
        set[port] = false;
    for (uint32_t port = 0; port < 64; port++)
      want += set[port] && port % of == is;
    size_t n = policy_ports_join(in, 4), m = policy_ports_join(out, 4);
    assert_int_equal(policy_ports_left(in, n, out, m, of, is), want);
  }
  static const struct policy_ports all = {1, 65535}, last = {65535, 65535};
  assert_int_equal(policy_ports_left(&all, 1, &last, 1, 1, 0), 65534);
  assert_int_equal(policy_ports_left(&all, 1, &all, 1, 1, 0), 0);
}

static void plain_text_is_utf8_without_controls(void **state)
{
  (void)state;
  static const char *const bad[] = {"",         "\n",           "\x7f",         "\xc2\x9b",
                                    "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                    "\x80",     "\xff",         "\xe2\x82",     "\xf0\x9f\x98"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(policy_plain(bad[i]), 0);
  assert_int_equal(policy_plain("a"), 1);
  assert_int_equal(policy_plain("\xc2\xa0"), 2);
  assert_int_equal(policy_plain("\xe2\x82\xac"), 3);
  assert_int_equal(policy_plain("\xf0\x9f\x98\x80"), 4);
}

/* --- problems ------------------------------------------------------------------------------- */

static void expect_problem(const char *json, size_t size, const char *first, size_t count)
{
  struct policy_problems problems;
  size_t image_size;
  assert_null(policy_parse(json, size, &image_size, &problems));
  assert_int_equal(problems.count, count);
  assert_string_equal(problems.lines[0], first);
  policy_problems_free(&problems);
}

static void problems_are_many_but_not_endless(void **state)
{
  (void)state;
  char json[20000] = "{\"version\": 1, \"rules\": [{\"local_ports\": [0";
  for (int i = 1; i < 150; i++)
    strcat(json, ", 0");
  strcat(json, "]}]}");
  struct policy_problems problems;
  size_t size;
  assert_null(policy_parse(json, strlen(json), &size, &problems));
  assert_int_equal(problems.count, 101);
  assert_string_equal(problems.lines[100], " and 50 more");
  policy_problems_free(&problems);
}

static void a_text_that_is_no_policy_is_refused(void **state)
{
  (void)state;
  expect_problem("", 0, "1:1: '[' or '{' expected near end of file", 1);
  expect_problem("[]", 2, "1:1: a policy is an object, and this is a list", 1);
  expect_problem("{\"version\": 1, \"late_bind\": [\"a\xff\"]}", 36,
                 "1:31: unable to decode byte 0xff near '\"a'", 1);
  size_t size = POLICY_MAX_JSON + 1;
  char *spaces = malloc(size);
  memset(spaces, ' ', size);
  expect_problem(spaces, size, "1:1: more than the 4194304 bytes that a policy may have", 1);
  free(spaces);
}

static void a_pointer_is_escaped_and_shows_no_control(void **state)
{
  (void)state;
  static const char json[] = "{\"version\": 1, \"late_bind\": \"a\", \"a/b~c\\nddddddddddd\": 1}";
  expect_problem(json, strlen(json),
                 " /a~1b~0c?ddddddddddd: unknown key; here are known: version, rules, late_bind, "
                 "$schema",
                 1);
}

/* --- images --------------------------------------------------------------------------------- */

static void each_flipped_bit_is_found(void **state)
{
  (void)state;
  size_t size;
  policy_image *p = parse(example, &size);
  unsigned char *bytes = (unsigned char *)p;
  for (size_t bit = 0; bit < 8 * size; bit++) {
    bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    if (!policy_image_problem(bytes, size))
      fail_msg("bit %zu", bit);
    bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
  }
  assert_null(policy_image_problem(bytes, size));
  free(p);
}

/* The same, by somebody who makes the checksum good: it is refused, or holds all that was
 * promised, which a sanitizer or a crash would tell. */
static void each_byte_may_be_a_lie(void **state)
{
  (void)state;
  size_t size;
  policy_image *p = parse(example, &size);
  unsigned char *bytes = (unsigned char *)p;
  static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff};
  for (size_t at = 0; at < size; at++)
    for (size_t v = 0; v < sizeof values; v++) {
      unsigned char old = bytes[at];
      bytes[at] = values[v];
      p->checksum = policy_image_checksum(p, size);
      const char *problem = policy_image_problem(p, size);
      for (uint32_t i = 0; !problem && i < policy_rule_count(p); i++)
        assert_in_range(strlen(policy_string(p, policy_rule(p, i)->name)), 1, POLICY_MAX_NAME);
      bytes[at] = old;
    }
  free(p);
}

static void each_truncation_is_found(void **state)
{
  (void)state;
  size_t size;
  policy_image *p = parse(example, &size);
  for (size_t cut = 0; cut < size; cut++) {
    char *part = malloc(cut + 1); /* so that a sanitizer sees each byte too far */
    memcpy(part, p, cut);
    assert_non_null(policy_image_problem(part, cut));
    free(part);
  }
  free(p);
}

static void noise_is_refused(void **state)
{
  (void)state;
  const size_t size = 100u << 20;
  unsigned char *noise = malloc(size);
  for (size_t i = 0; i < size; i++)
    noise[i] = (unsigned char)(i * 2654435761u >> 13);
  assert_false(policy_is_image(noise, size));
  assert_string_equal(policy_image_problem(noise, size), "not a compiled policy");
  memcpy(noise, POLICY_MAGIC, POLICY_MAGIC_SIZE);
  assert_true(policy_is_image(noise, size));
  assert_string_equal(policy_image_problem(noise, size),
                      "larger than a compiled policy may be (16 MiB)");
  free(noise);
}

static void what_an_image_is_not_is_said(void **state)
{
  (void)state;
  size_t size;
  policy_image *p = parse(example, &size);
  p->magic[7] = '2';
  assert_non_null(strstr(policy_image_problem(p, size), "another version"));
  memcpy(p->magic, "berth001", 8);
  assert_non_null(strstr(policy_image_problem(p, size), "recording"));
  memcpy(p->magic, POLICY_MAGIC, 8);
  p->byte_order = 0x04030201;
  assert_non_null(strstr(policy_image_problem(p, size), "byte order"));
  p->byte_order = POLICY_BYTE_ORDER;
  assert_null(policy_image_problem(p, size));
  assert_non_null(strstr(policy_image_problem(p, size - 1), "cut short"));
  free(p);
}

/* One lie at a time, with a good checksum. */
#define REFUSED(what)                                                                              \
  do {                                                                                             \
    size_t size;                                                                                   \
    policy_image *p = parse(example, &size);                                                       \
    struct policy_rule *r = (struct policy_rule *)(void *)((char *)p + p->rules.offset);           \
    struct policy_destination *d = (void *)((char *)p + p->destinations.offset);                   \
    struct policy_address *a = (void *)((char *)p + p->addresses.offset);                          \
    struct policy_ports *ports = (void *)((char *)p + p->ports.offset);                            \
    uint32_t *programs = (void *)((char *)p + p->programs.offset);                                 \
    char *strings = (char *)p + p->strings.offset;                                                 \
    (void)r, (void)d, (void)a, (void)ports, (void)programs, (void)strings;                         \
    what;                                                                                          \
    p->checksum = policy_image_checksum(p, size);                                                  \
    if (!policy_image_problem(p, size))                                                            \
      fail_msg("%s", #what);                                                                       \
    free(p);                                                                                       \
  } while (0)

static void a_wrong_header_is_refused(void **state)
{
  (void)state;
  REFUSED(p->header_size = 80);
  REFUSED(p->size = UINT64_MAX);
  REFUSED(p->size -= 8);
  REFUSED(p->rules.count = 0);
  REFUSED(p->rules.count = UINT32_MAX);
  REFUSED(p->rules.offset = UINT32_MAX - 7);
  REFUSED(p->rules.offset += 8);
  REFUSED(p->rules.offset += 1);
  REFUSED(p->destinations.count++);
  REFUSED(p->addresses.count--);
  REFUSED(p->ports.offset = 0);
  REFUSED(p->programs.count = 0x40000000);
  REFUSED(p->strings.count--);
  REFUSED(p->strings.count++);
  REFUSED(p->strings.count = 0);
  REFUSED(p->late_bind.first = 0);
  REFUSED(p->late_bind.count = 2);
  REFUSED(p->late_bind.count = UINT32_MAX);
  REFUSED(p->late_bind.count = 0);
}

static void wrong_spans_are_refused(void **state)
{
  (void)state;
  REFUSED(r[0].programs.count++);
  REFUSED(r[0].programs.count = UINT32_MAX);
  REFUSED(r[0].programs.first = UINT32_MAX);
  REFUSED(r[0].destinations.first = 1);
  REFUSED(r[1].destinations.first = 0);
  REFUSED(r[1].destinations.count = 0xfffffffe);
  REFUSED(r[1].ports.first = 1);
  REFUSED(r[0].ipv4.count = 3);
  REFUSED(r[0].ipv6.count = 0);
  REFUSED(r[0].ports.count = 3);
  REFUSED(r[0].except.first = 0);
  REFUSED(r[0].name = 1);
  REFUSED(r[1].name = 0);
  REFUSED(r[1].name = UINT32_MAX);
  REFUSED(programs[0] = 0);
  REFUSED(programs[2] = p->strings.count);
}

static void wrong_values_are_refused(void **state)
{
  (void)state;
  REFUSED(r[0].tries = 65536);
  REFUSED(r[0].rest = POLICY_MAX_REST + 1);
  REFUSED(r[0].mod_of = 0);
  REFUSED(r[0].mod_is = 8);
  REFUSED(r[0].transports = 0);
  REFUSED(r[0].transports = 4);
  REFUSED(r[0].order = POLICY_ORDERS);
  REFUSED(r[0].via = POLICY_VIAS);
  REFUSED(r[0].exhausted = POLICY_EXHAUSTEDS);
  REFUSED(r[0].steers = 2);
  REFUSED(r[0].reserved[2] = 1);
  REFUSED(strings[0] = '\n');
  REFUSED(strings[0] = '\0');
  REFUSED(strings[0] = (char)0xff);
  REFUSED(strings[p->strings.count - 1] = 'x');
}

static void wrong_items_are_refused(void **state)
{
  (void)state;
  REFUSED(d[0].prefix = 129);
  REFUSED(d[0].prefix = 95);
  REFUSED(d[0].prefix = 102);
  REFUSED(d[0].address[15] = 1);
  REFUSED(d[0].families = 0);
  REFUSED(d[0].families = POLICY_IPV6);
  REFUSED(d[0].families = 3);
  REFUSED(d[0].low = 0);
  REFUSED(d[0].high = 1);
  REFUSED(d[0].reserved = 1);
  REFUSED(d[2].address[0] = 1);
  REFUSED(d[2].families = POLICY_IPV4);
  REFUSED(a[0].before = 1);
  REFUSED(a[1].before = 0);
  REFUSED(a[1].count = 17);
  REFUSED(a[1].prefix = 96);
  REFUSED(a[1].prefix = 255);
  REFUSED(a[0].reserved[0] = 1);
  REFUSED(a[2].address[0] = 0; a[2].address[10] = a[2].address[11] = 0xff);
  REFUSED(ports[0].low = 0);
  REFUSED(ports[0].high = 39999);
  REFUSED(ports[0].high = 49151);
  REFUSED(ports[1].low = 40001);
  REFUSED(ports[2].low = 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_key_is_in_the_image),
      cmocka_unit_test(a_rule_without_keys_steers_nothing),
      cmocka_unit_test(any_steering_key_steers),
      cmocka_unit_test(ports_are_sorted_and_joined),
      cmocka_unit_test(addresses_are_counted_by_family),
      cmocka_unit_test(destinations_know_their_families),
      cmocka_unit_test(ports_left_are_those_that_one_counts),
      cmocka_unit_test(plain_text_is_utf8_without_controls),
      cmocka_unit_test(problems_are_many_but_not_endless),
      cmocka_unit_test(a_text_that_is_no_policy_is_refused),
      cmocka_unit_test(a_pointer_is_escaped_and_shows_no_control),
      cmocka_unit_test(each_flipped_bit_is_found),
      cmocka_unit_test(each_byte_may_be_a_lie),
      cmocka_unit_test(each_truncation_is_found),
      cmocka_unit_test(noise_is_refused),
      cmocka_unit_test(what_an_image_is_not_is_said),
      cmocka_unit_test(a_wrong_header_is_refused),
      cmocka_unit_test(wrong_spans_are_refused),
      cmocka_unit_test(wrong_values_are_refused),
      cmocka_unit_test(wrong_items_are_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
