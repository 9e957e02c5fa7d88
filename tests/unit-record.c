// SPDX-License-Identifier: MIT
//
// What a writer puts into a recording, a reader finds: on a file of the test's own.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "record/duration.h"
#include "record/header.h"
#include "record/read.h"
#include "record/write.h"

struct fixture {
  char path[64];
  struct record_map map;
  struct record_reader reader;
};

static int setup(void **state)
{
  struct fixture *f = calloc(1, sizeof *f);
  struct record_shape shape = {4, 16, 16, 8, 100};
  snprintf(f->path, sizeof f->path, "unit-record-%d.berth", (int)getpid());
  unlink(f->path);
  assert_int_equal(record_create(AT_FDCWD, f->path, shape, &f->map), 0);
  assert_null(record_open(&f->reader, AT_FDCWD, f->path));
  *state = f;
  return 0;
}

static int teardown(void **state)
{
  struct fixture *f = *state;
  record_close(&f->reader);
  record_unmap(&f->map);
  unlink(f->path);
  free(f);
  return 0;
}

static struct record_identity myself(const char *name)
{
  struct record_identity who = {.pid = (uint32_t)getpid(),
                                .parent_pid = (uint32_t)getppid(),
                                .uid = geteuid(),
                                .created = 1,
                                .name = name};
  record_namespaces_ask(&who.namespaces);
  return who;
}

static uint32_t claim(struct fixture *f, const char *name)
{
  struct record_identity who = myself(name);
  uint32_t process = record_reserve(&f->map);
  record_describe(&f->map, process, &who);
  record_mark(&f->map, process, RECORD_RUNNING);
  return process;
}

static struct record_event to_port(uint16_t peer, uint16_t local)
{
  struct record_event e = {.time = peer,
                           .duration = 1000,
                           .transport = IPPROTO_TCP,
                           .local_port = local,
                           .peer_port = peer,
                           .peer = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};
  return e;
}

static void write_events(struct fixture *f, uint32_t process, unsigned from, unsigned to)
{
  for (unsigned i = from; i < to; i++) {
    struct record_event e = to_port((uint16_t)(i % 4), (uint16_t)(1000 + i));
    e.tid = i;
    record_write(&f->map, process, &e, NULL);
  }
}

static void an_event_comes_back_as_it_was(void **state)
{
  struct fixture *f = *state;
  struct record_read_event got;
  struct record_event e = to_port(80, 40000);
  record_write(&f->map, claim(f, "a"), &e, NULL);
  assert_int_equal(record_read_events(&f->reader, 0, 8, &got), 1);
  assert_int_equal(got.fate, RECORD_WHOLE);
  assert_int_equal(got.process, 0);
  assert_memory_equal(&got.event, &e, sizeof e);
}

static void the_ring_keeps_the_last_and_counts_the_others(void **state)
{
  struct fixture *f = *state;
  struct record_read_event got[16];
  struct record_process row;
  write_events(f, claim(f, "a"), 0, 50);
  assert_int_equal(record_head(&f->reader), 50);
  assert_int_equal(record_oldest(&f->reader, 50), 34);
  assert_int_equal(record_read_events(&f->reader, 34, 16, got), 14); /* to the ring's end */
  assert_int_equal(got[0].event.tid, 34);
  assert_int_equal(record_read_events(&f->reader, 48, 16, got), 2);
  assert_int_equal(got[1].event.tid, 49);
  assert_int_equal(record_read_events(&f->reader, 20, 1, got), 1);
  assert_int_equal(got[0].fate, RECORD_GONE);
  assert_true(record_read_process(&f->reader, 0, &row));
  assert_int_equal(row.events_written, 50);
  assert_int_equal(row.events_overwritten, 34);
  assert_int_equal(row.events_lost, 0);
}

