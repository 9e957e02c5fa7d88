// SPDX-License-Identifier: MIT
#include "policy/set.h"

/* A sorted list of port ranges, gone through once: `at` is the first that does not lie wholly below
 * where the sweep is. */
struct holes {
  const struct policy_ports *list;
  uint32_t count, at;
};

struct sweep {
  struct holes except, reserved;
  uint32_t of, is; /* the ports wanted: port % of == is */
  struct port_run *runs;
  struct port_set set;
};

/* The kernel's option gives nothing outside the machine's range, nor what is reserved. */
static bool within_machine(const struct policy_rule *rule)
{
  return !rule->ports.count || rule->via == POLICY_RANGE;
}

uint32_t port_set_most_runs(const struct policy_rule *rule, const struct policy_machine *m)
{
  /* Each hole cuts one range into two at most; and two runs have a port between them. */
  uint64_t most = rule->ports.count ? rule->ports.count : 1;
  most += rule->except.count;
  if (within_machine(rule))
    most += m->reserved_count;
  return most < 32768 ? (uint32_t)most : 32768;
}

/* Ports first, first + of, ... up to `last`: a run more, or more of the last one. */
static void add_run(struct sweep *s, uint32_t first, uint32_t last)
{
  struct port_run *run = s->set.run_count ? &s->runs[s->set.run_count - 1] : NULL;
  uint32_t count = (last - first) / s->of + 1;
  if (run && first == run->first + run->count * s->of)
    run->count += count;
  else
    s->runs[s->set.run_count++] = (struct port_run){
        .before = s->set.size, .count = count, .first = (uint16_t)first};
  s->set.size += count;
}

/* Of the ports low to high those that `mod` wants. */
static void add_ports(struct sweep *s, uint32_t low, uint32_t high)
{
  uint32_t first = low + (s->is + s->of - low % s->of) % s->of;
  if (first <= high)
    add_run(s, first, high);
}

static const struct policy_ports *next_hole(struct holes *h, uint32_t from)
{
  while (h->at < h->count && h->list[h->at].high < from)
    h->at++;
  return h->at < h->count ? &h->list[h->at] : NULL;
}

/* `from` is below `high` + 1; whichever of the two holes begins first cuts. */
static const struct policy_ports *first_hole(struct sweep *s, uint32_t from)
{
  const struct policy_ports *a = next_hole(&s->except, from), *b = next_hole(&s->reserved, from);
  if (!a || !b)
    return a ? a : b;
  return a->low <= b->low ? a : b;
}

/* The range without its holes. Ranges come in ascending order: no hole is looked at again. */
static void add_range(struct sweep *s, uint32_t low, uint32_t high)
{
  for (uint32_t from = low ? low : 1; from <= high;) {
    const struct policy_ports *hole = first_hole(s, from);
    if (!hole || hole->low > high) {
      add_ports(s, from, high);
      return;
    }
    if (hole->low > from)
      add_ports(s, from, hole->low - 1u);
    from = hole->high + 1u;
  }
}

static void add_listed(struct sweep *s, const struct policy_ports *list, uint32_t count,
                       uint32_t low, uint32_t high)
{
  for (uint32_t i = 0; i < count; i++)
    add_range(s, list[i].low > low ? list[i].low : low, list[i].high < high ? list[i].high : high);
}

struct port_set port_set_make(const policy_image *p, const struct policy_rule *rule,
                              const struct policy_machine *m, struct port_run *runs)
{
  const struct policy_ports *ports = policy_ports(p);
  bool within = within_machine(rule);
  struct sweep s = {.except = {.list = ports + rule->except.first, .count = rule->except.count},
                    .reserved = {.list = m->reserved, .count = within ? m->reserved_count : 0},
                    .of = rule->mod_of ? rule->mod_of : 1,
                    .is = rule->mod_is,
                    .runs = runs};
  uint32_t low = within ? m->low : 1, high = within ? m->high : 65535;
  s.set.runs = runs;
  s.set.stride = s.of;
  if (s.is >= s.of)
    return s.set; /* no port has such a remainder */
  if (rule->ports.count)
    add_listed(&s, ports + rule->ports.first, rule->ports.count, low, high);
  else
    add_range(&s, low, high);
  return s.set;
}

/* The last run of which `before` is not above the index. */
static const struct port_run *run_of_index(const struct port_set *set, uint32_t index)
{
  uint32_t low = 0, high = set->run_count;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (set->runs[middle].before <= index)
      low = middle;
    else
      high = middle;
  }
  return &set->runs[low];
}

uint16_t port_set_port(const struct port_set *set, uint32_t index)
{
  const struct port_run *run = run_of_index(set, index);
  return (uint16_t)(run->first + (index - run->before) * set->stride);
}

bool port_set_index(const struct port_set *set, uint16_t port, uint32_t *index)
{
  uint32_t low = 0, high = set->run_count;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (set->runs[middle].first <= port)
      low = middle;
    else
      high = middle;
  }
  if (!set->run_count || port < set->runs[low].first)
    return false;
  uint32_t beyond = port - (uint32_t)set->runs[low].first, nth = beyond / set->stride;
  if (beyond % set->stride || nth >= set->runs[low].count)
    return false;
  *index = set->runs[low].before + nth;
  return true;
}

uint32_t port_set_contiguous(const struct port_set *set, uint32_t index)
{
  const struct port_run *run = run_of_index(set, index);
  return set->stride == 1 ? run->before + run->count : index + 1;
}

uint32_t policy_machine_run(const struct policy_machine *m, uint16_t port)
{
  uint32_t low = 0, high = m->reserved_count;
  if (!port || port < m->low || port > m->high)
    return 0;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (m->reserved[middle].high < port)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == m->reserved_count || m->reserved[low].low > m->high)
    return m->high - port + 1u;
  return m->reserved[low].low > port ? m->reserved[low].low - (uint32_t)port : 0;
}

bool policy_machine_gives(const struct policy_machine *m, uint16_t port)
{
  return policy_machine_run(m, port);
}
