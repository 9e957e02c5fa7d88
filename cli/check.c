// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/here.h"
#include "cli/local_address.h"
#include "cli/policy_file.h"
#include "policy/destination_text.h"
#include "policy/ports_text.h"
#include "policy/prefix_text.h"
#include "policy/words.h"

static const char usage[] =
    "Usage: berth check POLICY\n"
    "Says what is wrong with a policy, JSON or compiled; else prints its rules as\n"
    "understood.\n\n"
    "  -h, --help      this text\n"
    "  -V, --version   the version\n";

static const struct option long_options[] = {
    COMMON_OPTIONS,
    {0},
};

/* --- one line a key ------------------------------------------------------------------------- */

static void begin(const char *label)
{
  printf("  %-17s", label);
}

static void line(const char *label, const char *value)
{
  begin(label);
  puts(value);
}

static void print_transports(const struct policy_rule *rule)
{
  begin("transport");
  for (int i = 0, n = 0; i < policy_transports.count; i++)
    if (rule->transports & 1 << i)
      printf("%s%s", n++ ? ", " : "", policy_transports.words[i]);
  putchar('\n');
}

static void print_destinations(const policy_image *p, struct policy_span span)
{
  char text[DESTINATION_TEXT];
  begin("to");
  for (uint32_t i = 0; i < span.count; i++) {
    policy_destination_text(policy_destinations(p) + span.first + i, text);
    printf("%s%s", i ? ", " : "", text);
  }
  puts(span.count ? "" : "any");
}

static void print_globs(const policy_image *p, struct policy_span span)
{
  for (uint32_t i = 0; i < span.count; i++)
    printf("%s%s", i ? ", " : "", policy_program(p, span.first + i));
  puts(span.count ? "" : "any");
}

/* How many addresses were printed. */
static uint32_t print_prefixes(const policy_image *p, struct policy_span span, bool ipv4,
                               const char *separator)
{
  uint32_t count = 0;
  for (uint32_t i = 0; i < span.count; i++) {
    const struct policy_address *a = policy_addresses(p) + span.first + i;
    char text[PREFIX_TEXT];
    prefix_text(a->address, a->prefix, ipv4, false, text);
    printf("%s%s", i ? ", " : separator, text);
    count += a->count;
  }
  return count;
}

static void print_addresses(const policy_image *p, const struct policy_rule *rule)
{
  begin("local addresses");
  if (!rule->ipv4.count && !rule->ipv6.count) {
    puts("any");
    return;
  }
  uint32_t four = print_prefixes(p, rule->ipv4, true, "");
  uint32_t six = print_prefixes(p, rule->ipv6, false, rule->ipv4.count ? ", " : "");
  printf(" (%u IPv4, %u IPv6)\n", four, six);
}

static void print_port_list(const policy_image *p, struct policy_span span)
{
  for (uint32_t i = 0; i < span.count; i++) {
    const struct policy_ports *ports = policy_ports(p) + span.first + i;
    printf(ports->low == ports->high ? "%s%u" : "%s%u-%u", i ? ", " : "", ports->low, ports->high);
  }
}

/* On this machine: how many ports the rule would offer, and by which means it would claim them. */
static void print_set(const policy_image *p, const struct policy_rule *rule)
{
  struct port_set set = set_here(p, rule);
  uint32_t by_range = count_by_range(p, rule), by_bind = set.size - by_range;
  begin("ports here");
  printf("%u", set.size);
  if (by_range && by_bind)
    printf(": %u by range and %u by bind, the set needs both", by_range, by_bind);
  else if (set.size)
    fputs(by_range ? ", by range" : ", by bind", stdout);
  else
    fputs(": no connection can leave by this rule", stdout);
  putchar('\n');
  set_free(&set);
}

static void print_ports(const policy_image *p, const struct policy_rule *rule)
{
  begin("local ports");
  if (rule->ports.count)
    print_port_list(p, rule->ports);
  else
    fputs("the machine's range", stdout);
  if (rule->except.count) {
    fputs(" except ", stdout);
    print_port_list(p, rule->except);
  }
  if (rule->mod_of > 1)
    printf(", port %% %u = %u", rule->mod_of, rule->mod_is);
  putchar('\n');
  print_set(p, rule);
}

/* --- rules ---------------------------------------------------------------------------------- */

