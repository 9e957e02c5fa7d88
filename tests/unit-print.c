// SPDX-License-Identifier: MIT
//
// cli/: what events and processes look like under a policy, on a recording of the test's own.
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "cli/follow.h"
#include "cli/print.h"
#include "cli/summary.h"
#include "record/write.h"

struct fixture {
  char path[64];
  struct record_map map;
};

static int setup(void **state)
{
  struct fixture *f = calloc(1, sizeof *f);
  struct record_shape shape = {2, 16, 16, 2, 0};
  struct record_identity who = {.pid = 7, .name = "java"};
  snprintf(f->path, sizeof f->path, "unit-print-%d.berth", (int)getpid());
  unlink(f->path);
  assert_int_equal(record_create(AT_FDCWD, f->path, shape, &f->map), 0);
  record_describe(&f->map, record_reserve(&f->map), &who);
  record_mark(&f->map, 0, RECORD_EXITED);
  *state = f;
  return 0;
}

static int teardown(void **state)
{
  struct fixture *f = *state;
  record_unmap(&f->map);
  unlink(f->path);
  free(f);
  return 0;
}

static void write_one(struct fixture *f, enum record_chooser chooser,
                      const struct record_steering *s)
{
  struct record_event e = {.time = 1,
                           .pid = 7,
                           .transport = IPPROTO_TCP,
                           .chosen_by = (uint8_t)chooser,
                           .local_port = 40000,
                           .peer_port = 80,
                           .local = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 1},
                           .peer = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 2}};
  record_write(&f->map, 0, &e, s);
}

/* A rule that gave a port, one that left the call to the kernel, one without room, and none. */
static void write_all(struct fixture *f)
{
  static const struct record_steering gave = {
      .rule = "shard 3", .tries = 2, .via = RECORD_VIA_RANGE, .claimed = true};
  static const struct record_steering left = {.rule = "caf\xff",
                                              .unsteered = RECORD_EXHAUSTED,
                                              .exhausted = true,
                                              .kernel = true,
                                              .outside = true};
  static const struct record_steering late = {.rule = "late", .tries = 1, .via = RECORD_VIA_BIND};
  write_one(f, RECORD_POLICY, &gave);
  write_one(f, RECORD_KERNEL, &left);
  write_one(f, RECORD_POLICY, &late);
  write_one(f, RECORD_KERNEL, NULL);
}

/* What is printed; the caller frees it. */
static char *events_of(struct fixture *f, bool json, uint64_t *unsound)
{
  char *text;
  size_t size;
  struct record_reader reader;
  struct follower follower;
  struct printer printer = {.out = open_memstream(&text, &size), .json = json};
  assert_null(record_open(&reader, AT_FDCWD, f->path));
  assert_true(follow_begin(&follower, &reader));
  follow_read(&follower, true, print_event, &printer);
  if (unsound)
    *unsound = follower.torn == follower.unsound ? follower.unsound : UINT64_MAX;
  follow_end(&follower);
  fclose(printer.out);
  return text;
}

static char *summary_of(struct fixture *f, bool json)
{
  char *text;
  size_t size;
  struct record_reader reader;
  FILE *out = open_memstream(&text, &size);
  assert_null(record_open(&reader, AT_FDCWD, f->path));
  assert_true(print_summary(out, &reader, json));
  record_close(&reader);
  fclose(out);
  return text;
}

/* The n-th line as JSON. */
static json_t *object_at(const char *lines, int n)
{
  while (n--)
    lines = strchr(lines, '\n') + 1;
  json_t *o = json_loads(lines, JSON_DISABLE_EOF_CHECK, NULL);
  assert_non_null(o);
  return o;
}

static void expect_event(const char *lines, int n, const char *rule, const char *via, int tries,
                         const char *unsteered)
{
  json_t *o = object_at(lines, n);
  const char *got[] = {json_string_value(json_object_get(o, "berth.rule")),
                       json_string_value(json_object_get(o, "berth.via")),
                       json_string_value(json_object_get(o, "berth.unsteered"))};
  const char *want[] = {rule, via, unsteered};
  for (int i = 0; i < 3; i++) {
    assert_int_equal(!got[i], !want[i]);
    if (want[i])
      assert_string_equal(got[i], want[i]);
  }
  assert_int_equal(json_integer_value(json_object_get(o, "berth.tries")), tries);
  assert_int_equal(!json_object_get(o, "berth.tries"), !tries);
  json_decref(o);
}

