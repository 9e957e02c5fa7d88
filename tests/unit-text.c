// SPDX-License-Identifier: MIT
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "record/layout.h"
#include "record/text.h"

static void expect_address(const char *want, const char *scope)
{
  uint8_t address[16] = {[10] = 0xff, [11] = 0xff};
  char out[96];
  struct text t = TEXT_INIT(out);
  if (strchr(want, ':'))
    assert_int_equal(inet_pton(AF_INET6, want, address), 1);
  else
    assert_int_equal(inet_pton(AF_INET, want, address + 12), 1);
  text_address(&t, address, scope);
  assert_string_equal(text_end(&t), want);
}

static void addresses_follow_rfc_5952(void **state)
{
  (void)state;
  static const char *const written[] = {"127.0.0.1",
                                        "255.255.255.255",
                                        "::",
                                        "::1",
                                        "1::",
                                        "fe80::1",
                                        "2001:db8::1",
                                        "2001:db8:0:1:1:1:1:1",
                                        "2001:0:0:1::1",
                                        "2001:db8::1:0:0:1",
                                        "1:2:3:4:5:6:7:8",
                                        "0:1:2:3:4:5:6:7",
                                        "1:2:3:4:5:6:7:0",
                                        "::1.2.3.4",
                                        "::0.1.0.0",
                                        "::ffff:0:0:0"};
  for (size_t i = 0; i < sizeof written / sizeof *written; i++)
    expect_address(written[i], "");
}

/* Each combination of groups that are 0, 1 and 0xffff: but for v4-mapped ones, which are shown as
 * IPv4. */
static void addresses_are_written_as_by_inet_ntop(void **state)
{
  (void)state;
  for (unsigned n = 0; n < 6561; n++) { /* 3 to the 8th */
    uint8_t address[16] = {0};
    char want[INET6_ADDRSTRLEN], got[96];
    struct text t = TEXT_INIT(got);
    for (unsigned i = 0, rest = n; i < 8; i++, rest /= 3)
      address[2 * i] = address[2 * i + 1] = (uint8_t[]){0, 1, 0xff}[rest % 3];
    inet_ntop(AF_INET6, address, want, sizeof want);
    text_address(&t, address, "");
    assert_string_equal(text_end(&t), want + (address_is_ipv4(address) ? strlen("::ffff:") : 0));
  }
}

static void an_ipv6_scope_follows_a_percent_sign(void **state)
{
  (void)state;
  uint8_t address[16] = {0xfe, 0x80, [15] = 1};
  char out[96];
  struct text t = TEXT_INIT(out);
  text_address(&t, address, "eth0");
  assert_string_equal(text_end(&t), "fe80::1%eth0");
  t = (struct text)TEXT_INIT(out);
  text_address(&t, address, "e\x1b[2J\xff");
  assert_string_equal(text_end(&t), "fe80::1%e?[2J?");
}

static void a_name_stays_one_harmless_field(void **state)
{
  (void)state;
  static const char name[] = "a b\n\x1b[2J\x7f\xc2\x9b\xc3\xa9\xff\xe2";
  char out[64];
  struct text t = TEXT_INIT(out);
  text_name(&t, name, sizeof name);
  assert_string_equal(text_end(&t), "a?b??[2J??\xc3\xa9??");
}

/* Overlong forms of ESC, a surrogate, what is beyond U+10FFFF; and what turns the line round. */
static void a_name_hides_no_control(void **state)
{
  (void)state;
  static const struct {
    const char *name, *shown;
  } names[] = {
      {"\xc0\x9b", "??"},
      {"\xe0\x80\x9b", "???"},
      {"\xe0\x9f\xbf", "???"},
      {"\xed\xa0\x80", "???"},
      {"\xf0\x80\x80\x9b", "????"},
      {"\xf4\x90\x80\x80", "????"},
      {"\xe2\x80\xae"
       "x",
       "?x"},
      {"\xe2\x80\xa8", "?"},
      {"\xe2\x81\xa6", "?"},
      {"\xe2\x80\x8f", "?"},
      {"\xd8\x9c", "?"},
      {"\xe2\x82\xac", "\xe2\x82\xac"},
      {"\xe2\x80\x93", "\xe2\x80\x93"},
      {"\xf0\x9f\x9a\xa2", "\xf0\x9f\x9a\xa2"},
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char out[64];
    struct text t = TEXT_INIT(out);
    text_name(&t, names[i].name, 63);
    assert_string_equal(text_end(&t), names[i].shown);
  }
}

