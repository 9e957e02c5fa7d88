// SPDX-License-Identifier: MIT
#include "fuzz.h"

#include <string.h>

#include "policy/destination_text.h"
#include "policy/match.h"
#include "policy/order.h"
#include "policy/plain.h"
#include "policy/pool.h"
#include "policy/prefix_text.h"
#include "policy/rest.h"
#include "policy/set.h"
#include "policy/siphash.h"
#include "policy/state.h"

#define RULES_USED 16u        /* of a policy: what is done with each takes a while */
#define SETS_CHECKED 2u       /* of these */
#define STATE_USED (4u << 20) /* bytes: a larger state would be cleared most of the time */
#define WALK_WHOLE 700u       /* numbers of a set that is walked to its end */

char *text_of(const uint8_t *data, size_t size)
{
  char *text = malloc(size + 1);
  HOLDS(text);
  if (size)
    memcpy(text, data, size);
  text[size] = '\0';
  return text;
}

void check_line(const char *line, size_t most)
{
  HOLDS(strlen(line) < most);
  for (size_t n; *line; line += n)
    HOLDS((n = policy_plain(line)) > 0);
}

/* Numbers that differ, the same for the same image. */
static uint64_t some(const policy_image *p, uint64_t n)
{
  const uint64_t key[2] = {p->checksum, 1};
  return siphash(key, &n, 1);
}

static uint32_t used_rules(const policy_image *p)
{
  return policy_rule_count(p) < RULES_USED ? policy_rule_count(p) : RULES_USED;
}

/* --- matching ------------------------------------------------------------------------------- */

