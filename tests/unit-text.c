// SPDX-License-Identifier: MIT
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

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
                                        "1:2:3:4:5:6:7:0"};
  for (size_t i = 0; i < sizeof written / sizeof *written; i++)
    expect_address(written[i], "");
}

static void an_ipv6_scope_follows_a_percent_sign(void **state)
{
  (void)state;
  uint8_t address[16] = {0xfe, 0x80, [15] = 1};
  char out[96];
  struct text t = TEXT_INIT(out);
  text_address(&t, address, "eth0");
  assert_string_equal(text_end(&t), "fe80::1%eth0");
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

static void expect_line(const struct record_event *e, bool zulu, const char *want)
{
  char out[TEXT_EVENT_MAX];
  struct text t = TEXT_INIT(out);
  struct text_style style = {.zulu = zulu};
  text_event(&t, e, "curl", &style);
  assert_string_equal(text_end(&t), want);
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

/* Every field at its longest: the promise of TEXT_EVENT_MAX. */
static void the_longest_line_fits(void **state)
{
  (void)state;
  char name[256], out[TEXT_EVENT_MAX];
  memset(name, 'n', 255);
  name[255] = '\0';
  struct record_event e;
  memset(&e, 0xfe, sizeof e);
  e.call = RECORD_CONNECT;
  e.result = RECORD_FAILED;
  e.error = ENOTRECOVERABLE;
  e.chosen_by = RECORD_PROGRAM;
  struct text t = TEXT_INIT(out);
  struct text_style style = {.zulu = true};
  text_event(&t, &e, name, &style);
  assert_false(t.full);
  assert_int_equal(t.at[-1], '\n');
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
      cmocka_unit_test(an_ipv6_scope_follows_a_percent_sign),
      cmocka_unit_test(a_name_stays_one_harmless_field),
      cmocka_unit_test(what_does_not_fit_is_left_out),
      cmocka_unit_test(numbers),
      cmocka_unit_test(lines),
      cmocka_unit_test(the_longest_line_fits),
      cmocka_unit_test(errno_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
