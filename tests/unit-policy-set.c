// SPDX-License-Identifier: MIT
//
// policy/set.c: every set is compared with one that is made port by port.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/set.h"
#include "tests/policy-image.h"

static struct image image;
static struct port_run runs[32768], cuts[65536];
static struct port_base slots[2];

/* The rule's set, of a base of its own. */
static struct port_set made(const struct policy_rule *rule, const struct policy_machine *m)
{
  memset(slots, 0, sizeof slots);
  assert_true(port_bases_size(1) <= sizeof slots);
  struct port_bases bases = port_bases_begin(slots, 1);
  struct port_base *base = port_bases_find(&bases, rule);
  assert_true(port_base_most_runs(base, m) <= sizeof runs / sizeof *runs);
  assert_true(port_set_most_cuts(rule) <= sizeof cuts / sizeof *cuts);
  port_base_make(base, m, runs);
  assert_ptr_equal(port_bases_find(&bases, rule), base);
  assert_true(base->run_count <= port_base_most_runs(base, m));
  return port_set_make(&image.header, rule, base, cuts);
}

static uint32_t runs_of(const struct port_set *set)
{
  uint32_t count = 0;
  for (uint32_t i = 0; i < set->size; i = port_set_run_end(set, i))
    count++;
  return count;
}

static bool listed(const struct policy_ports *list, uint32_t count, uint32_t port)
{
  for (uint32_t i = 0; i < count; i++)
    if (list[i].low <= port && port <= list[i].high)
      return true;
  return false;
}

static bool wanted(const struct policy_rule *rule, const struct policy_machine *m, uint32_t port)
{
  bool machine = port && m->low <= port && port <= m->high &&
                 !listed(m->reserved, m->reserved_count, port);
  if ((!rule->ports.count || rule->via == POLICY_RANGE) && !machine)
    return false;
  if (rule->ports.count && !listed(image.ports + rule->ports.first, rule->ports.count, port))
    return false;
  return port && !listed(image.ports + rule->except.first, rule->except.count, port) &&
         port % rule->mod_of == rule->mod_is;
}

/* The set is as it should be, by both ways of asking it. Returns its size. */
static uint32_t check(const struct policy_rule *rule, const struct policy_machine *m)
{
  uint32_t size = 0, index;
  struct port_set set = made(rule, m);
  assert_true(set.cut_count <= port_set_most_cuts(rule));
  for (uint32_t port = 0; port < 65536; port++) {
    bool in = wanted(rule, m, port);
    assert_int_equal(port_set_index(&set, (uint16_t)port, &index), in);
    if (!in)
      continue;
    assert_int_equal(index, size);
    assert_int_equal(port_set_port(&set, index), port);
    size++;
  }
  assert_int_equal(set.size, size);
  for (index = 0; index < size;) {
    uint32_t end = port_set_run_end(&set, index), by = set.stride;
    assert_true(end > index && end <= size);
    assert_int_equal(port_set_port(&set, end - 1) - port_set_port(&set, index),
                     (end - 1 - index) * by);
    assert_true(end == size || port_set_port(&set, end) > port_set_port(&set, end - 1) + by);
    index = end;
  }
  for (index = 0; index < size;) {
    uint32_t end = port_set_contiguous(&set, index);
    assert_true(end > index && end <= size);
    assert_int_equal(port_set_port(&set, end - 1) - port_set_port(&set, index), end - 1 - index);
    assert_true(rule->mod_of > 1 || end == size ||
                port_set_port(&set, end) > port_set_port(&set, end - 1) + 1);
    index = end;
  }
  return size;
}

static const struct policy_machine machine = {.low = 32768, .high = 60999};

static struct policy_rule *fresh(void)
{
  image_begin(&image);
  return image_rule(&image);
}

static void without_ports_it_is_the_machines_range(void **state)
{
  (void)state;
  struct policy_rule *rule = fresh();
  static const struct policy_ports reserved[] = {
      {1, 7}, {32768, 32768}, {40000, 40009}, {60999, 65535}};
  struct policy_machine m = {
      .low = 32768, .high = 60999, .reserved = reserved, .reserved_count = 4};
  assert_int_equal(check(rule, &machine), 28232);
  assert_int_equal(check(rule, &m), 28232 - 12);
  image_ports(&image, &rule->except, 40005, 40020);
  assert_int_equal(check(rule, &m), 28232 - 12 - 11);
  m.low = 0; /* not what a kernel says, and yet no port 0 */
  check(rule, &m);
  m.low = 61000, m.high = 60999;
  assert_int_equal(check(rule, &m), 0);
}