/* A writer killed between its CAS and its last store leaves an odd cell for ever. */
static void a_torn_cell_costs_one_event_a_round_and_is_never_shown(void **state)
{
  struct fixture *f = *state;
  struct record_read_event got[16];
  struct record_process row;
  uint32_t process = claim(f, "a");
  struct record_torn torn[4] = {0};
  write_events(f, process, 0, 3);
  atomic_fetch_add(&f->map.header->head, 1);
  atomic_fetch_add(&record_row(&f->map, process)->events_written, 1);
  atomic_store(&f->map.cells[3].seq, record_seq(process, 2 * 3 + 1));
  write_events(f, process, 4, 36); /* meets the cell at 19 and 35 */

  assert_int_equal(record_read_events(&f->reader, 35, 1, got), 1);
  assert_int_equal(got[0].fate, RECORD_ABSENT);
  assert_int_equal(record_read_events(&f->reader, 3, 1, got), 1);
  assert_int_equal(got[0].fate, RECORD_WRITING);
  record_count_torn(&f->reader, torn, 4);
  assert_int_equal(torn[process].torn, 1);
  assert_true(record_read_process(&f->reader, process, &row));
  unsigned whole = 0;
  for (uint64_t i = 20; i < 36; i += 4) {
    size_t n = record_read_events(&f->reader, i, 4, got);
    for (size_t k = 0; k < n && k < 4; k++)
      whole += got[k].fate == RECORD_WHOLE;
  }
  assert_int_equal(row.events_lost, 2);
  assert_int_equal(whole + row.events_overwritten + row.events_lost + torn[process].torn,
                   row.events_written);
}

/* A writer killed before its CAS, or between that and the counter of whose event it replaced. */
static void an_event_that_no_cell_and_no_counter_has_is_torn(void **state)
{
  struct fixture *f = *state;
  struct record_torn torn[4];
  uint32_t a = claim(f, "a"), b = claim(f, "b");
  write_events(f, a, 0, 3);
  record_count_torn(&f->reader, torn, 4);
  assert_int_equal(torn[a].torn + torn[b].torn, 0);
  atomic_fetch_add(&f->map.header->head, 1);
  atomic_fetch_add(&record_row(&f->map, b)->events_written, 1);
  record_count_torn(&f->reader, torn, 4);
  assert_int_equal(torn[b].torn, 1);
  atomic_fetch_add(&f->map.header->head, 13);
  atomic_fetch_add(&record_row(&f->map, b)->events_written, 1);
  atomic_store(&f->map.cells[0].seq, record_seq(b, 2 * 16 + 1));
  record_count_torn(&f->reader, torn, 4);
  assert_int_equal(torn[a].torn, 1);
  assert_int_equal(torn[b].torn, 2);
}

static void an_event_with_values_of_none_is_unsound(void **state)
{
  struct fixture *f = *state;
  struct record_torn torn[4];
  uint32_t process = claim(f, "a");
  struct record_event e = {.via = RECORD_VIAS};
  uint64_t words[RECORD_EVENT_WORDS];
  write_events(f, process, 0, 3);
  memcpy(words, &e, sizeof words);
  for (int w = 0; w < RECORD_EVENT_WORDS; w++)
    atomic_store(&f->map.cells[1].words[w], words[w]);
  record_count_torn(&f->reader, torn, 4);
  assert_int_equal(torn[process].torn, 1);
  assert_int_equal(torn[process].unsound, 1);
}

/* An event that is lost, because the cell's earlier one is still being written, leaves that one
 * there beyond its time. */
static void an_event_outlives_a_lost_one(void **state)
{
  struct fixture *f = *state;
  struct record_read_event *early;
  uint32_t process = claim(f, "a");
  write_events(f, process, 0, 3);
  uint64_t whole = f->map.cells[1].seq;
  f->map.cells[1].seq = whole - 1; /* event 1 takes its time */
  write_events(f, process, 3, 20);
  f->map.cells[1].seq = whole;
  uint64_t oldest = record_oldest(&f->reader, record_head(&f->reader));
  assert_int_equal(oldest, 4);
  assert_int_equal(record_read_survivors(&f->reader, oldest, &early), 1);
  assert_int_equal(early[0].event.tid, 1);
  assert_int_equal(record_row(&f->map, process)->events_lost, 1);
  free(early);
}