static bool bits_equal(const uint8_t *a, const uint8_t *b, int bits)
{
  for (int i = 0; i < bits; i++)
    if ((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1)
      return false;
  return true;
}

static bool takes(const policy_image *p, const struct policy_rule *rule,
                  const struct policy_connection *c)
{
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  int family = bits_equal(c->address, mapped, 96) ? POLICY_IPV4 : POLICY_IPV6;
  if (!(rule->transports & c->transport))
    return false;
  for (uint32_t i = 0; i < rule->destinations.count; i++) {
    const struct policy_destination *d = policy_destinations(p) + rule->destinations.first + i;
    if ((d->families & family) && bits_equal(d->address, c->address, d->prefix) &&
        d->low <= c->port && c->port <= d->high)
      return true;
  }
  return !rule->destinations.count;
}

static void match(const policy_image *p, const struct policy_connection *c)
{
  uint32_t numbers[RULES_USED], count = used_rules(p), first = POLICY_NO_RULE;
  for (uint32_t i = 0; i < count; i++) {
    const struct policy_rule *rule = policy_rule(p, i);
    bool taken = takes(p, rule, c);
    numbers[i] = i;
    HOLDS(policy_rule_takes(p, rule, c) == taken);
    if (taken && first == POLICY_NO_RULE)
      first = i;
  }
  HOLDS(policy_match(p, numbers, count, c) == first);
  uint32_t at_bind = policy_match_bind(p, numbers, count, c->transport);
  HOLDS(at_bind == POLICY_NO_RULE || at_bind < count);
}

/* At the edges of each destination, and just outside them. */
static void match_around(const policy_image *p, const struct policy_destination *d)
{
  struct policy_connection c = {.transport = POLICY_TCP, .port = d->low};
  memcpy(c.address, d->address, sizeof c.address);
  match(p, &c);
  c.port = d->high;
  c.transport = POLICY_UDP;
  match(p, &c);
  c.port++;
  match(p, &c);
  c.port = d->low;
  for (int bit = d->prefix - 1; bit < d->prefix + 1; bit++)
    if (bit >= 0 && bit < 128) {
      c.address[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
      match(p, &c);
    }
}

static void match_all(const policy_image *p)
{
  struct policy_connection c = {.transport = POLICY_TCP, .port = 443};
  match(p, &c);
  uint32_t count = p->destinations.count < 64 ? p->destinations.count : 64;
  for (uint32_t i = 0; i < count; i++)
    match_around(p, &policy_destinations(p)[i]);
}

static void name_programs(const policy_image *p)
{
  policy_binds_late(p, "/usr/bin/python3", "nginx");
  for (uint32_t i = 0; i < used_rules(p); i++) {
    struct policy_span programs = policy_rule(p, i)->programs;
    HOLDS(policy_names_program(p, programs, "", "") || programs.count);
    for (uint32_t k = 0; k < programs.count && k < 8; k++) {
      const char *glob = policy_program(p, programs.first + k);
      bool plain = !strpbrk(glob, "*?[\\/");
      HOLDS(policy_names_program(p, programs, glob, "") || !plain);
    }
  }
}

/* --- as text and back ----------------------------------------------------------------------- */

static void write_destinations(const policy_image *p)
{
  char text[DESTINATION_TEXT], problem[400];
  struct policy_destination again;
  for (uint32_t i = 0; i < p->destinations.count && i < 256; i++) {
    const struct policy_destination *d = &policy_destinations(p)[i];
    policy_destination_text(d, text);
    check_line(text, sizeof text);
    HOLDS(policy_destination_parse(text, &again, problem, sizeof problem));
    HOLDS(memcmp(d, &again, sizeof again) == 0);
  }
}

static void write_addresses(const policy_image *p, struct policy_span span, bool ipv4)
{
  char text[PREFIX_TEXT], problem[400];
  struct prefix again;
  for (uint32_t i = 0; i < span.count && i < 64; i++) {
    const struct policy_address *a = &policy_addresses(p)[span.first + i];
    prefix_text(a->address, a->prefix, ipv4, false, text);
    HOLDS(prefix_parse(text, &again, problem, sizeof problem));
    HOLDS(again.ipv4 == ipv4 && again.length == a->prefix);
    HOLDS(memcmp(again.address, a->address, sizeof a->address) == 0);
  }
}

static void draw_addresses(const policy_image *p, struct policy_span span)
{
  uint8_t address[16];
  uint32_t size = policy_pool_size(p, span), before = 0;
  for (uint32_t i = 0; i < span.count; i++) {
    const struct policy_address *a = &policy_addresses(p)[span.first + i];
    policy_pool_address(p, span, before, address);
    HOLDS(memcmp(address, a->address, sizeof address) == 0);
    policy_pool_address(p, span, before + a->count - 1, address);
    HOLDS(bits_equal(address, a->address, a->prefix));
    before += a->count;
    if (i == 64)
      return;
  }
  HOLDS(before == size);
}

/* --- sets ----------------------------------------------------------------------------------- */

static const struct policy_ports reserved[] = {
    {1, 1}, {8080, 8090}, {40000, 40000}, {65535, 65535}};
static const struct policy_machine machines[] = {
    {32768, 60999, NULL, 0}, {1, 65535, reserved, 4}, {40000, 40000, reserved, 4}};

static void mark(uint8_t *ports, const struct policy_ports *list, uint32_t count, uint8_t value)
{
  for (uint32_t i = 0; i < count; i++)
    memset(ports + list[i].low, value, list[i].high - list[i].low + 1u);
}

/* A byte a port: what berth-policy(5) says of a set, and nothing clever. */
static void mark_set(const policy_image *p, const struct policy_rule *rule,
                     const struct policy_machine *m, uint8_t ports[65536])
{
  const struct policy_ports range = {m->low, m->high};
  memset(ports, 0, 65536);
  if (rule->ports.count)
    mark(ports, policy_ports(p) + rule->ports.first, rule->ports.count, 1);
  else
    mark(ports, &range, 1, 1);
  if (rule->except.count)
    mark(ports, policy_ports(p) + rule->except.first, rule->except.count, 0);
  if (!rule->ports.count || rule->via == POLICY_RANGE) {
    mark(ports, m->reserved, m->reserved_count, 0);
    memset(ports, 0, m->low);
    memset(ports + m->high + 1, 0, 65535u - m->high);
  }
  for (uint32_t port = 0; port < 65536; port++)
    if (port % rule->mod_of != rule->mod_is)
      ports[port] = 0;
  ports[0] = 0;
}

static void check_set(const policy_image *p, const struct policy_rule *rule,
                      const struct policy_machine *m, const struct port_set *set)
{
  static uint8_t ports[65536];
  uint32_t index, count = 0;
  mark_set(p, rule, m, ports);
  for (uint32_t port = 0; port < 65536; port++) {
    if (ports[port] && (count % 97 == 0 || set->size < 300)) {
      HOLDS(port_set_index(set, (uint16_t)port, &index) && index == count);
      HOLDS(port_set_port(set, index) == port);
      uint32_t end = port_set_contiguous(set, index);
      HOLDS(end > index && end <= set->size);
    } else if (port % 97 == 0 && !ports[port]) {
      HOLDS(!port_set_index(set, (uint16_t)port, &index));
    }
    count += ports[port];
  }
  HOLDS(set->size == count);
}

static void check_machine(const struct policy_machine *m)
{
  for (uint32_t port = 0; port < 65536; port += 61) {
    bool gives = m->low <= port && port <= m->high;
    for (uint32_t i = 0; i < m->reserved_count; i++)
      gives &= port < m->reserved[i].low || port > m->reserved[i].high;
    HOLDS(policy_machine_gives(m, (uint16_t)port) == gives);
  }
}

/* As much memory as is said to be enough, for AddressSanitizer to guard. The caller frees it. */
static struct port_set make_set(const policy_image *p, const struct policy_rule *rule,
                                const struct policy_machine *m)
{
  struct port_bases bases = port_bases_begin(calloc(1, port_bases_size(1)), 1);
  HOLDS(bases.slots);
  struct port_base *base = malloc(sizeof *base);
  HOLDS(base);
  *base = *port_bases_find(&bases, rule);
  free(bases.slots);
  struct port_run *runs = calloc(port_base_most_runs(base, m), sizeof *runs);
  struct port_run *cuts = calloc(port_set_most_cuts(rule), sizeof *cuts);
  HOLDS(runs && cuts);
  port_base_make(base, m, runs);
  return port_set_make(p, rule, base, cuts);
}

static void free_set(struct port_set *set)
{
  free((void *)(uintptr_t)set->cuts);
  free((void *)(uintptr_t)set->base->runs);
  free((void *)(uintptr_t)set->base);
}

/* On one of the machines: a set is compared port by port, which takes most of a run. */
static void check_sets(const policy_image *p)
{
  uint32_t count = used_rules(p) < SETS_CHECKED ? used_rules(p) : SETS_CHECKED;
  for (uint32_t i = 0; i < count; i++) {
    const struct policy_rule *rule = policy_rule(p, i);
    const struct policy_machine *m = &machines[some(p, i) % 3];
    struct port_set set = make_set(p, rule, m);
    check_set(p, rule, m, &set);
    check_machine(m);
    free_set(&set);
  }
}

/* --- orders --------------------------------------------------------------------------------- */

/* Gives each number once, whatever the words hold that processes share. */
static void walk(struct policy_state *s, const policy_image *p, uint32_t rule, uint32_t size)
{
  static uint8_t seen[65536];
  struct order_state order = policy_state_order(s, p, rule);
  struct order_input in = {.size = size,
                           .flow = policy_state_draw(s),
                           .other_flow = policy_state_draw(s),
                           .random = policy_state_draw(s),
                           .state = &order};
  struct order_walk w;
  uint32_t index = 0, given = 0;
  memset(seen, 0, size);
  order_begin(&w, policy_rule(p, rule)->order, &in);
  while ((size <= WALK_WHOLE || given < WALK_WHOLE) && order_next(&w, &index)) {
    HOLDS(index < size && !seen[index]);
    seen[index] = 1;
    given++;
  }
  HOLDS(given == (size <= WALK_WHOLE ? size : WALK_WHOLE));
  order_settle(&w, index);
  order_release(&order, index);
}

static void turn(struct policy_state *s, const policy_image *p, uint32_t rule)
{
  const struct policy_rule *r = policy_rule(p, rule);
  uint8_t address[16];
  uint32_t ipv4 = policy_pool_size(p, r->ipv4), ipv6 = policy_pool_size(p, r->ipv6);
  if (ipv4)
    policy_pool_address(p, r->ipv4, policy_state_turn(s, rule, POLICY_IPV4) % ipv4, address);
  if (ipv6)
    policy_pool_address(p, r->ipv6, policy_state_turn(s, rule, POLICY_IPV6) % ipv6, address);
}

static void note_taken(struct policy_state *s, const policy_image *p, uint32_t rule, uint32_t size)
{
  uint64_t tag = some(p, rule) | 1, now = 100 * TAKEN_AGE;
  uint32_t number = (uint32_t)(some(p, rule + 1) % size), width = 0;
  struct taken_map *map = taken_make(s->taken, tag, now);
  if (!map)
    return;
  taken_set(map, number);
  taken_fill(map, number, size - number);
  taken_free_count(map, size);
  HOLDS(taken_nth_free(map, size, number) <= size);
  uint32_t window = taken_next_window(map, size, number, &width);
  HOLDS(window >= size || (width && window + width <= size));
  taken_refused(s->taken, map, number, 1, taken_given_back(s->taken));
  taken_give_back(s->taken, tag & TAKEN_TAG_END, number);
  if (!taken_reserve(s->taken, tag, number, now, number))
    taken_unreserve(s->taken, tag, number, number);
  taken_find(s->taken, tag, now + 2 * TAKEN_AGE);
}

static void rest(struct policy_state *s, const policy_image *p, uint32_t rule)
{
  uint32_t seconds = policy_rule(p, rule)->rest, now = (uint32_t)some(p, rule);
  if (!seconds)
    return;
  rest_is_over(&s->rest, some(p, rule + 2), now, seconds);
  rest_given(&s->rest, some(p, rule + 2), now);
}

static void use_state(struct policy_state *s, const policy_image *p)
{
  for (uint32_t rule = 0; rule < used_rules(p); rule++) {
    struct port_set set = make_set(p, policy_rule(p, rule), &machines[0]);
    turn(s, p, rule);
    if (set.size) {
      walk(s, p, rule, set.size);
      note_taken(s, p, rule, set.size);
      rest(s, p, rule);
    }
    free_set(&set);
  }
}

/* What another process, of whatever mind, left in the words that it shares. */
static void spoil(unsigned char *block, size_t size, const policy_image *p)
{
  uint64_t word = some(p, 4);
  for (size_t at = sizeof(struct policy_state_header); at + 8 <= size; at += 8) {
    word = word * UINT64_C(6364136223846793005) + 1;
    memcpy(block + at, &word, sizeof word);
  }
}

static void run(const policy_image *p)
{
  struct policy_state s;
  uint64_t key[2] = {some(p, 1), some(p, 2)};
  size_t size = policy_state_size(p);
  unsigned char *block;
  if (size > STATE_USED)
    return;
  HOLDS(block = aligned_alloc(64, size));
  memset(block, 0, size);
  HOLDS(!policy_state_open(&s, block, size, p));
  policy_state_begin(block, p, key);
  HOLDS(!policy_state_open(&s, block, size - 1, p) && policy_state_open(&s, block, size, p));
  use_state(&s, p);
  spoil(block, size, p);
  use_state(&s, p);
  free(block);
}

void use_image(const policy_image *p)
{
  match_all(p);
  name_programs(p);
  write_destinations(p);
  for (uint32_t i = 0; i < used_rules(p); i++) {
    const struct policy_rule *rule = policy_rule(p, i);
    check_line(policy_string(p, rule->name), POLICY_MAX_NAME + 1);
    write_addresses(p, rule->ipv4, true);
    write_addresses(p, rule->ipv6, false);
    draw_addresses(p, rule->ipv4);
    draw_addresses(p, rule->ipv6);
  }
  if (some(p, 3) % 4 == 0)
    check_sets(p);
  run(p);
}
