// SPDX-License-Identifier: MIT
//
// Which ports one call offers: against a kernel that is an array of taken ports.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/parse.h"
#include "steer/candidates.h"
#include "steer/range.h"
#include "steer/subflow.h"

/* --- what candidates.c asks of its neighbours ------------------------------------------------ */

static struct world {
  policy_image *image;
  struct policy_machine machine;
  struct policy_ports reserved[1];
  struct policy_state state;
  void *block;
  struct port_run runs[128], cuts[128];
  struct port_base bases[2];
  struct active_rule rule;
  bool taken[65536];
  unsigned singly[65536], covered[65536];
} w;

const struct policy_machine *rules_machine(void)
{
  return &w.machine;
}

const policy_image *rules_image(void)
{
  return w.image;
}

const struct policy_state *rules_state(void)
{
  return &w.state;
}

uint32_t range_from(uint16_t port)
{
  return port < w.machine.low || port > w.machine.high ? 0 : w.machine.high - port + 1u;
}

const struct active_rule *rules_numbered(uint32_t number)
{
  return number ? NULL : &w.rule;
}

bool range_clip(struct policy_ports *ports)
{
  if (ports->low < w.machine.low)
    ports->low = w.machine.low;
  if (ports->high > w.machine.high)
    ports->high = w.machine.high;
  return ports->low <= ports->high;
}

uint32_t rules_count(void)
{
  return policy_rule_count(w.image);
}

void route_ask(struct route *r, int fd, uint8_t protocol, const struct endpoint *peer,
               const uint8_t local[16])
{
  (void)fd, (void)protocol, (void)local;
  r->local = peer->address[12] == 10;
}

static void begin_world(const char *rule)
{
  static const uint64_t key[2] = {1, 2};
  struct policy_problems problems;
  char json[512];
  size_t size;
  memset(&w, 0, sizeof w);
  snprintf(json, sizeof json, "{\"version\":1,\"rules\":[{\"name\":\"r\",%s}]}", rule);
  w.image = policy_parse(json, strlen(json), &size, &problems);
  if (!w.image)
    print_error("%s: %s\n", rule, problems.lines[0]);
  assert_non_null(w.image);
  policy_problems_free(&problems);
  w.reserved[0].low = w.reserved[0].high = 40010;
  w.machine = (struct policy_machine){32768, 60999, w.reserved, 1};
  size = policy_state_size(w.image);
  w.block = aligned_alloc(64, size);
  memset(w.block, 0, size);
  policy_state_begin(w.block, w.image, key);
  assert_true(policy_state_open(&w.state, w.block, size, w.image));
  w.rule.rule = policy_rule(w.image, 0);
  struct port_bases bases = port_bases_begin(w.bases, 1);
  struct port_base *base = port_bases_find(&bases, w.rule.rule);
  port_base_make(base, &w.machine, w.runs);
  w.rule.set = port_set_make(w.image, w.rule.rule, base, w.cuts);
  w.rule.order = policy_state_order(&w.state, w.image, 0);
}

static void end_world(void)
{
  free(w.block);
  free(w.image);
}

/* --- a call ---------------------------------------------------------------------------------- */

static struct candidates_flow flow_to(const char *first_octet, uint16_t port)
{
  struct candidates_flow flow = {.transport = POLICY_TCP, .now = 1000000000};
  flow.peer.address[10] = flow.peer.address[11] = 0xff;
  flow.peer.address[12] = (uint8_t)atoi(first_octet);
  flow.peer.address[15] = 1;
  flow.peer.port = port;
  return flow;
}

/* The kernel's answer, 0 for none: that of __inet_hash_connect() of Linux 6.3 to 6.7, which does not
 * look at each port of an odd number (207184853dbd). */