static void rows_run_out_into_one_for_all_others(void **state)
{
  struct fixture *f = *state;
  struct record_process row;
  assert_int_equal(claim(f, "a"), 0);
  assert_int_equal(claim(f, "b"), 1);
  assert_int_equal(claim(f, "c"), 2);
  assert_false(record_read_process(&f->reader, 3, &row));
  assert_int_equal(claim(f, "d"), 3);
  assert_int_equal(claim(f, "e"), 3);
  assert_true(record_is_shared_row(&f->map, 3));
  assert_true(record_read_process(&f->reader, 3, &row));
  assert_string_equal(row.name, "others");
  assert_int_equal(record_processes_used(&f->reader), 3);
}

static void a_reserved_row_is_nobodys_and_goes_back(void **state)
{
  struct fixture *f = *state;
  struct record_process row;
  uint32_t first = record_reserve(&f->map), second = record_reserve(&f->map);
  assert_false(record_read_process(&f->reader, first, &row));
  record_unreserve(&f->map, first); /* not the newest: it stays empty */
  record_unreserve(&f->map, second);
  assert_int_equal(record_reserve(&f->map), second);
}

static void a_row_that_counted_is_taken(void **state)
{
  struct fixture *f = *state;
  struct record_process row;
  struct record_identity who = myself("a");
  struct record_event e = to_port(80, 40000);
  uint32_t process = record_reserve(&f->map);
  record_describe(&f->map, process, &who);
  assert_false(record_read_process(&f->reader, process, &row));
  record_write(&f->map, process, &e,
               NULL); /* by a thread that was faster than the one that marks it */
  assert_true(record_read_process(&f->reader, process, &row));
  assert_int_equal(row.state, RECORD_RUNNING);
}

static void a_row_says_who_it_is(void **state)
{
  struct fixture *f = *state;
  struct record_process row;
  claim(f, "some program");
  assert_true(record_read_process(&f->reader, 0, &row));
  assert_string_equal(row.name, "some program");
  assert_string_equal(row.version, PACKAGE_VERSION);
  assert_int_equal(row.pid, getpid());
  assert_int_equal(row.parent_pid, getppid());
  assert_int_equal(row.uid, geteuid());
  assert_true(row.net_namespace && row.pid_namespace && row.mnt_namespace);
}

static void counters_add_up(void **state)
{
  struct fixture *f = *state;
  struct record_process row;
  uint32_t process = claim(f, "a");
  struct record_event e = to_port(80, 40000);
  record_write(&f->map, process, &e, NULL);
  e.result = RECORD_FAILED;
  e.error = EADDRNOTAVAIL;
  e.local_port = 0;
  record_write(&f->map, process, &e, NULL);
  e = to_port(0, 40001);
  e.call = RECORD_BIND;
  e.chosen_by = RECORD_PROGRAM;
  record_write(&f->map, process, &e, NULL);
  assert_true(record_read_process(&f->reader, process, &row));
  assert_int_equal(row.calls_connect, 2);
  assert_int_equal(row.calls_bind, 1);
  assert_int_equal(row.results_ok, 2);
  assert_int_equal(row.results_failed, 1);
  assert_int_equal(row.errors[EADDRNOTAVAIL], 1);
  assert_int_equal(row.chosen_by_kernel, 2);
  assert_int_equal(row.chosen_by_program, 1);
  assert_int_equal(row.ports[40000 / 64], UINT64_C(1) << 40000 % 64); /* a bind's is not */
}

static void destinations_are_told_apart_until_the_table_is_full(void **state)
{
  struct fixture *f = *state;
  struct record_process row;
  struct record_read_destination *d;
  uint32_t a = claim(f, "a"), b = claim(f, "b");
  write_events(f, a, 0, 40);
  write_events(f, b, 0, 4);
  assert_int_equal(record_read_destinations(&f->reader, &d), 8);
  assert_int_equal(d[0].connects, 10);
  assert_int_equal(d[0].distinct_ports, 10);
  assert_int_equal(d[4].process, b);
  free(d);
  for (uint16_t port = 100; port < 120; port++) {
    struct record_event e = to_port(port, 1);
    record_write(&f->map, a, &e, NULL);
  }
  assert_int_equal(record_read_destinations(&f->reader, &d), 14); /* 7/8 of 16 */
  free(d);
  assert_true(record_read_process(&f->reader, a, &row));
  assert_int_equal(row.destinations_merged, 14);
}