static void what_does_not_fit_is_left_out(void **state)
{
  (void)state;
  char out[4];
  struct text t = TEXT_INIT(out);
  text_u64(&t, UINT64_MAX);
  assert_true(t.full);
  assert_string_equal(text_end(&t), "184");
}

static void numbers(void **state)
{
  (void)state;
  char out[128];
  struct text t = TEXT_INIT(out);
  text_u64(&t, UINT64_MAX);
  text_char(&t, ' ');
  text_digits(&t, 7, 3);
  text_char(&t, ' ');
  text_hex(&t, 0);
  text_char(&t, ' ');
  text_hex(&t, 0xdeadbeef01);
  assert_string_equal(text_end(&t), "18446744073709551615 007 0 deadbeef01");
}

static void expect_rule(const struct record_event *e, const char *rule, bool zulu, const char *want)
{
  char out[TEXT_EVENT_MAX];
  struct text t = TEXT_INIT(out);
  struct text_style style = {.zulu = zulu};
  text_event(&t, e, "curl", rule, &style);
  assert_string_equal(text_end(&t), want);
}

static void expect_line(const struct record_event *e, bool zulu, const char *want)
{
  expect_rule(e, NULL, zulu, want);
}

static struct record_event connect_event(void)
{
  struct record_event e = {.time = UINT64_C(86399999999999),
                           .duration = 12345,
                           .pid = 16578,
                           .transport = IPPROTO_TCP,
                           .local_port = 41004,
                           .peer_port = 8080,
                           .local = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1},
                           .peer = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};
  return e;
}

static void lines(void **state)
{
  (void)state;
  struct record_event e = connect_event();
  expect_line(&e, false,
              "23:59:59.999999 16578 curl connect tcp 127.0.0.1:41004 > 127.0.0.1:8080 ok "
              "kernel 12us\n");
  e.result = RECORD_FAILED;
  e.error = EADDRNOTAVAIL;
  e.peer[10] = 0;
  expect_line(&e, true,
              "23:59:59.999999Z 16578 curl connect tcp 127.0.0.1:41004 > [::ff:7f00:1]:8080 "
              "EADDRNOTAVAIL kernel 12us\n");
  e = connect_event();
  e.call = RECORD_BIND;
  e.peer_port = 0;
  e.chosen_by = RECORD_PROGRAM;
  expect_line(&e, false,
              "23:59:59.999999 16578 curl bind tcp 127.0.0.1:41004 asked=0 ok program 12us\n");
  e.peer[15] = 2;
  e.transport = 255 + 8;
  expect_line(&e, false,
              "23:59:59.999999 16578 curl bind 263 127.0.0.1:41004 asked=127.0.0.2:0 ok "
              "program 12us\n");
  e.call = RECORD_LISTEN;
  e.result = RECORD_FAILED;
  e.error = 9999;
  expect_line(&e, false,
              "23:59:59.999999 16578 curl listen 263 127.0.0.1:41004 E9999 program 12us\n");
}

static void a_date_precedes_the_time(void **state)
{
  (void)state;
  struct record_event e = connect_event();
  for (uint64_t day = 0; day < 366 * 140; day += day < 1000 ? 1 : 13) {
    char out[TEXT_EVENT_MAX], want[64];
    struct text t = TEXT_INIT(out);
    struct text_style style = {.dated = true, .utc_offset = -86399};
    time_t second = (time_t)(day * 86400);
    e.time = (day + 1) * UINT64_C(86400000000000) - 1;
    text_event(&t, &e, "curl", NULL, &style);
    strftime(want, sizeof want, "%Y-%m-%dT00:00:00.999999 16578", gmtime(&second));
    assert_int_equal(strncmp(text_end(&t), want, strlen(want)), 0);
  }
}

/* What follows the address, which is that of connect_event(). */
static void expect_end(const struct record_event *e, const char *rule, const char *end)
{
  char want[TEXT_EVENT_MAX];
  struct text t = TEXT_INIT(want);
  text_string(&t, "23:59:59.999999 16578 curl connect tcp 127.0.0.1:41004 > 127.0.0.1:8080 ok ");
  text_string(&t, end);
  text_char(&t, '\n');
  expect_rule(e, rule, false, text_end(&t));
}