static uint16_t answer(const struct candidate *offer)
{
  static uint32_t random = 1;
  uint32_t low = offer->low, high = offer->high + 1u, remaining = high - low;
  random = random * 1664525 + 1013904223;
  if (remaining > 1)
    remaining &= ~1u;
  uint32_t offset = (random >> 8) % remaining & ~1u;
  for (int pass = 0; pass < (remaining > 1 ? 2 : 1); pass++) {
    uint32_t port = low + offset + (uint32_t)pass;
    for (uint32_t i = 0; i < remaining; i += 2, port += 2) {
      if (port >= high)
        port -= remaining;
      if (!w.taken[port])
        return (uint16_t)port;
    }
  }
  return 0;
}

static void count_offer(const struct candidate *offer)
{
  assert_int_equal(offer->high - offer->low + 1u, offer->count);
  for (uint32_t port = offer->low; port <= offer->high; port++) {
    uint32_t index;
    assert_true(port_set_index(&w.rule.set, (uint16_t)port, &index));
    assert_int_equal(index, offer->index + (port - offer->low));
    w.covered[port]++;
    w.singly[port] += offer->count == 1;
  }
}

/* One call: the port it got, or 0. */
static uint16_t call(struct candidates_flow *flow, uint32_t *offers)
{
  struct candidates c;
  struct candidate offer;
  uint16_t port = 0;
  *offers = 0;
  memset(w.singly, 0, sizeof w.singly);
  memset(w.covered, 0, sizeof w.covered);
  candidates_begin(&c, &w.rule, flow);
  while (!port && candidates_next(&c, &offer)) {
    ++*offers;
    count_offer(&offer);
    port = answer(&offer);
    if (!port)
      candidates_refused(&c, &offer);
  }
  if (port) {
    w.taken[port] = true;
    candidates_granted(&c, port, false);
  }
  candidates_end(&c);
  return port;
}

static const char *const rules[] = {
    "\"local_ports\":[\"40000-40299\"],\"order\":\"kernel\"",
    "\"local_ports\":[\"40000-40299\"],\"order\":\"random\"",
    "\"local_ports\":[\"40000-40299\"],\"order\":\"random-start\"",
    "\"local_ports\":[\"40000-40299\"],\"order\":\"hash\"",
    "\"local_ports\":[\"40000-40299\"],\"order\":\"double-hash\"",
    "\"local_ports\":[\"40000-40299\"],\"order\":\"random-increment\"",
    "\"local_ports\":[\"40000-40299\"],\"order\":\"sequential\"",
    "\"local_ports\":[\"40000-40299\"],\"order\":\"least-recent\"",
    "\"local_ports\":[\"60900-61100\"],\"order\":\"random\"",
    "\"local_ports\":[\"60900-61100\"],\"order\":\"kernel\"",
    "\"local_ports\":[\"2000-2199\"],\"order\":\"random\"",
    "\"local_ports\":[\"2000-2199\"],\"order\":\"kernel\"",
    "\"local_ports\":[\"50000-50999\"],\"mod\":{\"of\":8,\"is\":3},\"order\":\"random\"",
    "\"local_ports\":[\"50000-50999\"],\"mod\":{\"of\":8,\"is\":3},\"order\":\"kernel\"",
    "\"local_ports\":[\"50000-50099\",\"50200-50299\"],\"except\":[50030],\"via\":\"bind\"",
    "\"local_ports\":[\"50000-50099\",\"39000-40099\"],\"via\":\"range\",\"order\":\"kernel\"",
    "\"local_ports\":[\"40001-40299\"],\"order\":\"kernel\"",
    "\"local_ports\":[\"40001-40299\"],\"order\":\"random\"",
    "\"local_ports\":[\"40001-40299\"],\"order\":\"sequential\"",
    "\"local_ports\":[\"40151-40199\"],\"order\":\"kernel\"",
    "\"local_ports\":[45000]",
    "\"local_ports\":[45000],\"order\":\"kernel\"",
};

/* Every port of the set is given out, one a call, and then none: whatever was taken meanwhile, and
 * whatever the hints say. A call that ends with none has offered all, and none of them twice by
 * itself. */