static const struct record_rule *rule_row(struct fixture *f, uint32_t rule)
{
  assert_in_range(rule, 1, f->map.rule_count);
  return (const void *)(f->map.rules + (size_t)(rule - 1) * RECORD_RULE_STRIDE);
}

static const char *name_of(const struct record_rule *row)
{
  static char name[RECORD_RULE_NAME];
  memcpy(name, (const void *)&row->name, sizeof name);
  return name;
}

static void an_event_says_what_a_rule_did(void **state)
{
  struct fixture *f = *state;
  uint32_t process = claim(f, "a");
  struct record_event e = to_port(80, 40000);
  struct record_steering s = {.rule = "shard",
                              .tries = 3,
                              .via = RECORD_VIA_BIND,
                              .unsteered = RECORD_EXHAUSTED,
                              .exhausted = true,
                              .kernel = true};
  record_write(&f->map, process, &e, &s);
  assert_int_equal(e.tries, 3);
  assert_int_equal(e.via, RECORD_VIA_BIND);
  assert_int_equal(e.unsteered, RECORD_EXHAUSTED);
  const struct record_rule *row = rule_row(f, e.rule);
  assert_string_equal(name_of(row), "shard");
  assert_int_equal(row->process, process);
  assert_int_equal(row->matched + row->exhausted + row->kernel, 3);
  assert_int_equal(row->claimed + row->outside + row->stuck, 0);
  assert_int_equal(row->tries, 3);
  record_write(&f->map, process, &e, NULL);
  assert_int_equal(e.rule + e.tries + e.via + e.unsteered, 0);
  assert_int_equal(row->matched, 1);
}

/* Another process's row is another; so is a name of 63 bytes that differs in the last. */
static void rules_are_told_apart_until_the_table_is_full(void **state)
{
  struct fixture *f = *state;
  uint32_t a = claim(f, "a"), b = claim(f, "b"), seen = 0;
  char name[RECORD_RULE_NAME] = "";
  struct record_steering s = {.rule = name, .claimed = true};
  memset(name, 'n', sizeof name - 1);
  for (unsigned i = 0; i < 9; i++) {
    struct record_event e = to_port(80, 40000);
    name[sizeof name - 2] = (char)('0' + i / 2);
    record_write(&f->map, i % 2 ? a : b, &e, &s);
    if (i < 7) { /* 7/8 of 8 */
      assert_string_equal(name_of(rule_row(f, e.rule)), name);
      seen |= 1u << e.rule;
    } else {
      assert_int_equal(e.rule, 0);
    }
  }
  assert_int_equal(__builtin_popcount(seen), 7);
  assert_int_equal(record_row(&f->map, a)->rules_merged, 1);
  assert_int_equal(record_row(&f->map, b)->rules_merged, 1);
}

struct race {
  struct fixture *f;
  pthread_barrier_t begin;
};

static void *take_seven_rules(void *context)
{
  struct race *r = context;
  pthread_barrier_wait(&r->begin);
  for (char c = '0'; c < '7'; c++) {
    struct record_event e = to_port(80, 40000);
    struct record_steering s = {.rule = (char[]){c, '\0'}};
    record_write(&r->f->map, 0, &e, &s);
  }
  return NULL;
}

/* Of those who want a row at once one gets it, and the others' try costs none. */
static void a_race_for_a_row_takes_one(void **state)
{
  struct race r = {.f = *state};
  claim(r.f, "a");
  pthread_barrier_init(&r.begin, NULL, 4);
  for (unsigned round = 0; round < 2000; round++) {
    pthread_t threads[4];
    memset(r.f->map.rules, 0, (size_t)r.f->map.rule_count * RECORD_RULE_STRIDE);
    r.f->map.header->rules_used = 0;
    for (int i = 0; i < 4; i++)
      assert_int_equal(pthread_create(&threads[i], NULL, take_seven_rules, &r), 0);
    for (int i = 0; i < 4; i++)
      pthread_join(threads[i], NULL);
    assert_int_equal(r.f->map.header->rules_used, 7);
  }
  pthread_barrier_destroy(&r.begin);
  assert_int_equal(record_row(&r.f->map, 0)->rules_merged, 0);
}