static void the_keys_of_a_rule_are_there_where_it_took_the_call(void **state)
{
  struct fixture *f = *state;
  write_all(f);
  char *lines = events_of(f, true, NULL);
  expect_event(lines, 0, "shard 3", "range", 2, NULL);
  expect_event(lines, 1, "caf?", NULL, 0, "exhausted");
  expect_event(lines, 2, NULL, "bind", 1, NULL); /* no room for its name */
  expect_event(lines, 3, NULL, NULL, 0, NULL);
  free(lines);
}

static void lines_name_the_rule(void **state)
{
  struct fixture *f = *state;
  write_all(f);
  char *lines = events_of(f, false, NULL);
  assert_non_null(strstr(lines, " ok policy=shard?3 via=range tries=2 0us\n"));
  assert_non_null(strstr(lines, " ok kernel 0us rule=caf? unsteered=exhausted\n"));
  assert_non_null(strstr(lines, " ok policy=? via=bind tries=1 0us\n"));
  assert_non_null(strstr(lines, " ok kernel 0us\n"));
  free(lines);
}

static struct record_event event_in(const struct record_cell *cell)
{
  struct record_event e;
  uint64_t words[RECORD_EVENT_WORDS];
  for (int w = 0; w < RECORD_EVENT_WORDS; w++)
    words[w] = cell->words[w];
  memcpy(&e, words, sizeof e);
  return e;
}

static void put_event(struct record_cell *cell, const struct record_event *e)
{
  uint64_t words[RECORD_EVENT_WORDS];
  memcpy(words, e, sizeof words);
  for (int w = 0; w < RECORD_EVENT_WORDS; w++)
    cell->words[w] = words[w];
}

static void numbers_out_of_range_are_damaged_or_nameless(void **state)
{
  struct fixture *f = *state;
  uint64_t unsound = 0;
  write_all(f);
  struct record_event a = event_in(&f->map.cells[0]), b = event_in(&f->map.cells[1]),
                      c = event_in(&f->map.cells[2]);
  a.rule = UINT32_MAX;
  b.unsteered = RECORD_UNSTEEREDS;
  c.via = RECORD_VIAS;
  put_event(&f->map.cells[0], &a);
  put_event(&f->map.cells[1], &b);
  put_event(&f->map.cells[2], &c);
  char *lines = events_of(f, true, &unsound);
  assert_int_equal(unsound, 2);
  expect_event(lines, 0, NULL, "range", 2, NULL);
  expect_event(lines, 1, NULL, NULL, 0, NULL);
  free(lines);
  char *text = summary_of(f, false);
  assert_non_null(strstr(text, ", 2 torn (2 with values that no event has: damaged)\n"));
  free(text);
}

static void statistics_of_rules_as_json(void **state)
{
  struct fixture *f = *state;
  write_all(f);
  char *line = summary_of(f, true);
  json_t *o = object_at(line, 0), *rules = json_object_get(o, "rules");
  json_t *want = json_pack("[{ss si si si si si si si si} {ss si si si si si si si si}]", "name",
                           "caf?", "matched", 1, "claimed", 0, "exhausted", 1, "kernel", 1,
                           "outside", 1, "tries", 0, "stuck", 0, "forbidden", 0, /**/
                           "name", "shard 3", "matched", 1, "claimed", 1, "exhausted", 0, "kernel",
                           0, "outside", 0, "tries", 2, "stuck", 0, "forbidden", 0);
  assert_non_null(want);
  assert_true(json_equal(rules, want));
  assert_int_equal(json_integer_value(json_object_get(o, "rules_merged")), 1);
  json_decref(want);
  json_decref(o);
  free(line);
}

static void statistics_of_rules_as_text(void **state)
{
  struct fixture *f = *state;
  write_all(f);
  char *text = summary_of(f, false);
  assert_non_null(strstr(text, "\n  rule         shard?3: matched 1, claimed 1, tries 2\n"));
  assert_non_null(strstr(text, "\n  rule         caf?: matched 1, exhausted 1, kernel 1, "
                               "outside 1\n"));
  assert_non_null(strstr(text, "\n  rule         others: matched 1 (the table is full)\n"));
  free(text);
}

#define WITH_FILE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH_FILE(the_keys_of_a_rule_are_there_where_it_took_the_call),
      WITH_FILE(lines_name_the_rule),
      WITH_FILE(numbers_out_of_range_are_damaged_or_nameless),
      WITH_FILE(statistics_of_rules_as_json),
      WITH_FILE(statistics_of_rules_as_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