static void every_port_is_found(void **state)
{
  (void)state;
  for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
    struct candidates_flow flow = flow_to("10", 443);
    uint32_t offers, got = 0;
    begin_world(rules[r]);
    while (call(&flow, &offers))
      got++;
    if (got != w.rule.set.size)
      print_error("%s: %u of %u\n", rules[r], got, w.rule.set.size);
    assert_int_equal(got, w.rule.set.size);
    for (uint32_t i = 0; i < w.rule.set.size; i++) {
      uint16_t port = port_set_port(&w.rule.set, i);
      assert_true(w.covered[port] >= 1);
      if (w.singly[port] > 1)
        print_error("%s: port %u was offered %u times\n", rules[r], port, w.singly[port]);
      assert_true(w.singly[port] <= 1);
    }
    end_world();
  }
}

/* Ports that the hints hold for taken, and are free again, are found all the same. */
static void stale_hints_hide_nothing(void **state)
{
  (void)state;
  for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
    struct candidates_flow flow = flow_to("10", 443);
    uint32_t offers;
    begin_world(rules[r]);
    while (call(&flow, &offers))
      ;
    for (uint32_t i = 0; i < w.rule.set.size; i += 1 + w.rule.set.size / 7) {
      uint16_t port = port_set_port(&w.rule.set, i);
      w.taken[port] = false;
      assert_int_equal(call(&flow, &offers), port);
    }
    end_world();
  }
}

static void no_port_connects_to_itself(void **state)
{
  (void)state;
  for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
    uint32_t offers, got = 0;
    begin_world(rules[r]);
    uint16_t self = port_set_port(&w.rule.set, w.rule.set.size / 2);
    struct candidates_flow flow = flow_to("127", self);
    for (uint16_t port; (port = call(&flow, &offers)); got++)
      assert_int_not_equal(port, self);
    assert_int_equal(w.covered[self], 0);
    assert_int_equal(got, w.rule.set.size - 1);
    end_world();
  }
}

static void tries_are_a_bound(void **state)
{
  struct candidates_flow flow = flow_to("10", 443);
  uint32_t offers;
  (void)state;
  begin_world("\"local_ports\":[\"40000-40299\"],\"tries\":5");
  memset(w.taken, true, sizeof w.taken);
  assert_int_equal(call(&flow, &offers), 0);
  assert_int_equal(offers, 5);
  end_world();
}

/* What is known to be taken costs no offer: of 28,232 ports 28 are free, and once the windows have
 * told which, a call makes three offers at most, on the average. */
static void knows_what_is_taken(void **state)
{
  struct candidates_flow flow = flow_to("10", 443);
  static const char *const both[] = {"\"order\":\"random\"", "\"order\":\"kernel\""};
  (void)state;
  for (int r = 0; r < 2; r++) {
    uint32_t offers, total = 0;
    begin_world(both[r]);
    for (uint32_t port = 32768; port < 61000; port++)
      w.taken[port] = port % 1000 != 0;
    for (int i = 0; i < 500; i++) {
      uint16_t port = call(&flow, &offers);
      assert_int_equal(port % 1000, 0);
      w.taken[port] = false;
      candidates_released((uint64_t)1 << 32 | (uint64_t)(port - 32768) << 8 | 1);
    }
    for (int i = 0; i < 500; i++) {
      uint16_t port = call(&flow, &offers);
      w.taken[port] = false;
      total += offers;
      candidates_released((uint64_t)1 << 32 | (uint64_t)(port - 32768) << 8 | 1);
    }
    if (total > 1500)
      print_error("%s: %u offers for 500 calls\n", both[r], total);
    assert_true(total <= 1500);
    end_world();
  }
}

static void rest_is_kept(void **state)
{
  struct candidates_flow flow = flow_to("10", 443), other = flow_to("10", 444);
  uint32_t offers;
  (void)state;
  begin_world("\"local_ports\":[\"40000-40003\"],\"rest\":2");
  for (int i = 0; i < 4; i++) {
    uint16_t port = call(&flow, &offers);
    assert_int_not_equal(port, 0);
    w.taken[port] = false;
  }
  assert_int_equal(call(&flow, &offers), 0);
  assert_int_equal(offers, 0);
  assert_int_not_equal(call(&other, &offers), 0);
  memset(w.taken, false, sizeof w.taken);
  flow.now += UINT64_C(2200000000);
  assert_int_not_equal(call(&flow, &offers), 0);
  end_world();
}