static void listed_ports_may_lie_anywhere(void **state)
{
  (void)state;
  struct policy_rule *rule = fresh();
  static const struct policy_ports reserved[] = {{40000, 40000}};
  struct policy_machine m = {
      .low = 32768, .high = 60999, .reserved = reserved, .reserved_count = 1};
  image_ports(&image, &rule->ports, 1, 1);
  image_ports(&image, &rule->ports, 1024, 2047);
  image_ports(&image, &rule->ports, 39990, 40010);
  image_ports(&image, &rule->ports, 60990, 65535);
  image_ports(&image, &rule->except, 65530, 65535);
  assert_int_equal(check(rule, &m), 1 + 1024 + 21 + 4540);
  rule->via = POLICY_RANGE;
  assert_int_equal(check(rule, &m), 20 + 10);
  rule->via = POLICY_BIND;
  assert_int_equal(check(rule, &m), 1 + 1024 + 21 + 4540);
}

static void mod_takes_every_nth(void **state)
{
  (void)state;
  struct policy_rule *rule = fresh();
  uint32_t all = 0;
  rule->mod_of = 8;
  for (rule->mod_is = 0; rule->mod_is < 8; rule->mod_is++)
    all += check(rule, &machine);
  assert_int_equal(all, 28232);
  rule->mod_of = 65535, rule->mod_is = 40000;
  assert_int_equal(check(rule, &machine), 1);
  rule->mod_is = 100;
  assert_int_equal(check(rule, &machine), 0);
  image_ports(&image, &rule->ports, 1, 65535);
  rule->mod_of = 2, rule->mod_is = 0;
  assert_int_equal(check(rule, &machine), 32767);
  image_ports(&image, &rule->except, 1001, 1003); /* odd ones: the run is not cut there... */
  image_ports(&image, &rule->except, 2001, 2001);
  check(rule, &machine);
  struct port_set set = made(rule, &machine);
  assert_int_equal(runs_of(&set), 2);
}

static void single_ports_are_runs_of_one(void **state)
{
  (void)state;
  struct policy_rule *rule = fresh();
  for (uint32_t port = 1; port < 65536; port += 2)
    image_ports(&image, &rule->ports, (uint16_t)port, (uint16_t)port);
  assert_int_equal(check(rule, &machine), 32768);
  rule->ports.count = 0;
  for (uint32_t i = 0; i < 32768; i++)
    image.ports[i].low++, image.ports[i].high++;
  struct policy_machine m = {
      .low = 1, .high = 65535, .reserved = image.ports, .reserved_count = 32767};
  struct port_set set = made(rule, &m);
  assert_int_equal(set.size, 32768);
  assert_int_equal(runs_of(&set), 32768);
  assert_int_equal(port_set_port(&set, 32767), 65535);
}

/* Sorted and disjoint ranges with gaps. */
static uint32_t some_ranges(struct policy_ports *list, uint32_t most)
{
  uint32_t count = 0, at = 1;
  while (count < most) {
    uint32_t low = at + (uint32_t)rand() % 3000, high = low + (uint32_t)rand() % 3000;
    if (high > 65535)
      break;
    list[count++] = (struct policy_ports){.low = (uint16_t)low, .high = (uint16_t)high};
    at = high + 2;
  }
  return count;
}

static void any_three_lists_agree_with_port_by_port(void **state)
{
  (void)state;
  srand(6056);
  for (int i = 0; i < 200; i++) {
    struct policy_rule *rule = fresh();
    struct policy_ports reserved[20];
    struct policy_machine m = {.low = (uint16_t)(1 + rand() % 40000), .reserved = reserved};
    m.high = (uint16_t)(m.low + rand() % 25000);
    m.reserved_count = some_ranges(reserved, (uint32_t)rand() % 20);
    rule->ports.count = some_ranges(image.ports, (uint32_t)rand() % 20);
    rule->except.first = rule->ports.count;
    rule->except.count = some_ranges(image.ports + rule->except.first, (uint32_t)rand() % 20);
    rule->via = (uint8_t)(rand() % POLICY_VIAS);
    rule->mod_of = (uint16_t)(rand() % 3 ? 1 : 1 + rand() % 20);
    rule->mod_is = (uint16_t)(rand() % rule->mod_of);
    check(rule, &m);
  }
}

static void what_the_machine_gives(void **state)
{
  (void)state;
  static const struct policy_ports reserved[] = {{32768, 32769}, {40000, 40000}, {50000, 50009}};
  struct policy_machine m = {
      .low = 32768, .high = 60999, .reserved = reserved, .reserved_count = 3};
  for (uint32_t port = 0; port < 65536; port++)
    assert_int_equal(policy_machine_gives(&m, (uint16_t)port),
                     port >= 32768 && port <= 60999 && !listed(reserved, 3, port));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_ports_it_is_the_machines_range),
      cmocka_unit_test(listed_ports_may_lie_anywhere),
      cmocka_unit_test(mod_takes_every_nth),
      cmocka_unit_test(single_ports_are_runs_of_one),
      cmocka_unit_test(any_three_lists_agree_with_port_by_port),
      cmocka_unit_test(what_the_machine_gives),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
