// SPDX-License-Identifier: MIT
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/explain.h"
#include "cli/local_address.h"
#include "policy/pool.h"
#include "policy/words.h"
#include "record/text.h"

/* --- as text --------------------------------------------------------------------------------- */

static const char *name_of(const policy_image *p, uint32_t rule)
{
  return policy_string(p, policy_rule(p, rule)->name);
}

static void print_ports(const struct answer *a)
{
  const struct port_set *set = &a->set;
  printf("  ports        %u", set->size);
  uint32_t ranges = 0;
  for (uint32_t i = 0, end; i < set->size; i = end, ranges++) {
    end = port_set_run_end(set, i);
    if (ranges < 8)
      printf(end - i > 1 ? "%s %u-%u" : "%s %u", ranges ? "," : ":", port_set_port(set, i),
             port_set_port(set, end - 1));
  }
  if (ranges > 8)
    printf(", and %u more ranges", ranges - 8);
  if (set->stride > 1)
    printf(", every %u", set->stride);
  putchar('\n');
}

static void print_means(const struct answer *a)
{
  if (a->by_range)
    printf("  by range     %u ports: IP_LOCAL_PORT_RANGE, shared by the 4-tuple rule\n",
           a->by_range);
  if (a->by_bind)
    printf("  by bind      %u ports: bind() before connect(), with SO_REUSEADDR\n", a->by_bind);
  if (a->by_range && a->by_bind)
    puts("               the set needs both: each port is always claimed the same way");
}

static void print_candidates(const struct answer *a, const struct question *q)
{
  printf("  order        %s%s\n", policy_orders.words[a->rule->order],
         a->window ? ": the kernel picks, in windows of at most 64 ports" : "");
  fputs("  candidates  ", stdout);
  for (uint32_t i = 0; i < a->candidate_count; i++)
    printf(" %u", a->candidates[i]);
  if (a->candidate_count)
    puts(" (of a new run)");
  else if (!a->set.size)
    puts(" none: the set is empty here");
  else /* or none was asked for */
    puts(q->number ? " none: the only port is the destination's own" : "");
}

static void print_sources(const struct answer *a, uint32_t sources)
{
  struct missing_addresses m = addresses_missing(a->image, a->rule);
  char first[64];
  struct text t = TEXT_INIT(first);
  printf("  from         %u address%s, in turn\n", sources, sources == 1 ? "" : "es");
  if (!m.missing)
    return;
  text_address(&t, m.first, "");
  printf("               this machine cannot send from %u of %u; the first is %s: %s\n", m.missing,
         m.asked, text_end(&t), strerror(m.error));
}

static void print_rule(const struct answer *a, const struct question *q)
{
  bool ipv4 = address_is_ipv4(q->connection.address);
  uint32_t sources = policy_pool_size(a->image, ipv4 ? a->rule->ipv4 : a->rule->ipv6);
  printf("rule '%s' takes it\n", name_of(a->image, a->number));
  if (!a->rule->steers) {
    puts("  it steers nothing: the kernel chooses");
    return;
  }
  print_ports(a);
  print_means(a);
  if (sources)
    print_sources(a, sources);
  print_candidates(a, q);
  printf("  exhausted    %s\n",
         a->rule->exhausted == POLICY_LEAVE ? "the kernel chooses then" : "the call fails");
}

void explain_as_text(const struct answer *a, const struct question *q)
{
  const policy_image *p = a->image;
  for (uint32_t i = 0; i < a->number; i++)
    printf("rule '%s' does not: %s\n", name_of(p, i), why_not(p, policy_rule(p, i), q));
  if (a->rule)
    print_rule(a, q);
  else
    puts("no rule takes it: the kernel chooses");
}

/* --- as JSON --------------------------------------------------------------------------------- */

static json_t *passed_over(const struct answer *a, const struct question *q)
{
  const policy_image *p = a->image;
  json_t *all = json_array();
  for (uint32_t i = 0; i < a->number; i++)
    json_array_append_new(all, json_pack("{ss,ss}", "name", name_of(p, i), "because",
                                         why_not(p, policy_rule(p, i), q)));
  return all;
}

static json_t *ranges_of(const struct port_set *set)
{
  json_t *all = json_array();
  for (uint32_t i = 0, end; i < set->size; i = end) {
    end = port_set_run_end(set, i);
    json_array_append_new(all,
                          json_pack("[i,i]", port_set_port(set, i), port_set_port(set, end - 1)));
  }
  return all;
}

static json_t *candidates_of(const struct answer *a)
{
  json_t *all = json_array();
  for (uint32_t i = 0; i < a->candidate_count; i++)
    json_array_append_new(all, json_integer(a->candidates[i]));
  return all;
}

void explain_as_json(const struct answer *a, const struct question *q)
{
  bool steers = a->rule && a->rule->steers;
  json_t *o = json_pack("{si,ss?,sb,so}", "version", 1, "rule",
                        a->rule ? name_of(a->image, a->number) : NULL, "steers", steers,
                        "passed_over", passed_over(a, q));
  if (steers)
    json_object_update_new(o, json_pack("{ss,ss,si,si,si,si,so,so}", "order",
                                        policy_orders.words[a->rule->order], "exhausted",
                                        policy_exhausteds.words[a->rule->exhausted], "ports",
                                        (int)a->set.size, "every", (int)a->set.stride, "by_range",
                                        (int)a->by_range, "by_bind", (int)a->by_bind, "ranges",
                                        ranges_of(&a->set), "candidates", candidates_of(a)));
  if (steers)
    json_object_set_new(o, "addresses_missing",
                        json_integer(addresses_missing(a->image, a->rule).missing));
  json_dumpf(o, stdout, JSON_COMPACT);
  putchar('\n');
  json_decref(o);
}