/* Whoever shares the state can unset what this call notes, again and again. */
/* The machine's range is 32768 to 60999. */
static void further_subflows_stay_within(void **state)
{
  (void)state;
  static const struct {
    const char *rule;
    uint16_t port, low, high; /* 0: none */
  } cases[] = {
      {"\"local_ports\":\"40000-40099\"", 40050, 40000, 40099},
      {"\"local_ports\":\"40000-40099\"", 40000, 40000, 40099},
      {"\"local_ports\":\"40000-40099\",\"except\":\"40050\"", 40049, 40000, 40049},
      {"\"local_ports\":\"40000-40099\",\"except\":\"40050\"", 40099, 40051, 40099},
      {"\"local_ports\":[40000,\"40002-40003\"]", 40000, 40000, 40000},
      {"\"local_ports\":\"1-65535\"", 40000, 32768, 60999},
      {"\"local_ports\":\"1-65535\"", 1, 32768, 60999},
      {"\"local_ports\":\"1-65535\"", 65535, 32768, 60999},
      {"\"local_ports\":\"32000-33000\"", 32000, 32768, 33000},
      {"\"local_ports\":\"60990-61010\"", 61010, 60990, 60999},
      {"\"local_ports\":[\"1000-1099\",60999,\"61001-61003\"]", 1000, 60999, 60999},
      {"\"local_ports\":\"1000-1099\"", 1000, 0, 0},
      {"\"local_ports\":\"61000-65535\"", 61000, 0, 0},
      {"\"mod\":{\"of\":8,\"is\":3},\"local_ports\":\"1-65535\"", 40003, 40003, 40003},
      {"\"mod\":{\"of\":8,\"is\":3},\"local_ports\":\"20000-32779\"", 20003, 32771, 32771 + 8},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct policy_ports ports;
    begin_world(cases[i].rule);
    print_message("# %s, %u\n", cases[i].rule, cases[i].port);
    assert_int_equal(subflow_ports(&w.rule.set, cases[i].port, &ports), cases[i].low != 0);
    if (cases[i].low) {
      assert_true(ports.low >= cases[i].low && ports.high <= cases[i].high);
      assert_true(w.rule.set.stride > 1 || ports.low == cases[i].low);
      assert_true(w.rule.set.stride > 1 || ports.high == cases[i].high);
      for (uint32_t port = ports.low, index; port <= ports.high; port++)
        assert_true(port_set_index(&w.rule.set, (uint16_t)port, &index));
    }
    end_world();
  }
}

static void hostile_hints_end(void **state)
{
  (void)state;
  const char *hostile[] = {"\"local_ports\":[\"40000-40999\"]",
                           "\"local_ports\":[\"40000-40999\"],\"order\":\"kernel\"",
                           "\"local_ports\":[\"40000-40999\"],\"order\":\"random-start\"",
                           "\"local_ports\":[\"40000-40999\"],\"via\":\"bind\""};
  for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
    struct candidates_flow flow = flow_to("10", 80);
    struct candidates c;
    struct candidate offer;
    begin_world(hostile[i]);
    uint32_t offers = 0, most = 3 * w.rule.set.size;
    candidates_begin(&c, &w.rule, &flow);
    while (offers <= most && candidates_next(&c, &offer)) {
      candidates_refused(&c, &offer);
      for (int word = 0; c.taken && word < TAKEN_WORDS; word++)
        atomic_store(&c.taken->bits[word], 0);
      offers++;
    }
    candidates_end(&c);
    assert_in_range(offers, 1, most);
    end_world();
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hostile_hints_end),
      cmocka_unit_test(every_port_is_found),
      cmocka_unit_test(stale_hints_hide_nothing),
      cmocka_unit_test(no_port_connects_to_itself),
      cmocka_unit_test(tries_are_a_bound),
      cmocka_unit_test(knows_what_is_taken),
      cmocka_unit_test(rest_is_kept),
      cmocka_unit_test(further_subflows_stay_within),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