/* Who is killed between the tag and the key leaves a row that the next one completes. */
static void a_half_written_rule_is_completed(void **state)
{
  struct fixture *f = *state;
  uint32_t process = claim(f, "a");
  struct record_steering s = {.rule = "some rule"};
  struct record_event e = to_port(80, 40000);
  record_write(&f->map, process, &e, &s);
  struct record_rule *row = (void *)(uintptr_t)rule_row(f, e.rule);
  uint32_t number = e.rule;
  row->name[0] = row->name[1] = 0;
  row->process = 0;
  record_write(&f->map, process, &e, &s);
  assert_int_equal(e.rule, number);
  assert_int_equal(row->process, process);
  assert_string_equal(name_of(row), "some rule");
  assert_int_equal(row->matched, 2);
}

static void rules_are_read_by_row_and_name(void **state)
{
  struct fixture *f = *state;
  struct record_read_rule *r;
  char name[RECORD_RULE_NAME];
  uint32_t a = claim(f, "a"), b = claim(f, "b");
  static const char *const names[] = {"y", "x", "y", "z"};
  assert_int_equal(record_read_rules(&f->reader, &r), 0);
  free(r);
  for (unsigned i = 0; i < 4; i++) {
    struct record_event e = to_port(80, 40000);
    struct record_steering s = {.rule = names[i], .tries = i, .claimed = true, .outside = i == 1};
    record_write(&f->map, i < 3 ? b : a, &e, &s);
    record_rule_name(&f->reader, e.rule - 1, name);
    assert_string_equal(name, names[i]);
  }
  assert_int_equal(record_read_rules(&f->reader, &r), 3);
  assert_string_equal(r[0].name, "z");
  assert_int_equal(r[0].process, a);
  assert_int_equal(r[0].tries, 3);
  assert_string_equal(r[1].name, "x");
  assert_int_equal(r[1].outside, 1);
  assert_string_equal(r[2].name, "y");
  assert_int_equal(r[2].process, b);
  assert_int_equal(r[2].matched, 2);
  assert_int_equal(r[2].claimed, 2);
  assert_int_equal(r[2].tries, 2);
  free(r);
}

static void a_hostile_table_of_rules_is_bounded(void **state)
{
  struct fixture *f = *state;
  struct record_read_rule *r;
  char name[RECORD_RULE_NAME];
  claim(f, "a");
  memset(f->map.rules, 0xff, (size_t)f->map.rule_count * RECORD_RULE_STRIDE);
  assert_int_equal(record_read_rules(&f->reader, &r), 8);
  for (unsigned i = 0; i < 8; i++) {
    assert_int_equal(strlen(r[i].name), RECORD_RULE_NAME - 1);
    assert_int_equal(r[i].process, UINT32_MAX);
  }
  free(r);
  record_rule_name(&f->reader, 7, name);
  assert_int_equal(strlen(name), RECORD_RULE_NAME - 1);
  record_rule_name(&f->reader, 8, name);
  assert_string_equal(name, "");
  record_rule_name(&f->reader, UINT32_MAX, name);
  assert_string_equal(name, "");
  assert_false(f->reader.broken);
  /* A table without a free row, and none of the tag: a writer still ends. */
  struct record_event e = to_port(80, 40000);
  struct record_steering s = {.rule = "a"};
  record_write(&f->map, 0, &e, &s);
  assert_int_equal(e.rule, 0);
}

static void a_file_that_shrank_has_no_rules(void **state)
{
  struct fixture *f = *state;
  struct record_read_rule *r;
  char name[RECORD_RULE_NAME];
  assert_int_equal(truncate(f->path, RECORD_HEADER_SIZE), 0); /* nobody touches the mapping */
  assert_int_equal(record_read_rules(&f->reader, &r), 0);
  free(r);
  record_rule_name(&f->reader, 0, name);
  assert_string_equal(name, "");
  assert_true(f->reader.broken);
}

