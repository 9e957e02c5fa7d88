// SPDX-License-Identifier: MIT
#include "policy/state.h"

#include "policy/siphash.h"

/* Where the parts lie: the header, the rules, then those that this policy needs. */
struct layout {
  size_t rules, tables, stamps, taken, rest, size;
  uint32_t rest_words;
};

static size_t take(size_t *at, size_t size)
{
  size_t here = *at;
  *at += (size + 63) & ~(size_t)63;
  return here;
}

static uint32_t count_order(const policy_image *p, enum policy_order order)
{
  uint32_t n = 0;
  for (uint32_t i = 0; i < policy_rule_count(p); i++)
    n += policy_rule(p, i)->order == order;
  return n;
}

static bool any_rests(const policy_image *p)
{
  for (uint32_t i = 0; i < policy_rule_count(p); i++)
    if (policy_rule(p, i)->rest)
      return true;
  return false;
}

static struct layout lay_out(const policy_image *p)
{
  struct layout l = {.rest_words = any_rests(p) ? POLICY_REST_WORDS : 0};
  uint32_t rules = policy_rule_count(p);
  size_t at = sizeof(struct policy_state_header);
  l.rules = take(&at, rules * sizeof(struct policy_rule_state));
  l.tables = take(&at, count_order(p, POLICY_DOUBLE_HASH) * sizeof(struct order_table));
  l.stamps = take(&at, count_order(p, POLICY_LEAST_RECENT) * sizeof(struct order_stamps));
  l.taken = take(&at, sizeof(struct taken_pool));
  l.rest = take(&at, l.rest_words * sizeof(policy_u64));
  l.size = at;
  return l;
}

size_t policy_state_size(const policy_image *p)
{
  return lay_out(p).size;
}

void policy_state_begin(void *block, const policy_image *p, const uint64_t key[2])
{
  struct policy_state_header *h = block;
  h->key[0] = key[0];
  h->key[1] = key[1];
  h->checksum = p->checksum;
}

bool policy_state_open(struct policy_state *s, void *block, size_t size, const policy_image *p)
{
  struct layout l = lay_out(p);
  unsigned char *bytes = block;
  s->header = block;
  if (size < l.size || s->header->checksum != p->checksum)
    return false;
  s->rules = (void *)(bytes + l.rules);
  s->tables = (void *)(bytes + l.tables);
  s->stamps = (void *)(bytes + l.stamps);
  s->taken = (void *)(bytes + l.taken);
  s->rest.words = (void *)(bytes + l.rest);
  s->rest.buckets = l.rest_words / REST_BUCKET;
  return true;
}

struct order_state policy_state_next_order(const struct policy_state *s, const policy_image *p,
                                           uint32_t rule, struct order_place *place)
{
  struct order_state o = {.words = &s->rules[rule].order};
  for (; place->rule < rule; place->rule++) {
    place->tables += policy_rule(p, place->rule)->order == POLICY_DOUBLE_HASH;
    place->stamps += policy_rule(p, place->rule)->order == POLICY_LEAST_RECENT;
  }
  if (policy_rule(p, rule)->order == POLICY_DOUBLE_HASH)
    o.table = &s->tables[place->tables];
  if (policy_rule(p, rule)->order == POLICY_LEAST_RECENT)
    o.stamps = &s->stamps[place->stamps];
  return o;
}

struct order_state policy_state_order(const struct policy_state *s, const policy_image *p,
                                      uint32_t rule)
{
  struct order_place first = {0};
  return policy_state_next_order(s, p, rule, &first);
}

uint32_t policy_state_turn(const struct policy_state *s, uint32_t rule, enum policy_family family)
{
  policy_u32 *turn = &s->rules[rule].turns[family == POLICY_IPV6];
  return atomic_fetch_add_explicit(turn, 1, memory_order_relaxed);
}

uint64_t policy_state_draw(const struct policy_state *s)
{
  uint64_t n = atomic_fetch_add_explicit(&s->header->draws, 1, memory_order_relaxed);
  return siphash(s->header->key, &n, 1);
}