static void print_choice(const policy_image *p, const struct policy_rule *rule)
{
  char number[32];
  print_addresses(p, rule);
  print_ports(p, rule);
  line("order", policy_orders.words[rule->order]);
  line("via", policy_vias.words[rule->via]);
  snprintf(number, sizeof number, "%u", rule->tries);
  line("tries", rule->tries ? number : "the whole set");
  snprintf(number, sizeof number, "%u s", rule->rest);
  line("rest", number);
  line("exhausted", policy_exhausteds.words[rule->exhausted]);
}

static void print_rule(const policy_image *p, const struct policy_rule *rule)
{
  printf("rule %s\n", policy_string(p, rule->name));
  print_transports(rule);
  print_destinations(p, rule->destinations);
  begin("program");
  print_globs(p, rule->programs);
  if (rule->steers)
    print_choice(p, rule);
  else
    line("steering", "none: the kernel chooses");
}

/* A policy may be made for another machine, so this is no error. */
static void warn_of_addresses(const char *path, const policy_image *p, uint32_t i)
{
  const struct policy_rule *rule = policy_rule(p, i);
  struct missing_addresses m = addresses_missing(p, rule);
  char first[PREFIX_TEXT];
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  if (!m.missing)
    return;
  prefix_text(m.first, 128, memcmp(m.first, mapped, sizeof mapped) == 0, false, first);
  remark(
      path,
      " /rules/%u/local_addresses: warning: this machine cannot send from %u of %u; the first is "
      "%s: %s",
      i, m.missing, m.asked, first, strerror(m.error));
}

/* As root, or with a sysctl of another machine, they may be had. */
static void warn_of_privileged(const char *path, const policy_image *p, uint32_t i)
{
  uint32_t count = count_privileged(p, policy_rule(p, i));
  if (!count)
    return;
  remark(path,
         " /rules/%u/local_ports: warning: %u of its ports %s below %u "
         "(net.ipv4.ip_unprivileged_port_start): bind(2) gives them to programs with "
         "CAP_NET_BIND_SERVICE alone",
         i, count, count == 1 ? "is" : "are", unprivileged_start());
}

/* Rules without `to` and `program` take all of a transport, and leave nothing to later ones. `taken`
 * has the rule that does, by transport. */
static void warn_of_unreached(const char *path, const policy_image *p, uint32_t i,
                              uint32_t taken[2])
{
  const struct policy_rule *rule = policy_rule(p, i);
  bool reached = false;
  uint32_t last = 0;
  for (int t = 0; t < 2; t++)
    if (rule->transports & 1 << t) {
      reached |= taken[t] == UINT32_MAX;
      last = taken[t] > last ? taken[t] : last;
      if (!rule->destinations.count && !rule->programs.count && taken[t] == UINT32_MAX)
        taken[t] = i;
    }
  if (reached)
    return;
  remark(path, " /rules/%u: warning: never reached: /rules/%u takes the rest", i, last);
}

static void print_policy(const char *path, const policy_image *p)
{
  uint32_t taken[2] = {UINT32_MAX, UINT32_MAX};
  if (!policy_rule_count(p) && !p->late_bind.count)
    puts("no rules: the kernel chooses every port");
  for (uint32_t i = 0; i < policy_rule_count(p); i++) {
    print_rule(p, policy_rule(p, i));
    warn_of_unreached(path, p, i, taken);
    warn_of_addresses(path, p, i);
    warn_of_privileged(path, p, i);
  }
  if (p->late_bind.count) {
    printf("%-19s", "late bind");
    print_globs(p, p->late_bind);
  }
}

static int check_main(int argc, char **argv)
{
  int c, status;
  policy_image *image;
  while ((c = next_option(&check_command, argc, argv, "+:" COMMON_SHORT, long_options, EXIT_TROUBLE,
                          &status)) != -1)
    if (c == OPTION_EXIT)
      return status;
  if (argc - optind != 1) {
    complain("check", "needs one operand, a policy");
    return EXIT_TROUBLE;
  }
  status = (int)policy_file_read("check", argv[optind], &image);
  if (status != EXIT_YES)
    return status;
  print_policy(argv[optind], image);
  free(image);
  return fflush(stdout) || ferror(stdout) ? EXIT_TROUBLE : EXIT_YES;
}

const struct command check_command = {"check", check_main,
                                      "says what a policy means, or what is "
                                      "wrong with it",
                                      usage};