static void the_state_is_zeros_and_shared(void **state)
{
  struct fixture *f = *state;
  struct record_map other;
  assert_int_equal(f->map.state_size, 100);
  for (size_t i = 0; i < 100; i++)
    assert_int_equal(f->map.state[i], 0);
  f->map.state[99] = 7;
  assert_int_equal(record_attach(f->path, &other), 0);
  assert_int_equal(other.state_size, 100);
  assert_int_equal(other.state[99], 7);
  record_unmap(&other);
}

static void sizes(void **state)
{
  (void)state;
  const struct record_shape private = RECORD_SHAPE_PRIVATE;
  assert_true(record_size(private) <= 512 << 10);
  assert_int_equal(record_size((struct record_shape){2, 0, 16, 0, 0}),
                   record_size((struct record_shape){2, 2, 16, 2, 0}));
}

static void a_sketch_is_within_a_third_at_any_size(void **state)
{
  struct fixture *f = *state;
  uint32_t process = claim(f, "a");
  struct record_read_destination *d;
  unsigned written = 0;
  static const unsigned sizes[] = {1, 2, 10, 100, 300, 1000, 5000, 28232, 60000};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    for (; written < sizes[i]; written++) {
      struct record_event e = to_port(80, (uint16_t)(1024 + written));
      record_write(&f->map, process, &e, NULL);
    }
    assert_int_equal(record_read_destinations(&f->reader, &d), 1);
    assert_in_range(d[0].distinct_ports, sizes[i] - sizes[i] / 3, sizes[i] + sizes[i] / 3);
    free(d);
  }
}

static void buckets_are_in_order_and_an_eighth_wide(void **state)
{
  (void)state;
  for (uint32_t b = 0; b + 1 < RECORD_DURATION_BUCKETS; b++) {
    uint64_t low = duration_lowest(b), next = duration_lowest(b + 1);
    assert_true(low < next);
    assert_int_equal(duration_bucket(low), b);
    assert_int_equal(duration_bucket(next - 1), b);
    assert_true(next - low <= 1 + low / 8);
  }
  assert_int_equal(duration_bucket(UINT64_MAX), RECORD_DURATION_BUCKETS - 1);
}

static void quantiles(void **state)
{
  (void)state;
  static struct record_process row;
  assert_int_equal(record_quantile(&row, 0.5), 0);
  for (uint64_t ns = 1; ns <= 1000; ns++)
    row.durations[duration_bucket(ns * 1000)]++;
  row.duration_max = 1000000;
  assert_in_range(record_quantile(&row, 0.5), 470000, 530000);
  assert_in_range(record_quantile(&row, 0.99), 930000, 1000000);
  assert_true(record_quantile(&row, 1) <= row.duration_max);
}

static void a_file_is_made_once_and_only_for_its_owner(void **state)
{
  struct fixture *f = *state;
  struct record_shape shape = {4, 16, 16, 8, 100};
  struct record_map other;
  struct stat s;
  assert_int_equal(record_create(AT_FDCWD, f->path, shape, &other), EEXIST);
  assert_int_equal(stat(f->path, &s), 0);
  assert_int_equal(s.st_mode & 07777, 0600);
  assert_int_equal(s.st_size, record_size(shape));
  assert_true(s.st_blocks * 512 >= s.st_size); /* no holes */
}

static void whether_it_is_mapped_is_seen(void **state)
{
  struct fixture *f = *state;
  if (f->map.header->flags & RECORD_HIDDEN_USE) {
    print_message(
        "# not tried: this file system does not show that a file is mapped, as overlayfs\n");
    return; /* automake takes cmocka's skip() for a failure */
  }
  assert_true(record_is_mapped(AT_FDCWD, f->path));
  record_unmap(&f->map);
  assert_false(record_is_mapped(AT_FDCWD, f->path));
  assert_int_equal(record_attach(f->path, &f->map), 0);
  assert_true(record_is_mapped(AT_FDCWD, f->path));
}

static void attaching_shares_it(void **state)
{
  struct fixture *f = *state;
  struct record_map other;
  assert_int_equal(record_attach(f->path, &other), 0);
  assert_int_equal(other.event_count, 16);
  uint32_t process = claim(f, "a");
  struct record_event e = to_port(80, 40000);
  record_write(&other, process, &e, NULL);
  assert_int_equal(record_row(&f->map, process)->calls_connect, 1);
  record_unmap(&other);
}

