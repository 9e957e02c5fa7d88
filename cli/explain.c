// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/here.h"
#include "cli/match.h"
#include "cli/policy_file.h"
#include "policy/state.h"

static const char usage[] =
    "Usage: berth explain -P POLICY [OPTIONS] [tcp|udp] ADDR:PORT\n"
    "Says which rule of the policy takes a connection to there, from which ports it\n"
    "would leave on this machine, and how. Nothing is connected.\n\n"
    "  -P, --policy FILE    the policy: JSON, or an image of `berth compile`\n"
    "      --program NAME   the program, a name or a path (default: any program's)\n"
    "  -n, --number N       candidates to show (default 10)\n"
    "      --json           as a JSON object\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version\n\n"
    "Exits with 1 where no rule steers the connection.\n";

static const struct option long_options[] = {
    {"policy", required_argument, NULL, 'P'},
    {"program", required_argument, NULL, 'p'},
    {"number", required_argument, NULL, 'n'},
    {"json", no_argument, NULL, 'j'},
    COMMON_OPTIONS,
    {0},
};

/* --- why a rule takes it, or not ------------------------------------------------------------- */

const char *why_not(const policy_image *p, const struct policy_rule *rule, const struct question *q)
{
  if (q->program && !program_names_any(p, rule->programs, &q->names))
    return "another program";
  if (!q->program && rule->programs.count)
    return "for certain programs, and --program names none";
  if (!(rule->transports & q->connection.transport))
    return "another transport";
  return policy_rule_takes(p, rule, &q->connection) ? NULL : "another destination";
}

static uint32_t find_rule(const policy_image *p, const struct question *q)
{
  uint32_t i = 0;
  while (i < policy_rule_count(p) && why_not(p, policy_rule(p, i), q))
    i++;
  return i;
}

/* --- what it would do ------------------------------------------------------------------------ */

/* A run of its own, as a program's would be. */
static void draw_candidates(struct answer *a, const struct question *q)
{
  size_t size = policy_state_size(a->image);
  uint64_t key[2], number = q->number < a->set.size ? q->number : a->set.size;
  struct policy_state state = {0};
  struct order_walk walk;
  uint32_t index;
  void *block = aligned_alloc(64, size);
  a->candidates = calloc(number + 1, sizeof *a->candidates);
  if (!block || !a->candidates || getrandom(key, sizeof key, 0) != sizeof key)
    abort();
  memset(block, 0, size);
  policy_state_begin(block, a->image, key);
  policy_state_open(&state, block, size, a->image);
  struct order_state order = policy_state_order(&state, a->image, a->number);
  struct order_input in = {.size = a->set.size,
                           .flow = policy_state_draw(&state),
                           .other_flow = policy_state_draw(&state),
                           .random = policy_state_draw(&state),
                           .state = &order};
  order_begin(&walk, a->rule->order, &in);
  while (a->candidate_count < number && order_next(&walk, &index)) {
    uint16_t port = port_set_port(&a->set, index);
    if (port != q->connection.port) /* it could be this machine's own */
      a->candidates[a->candidate_count++] = port;
    else
      number -= number == a->set.size;
  }
  free(block);
}

static struct answer answer(const policy_image *p, const struct question *q)
{
  struct answer a = {.image = p, .number = find_rule(p, q)};
  a.rule = a.number < policy_rule_count(p) ? policy_rule(p, a.number) : NULL;
  if (!a.rule || !a.rule->steers)
    return a;
  a.set = set_here(p, a.rule);
  a.by_range = count_by_range(p, a.rule);
  a.by_bind = a.rule->via == POLICY_RANGE ? 0 : a.set.size - a.by_range;
  a.window = a.rule->order == POLICY_KERNEL && a.set.stride == 1 && a.by_range && !a.rule->rest;
  if (a.set.size)
    draw_candidates(&a, q);
  return a;
}

static void forget(struct answer *a)
{
  set_free(&a->set);
  free(a->candidates);
}

/* --- the command ----------------------------------------------------------------------------- */

static bool parse_destination(struct question *q, const char *text)
{
  struct event_match m = {0};
  const char *problem = "an address and one port, such as 10.0.0.1:443 or [fd00::1]:443";
  uint32_t ports = 0;
  bool parsed = parse_peer(&m, text, &problem);
  for (uint32_t port = 0; parsed && port < 65536; port++)
    if (m.peer_ports.bits[port / 64] >> port % 64 & 1) {
      q->connection.port = (uint16_t)port;
      ports++;
    }
  if (parsed && ports == 1 && q->connection.port && m.has_peer_address && m.peer_prefix == 128) {
    memcpy(q->connection.address, m.peer_address, 16);
    return true;
  }
  complain("explain", "'%s': %s", text, problem);
  return false;
}

static bool parse_operands(struct question *q, int count, char **operands)
{
  q->connection.transport = POLICY_TCP;
  if (count > 1 && strcmp(operands[0], "udp") == 0)
    q->connection.transport = POLICY_UDP;
  else if (count > 1 && strcmp(operands[0], "tcp") != 0) {
    complain("explain", "'%s': neither tcp nor udp", operands[0]);
    return false;
  }
  if (!q->policy || count < 1 || count > 2) {
    complain("explain",
             "a policy (-P) and one destination are wanted; `berth explain -h` tells how");
    return false;
  }
  return parse_destination(q, operands[count - 1]);
}

static int explain(const struct question *q)
{
  policy_image *p;
  if (policy_file_read("explain", q->policy, &p) != EXIT_YES)
    return EXIT_TROUBLE;
  struct answer a = answer(p, q);
  if (q->json)
    explain_as_json(&a, q);
  else
    explain_as_text(&a, q);
  bool steers = a.rule && a.rule->steers;
  forget(&a);
  free(p);
  return fflush(stdout) ? EXIT_TROUBLE : steers ? EXIT_YES : EXIT_NO;
}

static int explain_main(int argc, char **argv)
{
  struct question q = {.number = 10};
  int c, status;
  while ((c = next_option(&explain_command, argc, argv, "+:P:n:" COMMON_SHORT, long_options,
                          EXIT_TROUBLE, &status)) != -1) {
    switch (c) {
    case OPTION_EXIT: return status;
    case 'P': q.policy = optarg; break;
    case 'p': q.program = optarg; break;
    case 'j': q.json = true; break;
    default:
      if (!parse_number(optarg, 0, 65535, &q.number)) {
        complain("explain", "-n: '%s' is not a whole number from 0 to 65535", optarg);
        return EXIT_TROUBLE;
      }
    }
  }
  if (!parse_operands(&q, argc - optind, argv + optind))
    return EXIT_TROUBLE;
  if (q.program)
    program_names_find(q.program, &q.names);
  return explain(&q);
}

const struct command explain_command = {
    "explain", explain_main, "says which rule takes a connection, and what it does", usage};