static void the_word_of_a_rule_that_chose(void **state)
{
  (void)state;
  struct record_event e = connect_event();
  e.chosen_by = RECORD_POLICY;
  e.rule = 3;
  e.tries = 2;
  e.via = RECORD_VIA_RANGE;
  expect_end(&e, "shard-3", "policy=shard-3 via=range tries=2 12us");
  expect_end(&e, "leave  alone\n", "policy=leave??alone? via=range tries=2 12us");
  expect_end(&e, "", "policy=? via=range tries=2 12us");
  e.via = RECORD_VIA_BIND;
  expect_end(&e, NULL, "policy=? via=bind tries=2 12us");
  e.tries = 0;
  expect_end(&e, "a", "policy=a 12us");
}

static void the_end_of_a_line_that_a_rule_took(void **state)
{
  (void)state;
  struct record_event e = connect_event();
  expect_end(&e, "", "kernel 12us");
  e.rule = 1;
  expect_end(&e, "shard-3", "kernel 12us rule=shard-3");
  e.unsteered = RECORD_REUSE;
  expect_end(&e, "shard-3", "kernel 12us rule=shard-3 unsteered=reuse");
  e.unsteered = RECORD_OWN_RANGE;
  expect_end(&e, "shard-3", "kernel 12us rule=shard-3 unsteered=own_range");
  e.unsteered = RECORD_EXHAUSTED;
  e.via = RECORD_VIA_BIND;
  e.tries = 64;
  e.chosen_by = RECORD_PROGRAM;
  expect_end(&e, "a b", "program 12us rule=a?b via=bind tries=64 unsteered=exhausted");
  e.rule = 0; /* the table is full */
  expect_end(&e, "", "program 12us rule=? via=bind tries=64 unsteered=exhausted");
  e.tries = e.unsteered = 0;
  expect_end(&e, "", "program 12us");
  expect_end(&e, "shard-3", "program 12us rule=shard-3"); /* BERTH_LOG knows it all the same */
}

/* Every field at its longest: the promise of TEXT_EVENT_MAX. */
static void long_scope(uint32_t scope, char name[TEXT_SCOPE_SIZE])
{
  (void)scope;
  memset(name, 's', TEXT_SCOPE_SIZE - 1);
  name[TEXT_SCOPE_SIZE - 1] = '\0';
}

static void the_longest_line_fits(void **state)
{
  (void)state;
  char name[256], rule[128], out[TEXT_EVENT_MAX];
  memset(name, 'n', 255);
  name[255] = '\0';
  memset(rule, 'r', 127); /* shown: as much as a rule may have */
  rule[127] = '\0';
  struct record_event e;
  memset(&e, 0xfe, sizeof e);
  e.call = RECORD_CONNECT;
  e.result = RECORD_FAILED;
  e.error = ENOTRECOVERABLE;
  e.chosen_by = RECORD_PROGRAM;
  e.via = RECORD_VIA_RANGE;
  e.unsteered = RECORD_EXHAUSTED;
  struct text t = TEXT_INIT(out);
  struct text_style style = {.dated = true, .zulu = true, .scope_name = long_scope};
  text_event(&t, &e, name, rule, &style);
  assert_false(t.full);
  assert_int_equal(t.at[-1], '\n');
  assert_true(t.end - t.at >= 16); /* room for a longer word */
}

static void errno_names(void **state)
{
  (void)state;
  assert_string_equal(errno_name(EADDRNOTAVAIL), "EADDRNOTAVAIL");
  assert_string_equal(errno_name(EPERM), "EPERM");
  assert_string_equal(errno_name(EHWPOISON), "EHWPOISON");
  assert_null(errno_name(0));
  assert_null(errno_name(41)); /* a hole in Linux's numbers */
  assert_null(errno_name(100000));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(addresses_follow_rfc_5952),
      cmocka_unit_test(addresses_are_written_as_by_inet_ntop),
      cmocka_unit_test(an_ipv6_scope_follows_a_percent_sign),
      cmocka_unit_test(a_name_stays_one_harmless_field),
      cmocka_unit_test(a_name_hides_no_control),
      cmocka_unit_test(what_does_not_fit_is_left_out),
      cmocka_unit_test(numbers),
      cmocka_unit_test(lines),
      cmocka_unit_test(the_word_of_a_rule_that_chose),
      cmocka_unit_test(the_end_of_a_line_that_a_rule_took),
      cmocka_unit_test(a_date_precedes_the_time),
      cmocka_unit_test(the_longest_line_fits),
      cmocka_unit_test(errno_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