static void what_is_no_recording_is_refused(void **state)
{
  struct fixture *f = *state;
  struct record_map other;
  assert_int_equal(record_attach("/", &other), EISDIR);
  assert_int_equal(record_attach("/nonexistent", &other), ENOENT);
  assert_int_equal(truncate(f->path, RECORD_HEADER_SIZE - 1), 0);
  assert_int_equal(record_attach(f->path, &other), EINVAL);
  assert_int_equal(truncate(f->path, (off_t)f->map.size), 0);
  assert_int_equal(record_attach(f->path, &other), EINVAL); /* a header of zeros by now */
}

static void a_damaged_header_is_told(void **state)
{
  struct fixture *f = *state;
  struct record_header h;
  memcpy(&h, (const void *)f->map.header, sizeof h);
  uint64_t size = f->map.size;
  assert_null(record_header_problem(&h, size));
  assert_non_null(strstr(record_header_problem(&h, size - 1), "truncated"));
  h.events.count = 15;
  assert_non_null(record_header_problem(&h, size));
  h.events.count = 1u << 31;
  assert_non_null(record_header_problem(&h, size));
  h.events.count = 16;
  h.rules.count = 9;
  assert_non_null(record_header_problem(&h, size));
  h.rules.count = 8;
  h.state.count = 0;
  assert_null(record_header_problem(&h, size));
  h.state.count = 101;
  assert_non_null(strstr(record_header_problem(&h, size), "truncated"));
  h.state.count = RECORD_MAX_STATE + 1;
  assert_non_null(record_header_problem(&h, size));
  h.state.count = 100;
  h.destinations.offset = UINT64_MAX - 63;
  assert_non_null(record_header_problem(&h, size));
  h.incompatible = 1;
  assert_non_null(strstr(record_header_problem(&h, size), "newer"));
  h.byte_order = 0x04030201;
  assert_non_null(strstr(record_header_problem(&h, size), "byte order"));
  h.magic = record_magic() ^ UINT64_C(1) << 56;
  assert_non_null(strstr(record_header_problem(&h, size), "another version"));
}

#define WITH_FILE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH_FILE(an_event_comes_back_as_it_was),
      WITH_FILE(the_ring_keeps_the_last_and_counts_the_others),
      WITH_FILE(a_torn_cell_costs_one_event_a_round_and_is_never_shown),
      WITH_FILE(an_event_that_no_cell_and_no_counter_has_is_torn),
      WITH_FILE(an_event_with_values_of_none_is_unsound),
      WITH_FILE(an_event_outlives_a_lost_one),
      WITH_FILE(rows_run_out_into_one_for_all_others),
      WITH_FILE(a_reserved_row_is_nobodys_and_goes_back),
      WITH_FILE(a_row_that_counted_is_taken),
      WITH_FILE(a_row_says_who_it_is),
      WITH_FILE(counters_add_up),
      WITH_FILE(destinations_are_told_apart_until_the_table_is_full),
      WITH_FILE(an_event_says_what_a_rule_did),
      WITH_FILE(rules_are_told_apart_until_the_table_is_full),
      WITH_FILE(a_race_for_a_row_takes_one),
      WITH_FILE(a_half_written_rule_is_completed),
      WITH_FILE(rules_are_read_by_row_and_name),
      WITH_FILE(a_hostile_table_of_rules_is_bounded),
      WITH_FILE(a_file_that_shrank_has_no_rules),
      WITH_FILE(the_state_is_zeros_and_shared),
      cmocka_unit_test(sizes),
      WITH_FILE(a_sketch_is_within_a_third_at_any_size),
      cmocka_unit_test(buckets_are_in_order_and_an_eighth_wide),
      cmocka_unit_test(quantiles),
      WITH_FILE(a_file_is_made_once_and_only_for_its_owner),
      WITH_FILE(whether_it_is_mapped_is_seen),
      WITH_FILE(attaching_shares_it),
      WITH_FILE(what_is_no_recording_is_refused),
      WITH_FILE(a_damaged_header_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
