// SPDX-License-Identifier: MIT
#include "policy/set.h"

/* The last run that does not begin above: of those that have any, the one that holds `before`. */
static const struct port_run *run_before(const struct port_run *runs, uint32_t count,
                                         uint32_t before)
{
  uint32_t low = 0, high = count;
  while (high - low > 1) {
    uint32_t middle = low + (high - low) / 2;
    if (runs[middle].before <= before)
      low = middle;
    else
      high = middle;
  }
  return &runs[low];
}

/* Likewise by `first`; NULL where all begin above. */
static const struct port_run *run_from(const struct port_run *runs, uint32_t count, uint32_t first)
{
  uint32_t low = 0, high = count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (runs[middle].first <= first)
      low = middle + 1;
    else
      high = middle;
  }
  return low ? &runs[low - 1] : NULL;
}

/* --- the machine ----------------------------------------------------------------------------- */

/* The first reserved range that does not lie wholly below the port, from `from` on; near ones are
 * found soon. */
static uint32_t find_hole(const struct policy_machine *m, uint32_t from, uint32_t port)
{
  uint32_t low = from, step = 1;
  while (low + step <= m->reserved_count && m->reserved[low + step - 1].high < port) {
    low += step;
    step *= 2;
  }
  uint32_t high = low + step - 1 < m->reserved_count ? low + step - 1 : m->reserved_count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (m->reserved[middle].high < port)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* How many ports of the range lie from this one on before that hole. */
static uint32_t run_before_hole(const struct policy_machine *m, uint32_t hole, uint32_t port)
{
  if (hole == m->reserved_count || m->reserved[hole].low > m->high)
    return m->high - port + 1u;
  return m->reserved[hole].low > port ? m->reserved[hole].low - port : 0;
}

uint32_t policy_machine_run(const struct policy_machine *m, uint16_t port)
{
  bool in_range = port && m->low <= port && port <= m->high;
  return in_range ? run_before_hole(m, find_hole(m, 0, port), port) : 0;
}

bool policy_machine_gives(const struct policy_machine *m, uint16_t port)
{
  return policy_machine_run(m, port);
}

/* --- bases ----------------------------------------------------------------------------------- */

/* At most half of the slots are used, so that a search ends soon. */
static uint32_t slots_for(uint32_t rules)
{
  uint32_t count = 2;
  while (count < 2 * rules)
    count *= 2;
  return count;
}

size_t port_bases_size(uint32_t rules)
{
  return slots_for(rules) * sizeof(struct port_base);
}

struct port_bases port_bases_begin(void *memory, uint32_t rules)
{
  return (struct port_bases){.slots = memory, .count = slots_for(rules)};
}

struct port_base *port_bases_find(const struct port_bases *bases, const struct policy_rule *rule)
{
  bool given = !rule->ports.count || rule->via == POLICY_RANGE;
  uint16_t of = rule->mod_of ? rule->mod_of : 1, is = rule->mod_is;
  uint32_t hash = ((uint32_t)of << 16 | is) * UINT32_C(2654435761) + given;
  for (uint32_t at = hash ^ hash >> 16;; at++) {
    struct port_base *base = &bases->slots[at & (bases->count - 1)];
    if (!base->used)
      *base = (struct port_base){.of = of, .is = is, .given = given, .used = true};
    if (base->of == of && base->is == is && base->given == given)
      return base;
  }
}

static uint32_t lowest(const struct policy_machine *m)
{
  return m->low ? m->low : 1;
}

uint32_t port_base_most_runs(const struct port_base *base, const struct policy_machine *m)
{
  if (!base->given || m->high < lowest(m))
    return 1;
  /* Each reserved range cuts one run into two at most. */
  uint32_t ports = (m->high - lowest(m)) / base->of + 1;
  return ports < m->reserved_count + 1 ? ports : m->reserved_count + 1;
}

/* Ports first, first + of, ...: a run more, or more of the last one. */
static void add_ports(struct port_base *base, struct port_run *runs, uint32_t first, uint32_t count)
{
  struct port_run *last = base->run_count ? &runs[base->run_count - 1] : NULL;
  if (last && first == last->first + last->count * base->of)
    last->count += count;
  else
    runs[base->run_count++] = (struct port_run){
        .before = last ? last->before + last->count : 0, .count = count, .first = first};
}

/* From a range without holes to the next. No hole is looked for from the start again, and with a
 * large `of` few are looked at. */
void port_base_make(struct port_base *base, const struct policy_machine *m, struct port_run *runs)
{
  const struct policy_machine all = {.low = 1, .high = 65535};
  const struct policy_machine *from = base->given ? m : &all;
  uint32_t of = base->of, hole = 0, at = lowest(from) + (base->is + of - lowest(from) % of) % of;
  base->runs = runs;
  base->run_count = 0;
  if (base->is >= of)
    return; /* no port has such a remainder */
  while (at <= from->high) {
    hole = find_hole(from, hole, at);
    uint32_t row = run_before_hole(from, hole, at);
    uint32_t end = row ? at + row : from->reserved[hole].high + 1u;
    uint32_t steps = (end - at + of - 1) / of;
    if (row)
      add_ports(base, runs, at, steps);
    at += steps * of;
  }
}

/* How many of its ports lie below this one. */
static uint32_t ports_below(const struct port_base *base, uint32_t port)
{
  const struct port_run *run = port ? run_from(base->runs, base->run_count, port - 1) : NULL;
  if (!run)
    return 0;
  uint32_t count = (port - 1 - run->first) / base->of + 1;
  return run->before + (count < run->count ? count : run->count);
}

/* --- sets ------------------------------------------------------------------------------------ */

uint32_t port_set_most_cuts(const struct policy_rule *rule)
{
  /* Each exception cuts one range into two at most. */
  return (rule->ports.count ? rule->ports.count : 1) + rule->except.count;
}

/* Of the base the ports low to high: a cut more, or more of the last one. */
static void add_cut(struct port_set *set, struct port_run *cuts, uint32_t low, uint32_t high)
{
  struct port_run *last = set->cut_count ? &cuts[set->cut_count - 1] : NULL;
  uint32_t first = ports_below(set->base, low), count = ports_below(set->base, high + 1) - first;
  if (!count)
    return;
  if (last && first == last->first + last->count)
    last->count += count;
  else
    cuts[set->cut_count++] = (struct port_run){.before = set->size, .count = count, .first = first};
  set->size += count;
}

/* A sorted list of exceptions, gone through once. */
struct holes {
  const struct policy_ports *list;
  uint32_t count, at; /* the first that does not lie wholly below where the sweep is */
};

/* The range without its holes. Ranges come in ascending order: no hole is looked at again. */
static void add_range(struct port_set *set, struct port_run *cuts, struct holes *h,
                      struct policy_ports range)
{
  for (uint32_t from = range.low; from <= range.high;) {
    while (h->at < h->count && h->list[h->at].high < from)
      h->at++;
    const struct policy_ports *hole = h->at < h->count ? &h->list[h->at] : NULL;
    if (!hole || hole->low > range.high) {
      add_cut(set, cuts, from, range.high);
      return;
    }
    if (hole->low > from)
      add_cut(set, cuts, from, hole->low - 1u);
    from = hole->high + 1u;
  }
}

struct port_set port_set_make(const policy_image *p, const struct policy_rule *rule,
                              const struct port_base *base, struct port_run *cuts)
{
  const struct policy_ports *ports = policy_ports(p), all = {1, 65535};
  struct port_set set = {.base = base, .cuts = cuts, .stride = base->of};
  struct holes except = {.list = ports + rule->except.first, .count = rule->except.count};
  for (uint32_t i = 0; i < rule->ports.count; i++)
    add_range(&set, cuts, &except, ports[rule->ports.first + i]);
  if (!rule->ports.count)
    add_range(&set, cuts, &except, all);
  return set;
}

/* Of a number of the set, the base's number. */
static uint32_t number_in_base(const struct port_set *set, uint32_t index,
                               const struct port_run **cut)
{
  *cut = run_before(set->cuts, set->cut_count, index);
  return (*cut)->first + (index - (*cut)->before);
}

uint16_t port_set_port(const struct port_set *set, uint32_t index)
{
  const struct port_run *cut;
  uint32_t number = number_in_base(set, index, &cut);
  const struct port_run *run = run_before(set->base->runs, set->base->run_count, number);
  return (uint16_t)(run->first + (number - run->before) * set->stride);
}

bool port_set_index(const struct port_set *set, uint16_t port, uint32_t *index)
{
  const struct port_run *run = run_from(set->base->runs, set->base->run_count, port);
  if (!run || (port - run->first) % set->stride || (port - run->first) / set->stride >= run->count)
    return false;
  uint32_t number = run->before + (port - run->first) / set->stride;
  const struct port_run *cut = run_from(set->cuts, set->cut_count, number);
  if (!cut || number - cut->first >= cut->count)
    return false;
  *index = cut->before + (number - cut->first);
  return true;
}

uint32_t port_set_run_end(const struct port_set *set, uint32_t index)
{
  const struct port_run *cut;
  uint32_t number = number_in_base(set, index, &cut);
  const struct port_run *run = run_before(set->base->runs, set->base->run_count, number);
  uint32_t of_cut = cut->before + cut->count, of_run = index + (run->before + run->count - number);
  return of_cut < of_run ? of_cut : of_run;
}

uint32_t port_set_contiguous(const struct port_set *set, uint32_t index)
{
  return set->stride == 1 ? port_set_run_end(set, index) : index + 1;
}
