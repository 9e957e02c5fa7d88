// SPDX-License-Identifier: MIT
#include "cli/simulate.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/here.h"
#include "kernel/sysctl.h"
#include "policy/nearest.h"
#include "policy/ports_text.h"

static const char usage[] =
    "Usage: berth simulate [OPTIONS]\n"
    "Chooses the ports of many connections as Linux does, or did, or as a policy\n"
    "would, and tells what that costs and where it ends. Nothing is connected.\n\n"
    "  -a, --algorithm NAME,...  default: connect() of each era; `list` lists them\n"
    "  -n, --connections N       how many (default 20000)\n"
    "      --rate N              a second (default: all at once)\n"
    "      --lifetime SECONDS    of each connection (default: none is closed)\n"
    "      --close client|server who closes first: keeps TIME_WAIT (default client)\n"
    "      --destinations N      addresses to connect to (default 1)\n"
    "      --sources N           addresses to connect from (default 1)\n"
    "  -r, --range LOW-HIGH      ip_local_port_range (default: this machine's)\n"
    "      --local-range LOW-HIGH  IP_LOCAL_PORT_RANGE, set on each socket\n"
    "      --reserved PORTS      ip_local_reserved_ports (default: this machine's)\n"
    "      --held PORTS          ports of listeners and explicit binds (default none)\n"
    "      --tw-reuse 0|1|2      tcp_tw_reuse (default: this machine's)\n"
    "      --tw-reuse-delay MS   tcp_tw_reuse_delay (default: this machine's)\n"
    "      --loopback            the destinations are local: for tcp_tw_reuse 2\n"
    "      --time-wait SECONDS   how long TIME_WAIT lasts (default 60, as in Linux)\n"
    "      --step-width N        ip_local_port_step_width, linux-7.1 (default 0: off)\n"
    "      --reuseaddr           SO_REUSEADDR, for linux-bind\n"
    "      --udp-slots N         slots of the UDP hash table, linux-udp (default 256)\n"
    "      --seed N              of the random numbers (default 1)\n"
    "      --hint N              what the kernel remembers at first\n"
    "      --offset N            each connection's hash, 64 bits since linux-5.18\n"
    "      --trace[=N]           tell connection N step by step (default: the last)\n"
    "      --each                a line a connection: number, port, ports looked at\n"
    "      --json                a JSON object for each algorithm, or connection\n"
    "      --svg FILE            draw ports and scan lengths, by gnuplot\n"
    "  -h, --help                this text\n"
    "  -V, --version             the version\n";

enum option_value {
  RATE = 0x100,
  LIFETIME,
  CLOSE,
  DESTINATIONS,
  SOURCES,
  LOCAL_RANGE,
  RESERVED,
  HELD,
  TW_REUSE,
  TW_REUSE_DELAY,
  LOOPBACK,
  TIME_WAIT,
  STEP_WIDTH,
  REUSEADDR,
  UDP_SLOTS,
  SEED,
  HINT,
  OFFSET,
  TRACE,
  EACH,
  JSON,
  SVG,
};

static const struct option long_options[] = {
    {"algorithm", required_argument, NULL, 'a'},
    {"connections", required_argument, NULL, 'n'},
    {"rate", required_argument, NULL, RATE},
    {"lifetime", required_argument, NULL, LIFETIME},
    {"close", required_argument, NULL, CLOSE},
    {"destinations", required_argument, NULL, DESTINATIONS},
    {"sources", required_argument, NULL, SOURCES},
    {"range", required_argument, NULL, 'r'},
    {"local-range", required_argument, NULL, LOCAL_RANGE},
    {"reserved", required_argument, NULL, RESERVED},
    {"held", required_argument, NULL, HELD},
    {"tw-reuse", required_argument, NULL, TW_REUSE},
    {"tw-reuse-delay", required_argument, NULL, TW_REUSE_DELAY},
    {"loopback", no_argument, NULL, LOOPBACK},
    {"time-wait", required_argument, NULL, TIME_WAIT},
    {"step-width", required_argument, NULL, STEP_WIDTH},
    {"reuseaddr", no_argument, NULL, REUSEADDR},
    {"udp-slots", required_argument, NULL, UDP_SLOTS},
    {"seed", required_argument, NULL, SEED},
    {"hint", required_argument, NULL, HINT},
    {"offset", required_argument, NULL, OFFSET},
    {"trace", optional_argument, NULL, TRACE},
    {"each", no_argument, NULL, EACH},
    {"json", no_argument, NULL, JSON},
    {"svg", required_argument, NULL, SVG},
    COMMON_OPTIONS,
    {0},
};

/* The options as they were given; what was not is this machine's. */
struct given {
  struct policy_ports range, local_range;
  const char *reserved, *held;
  uint32_t tw_reuse, tw_reuse_delay, traced; /* traced: from 1; 0: the last */
  bool has_range, has_local_range, has_reuse, has_delay, loopback, trace;
  uint32_t hint;
  uint64_t offset;
};

/* --- single values --------------------------------------------------------------------------- */

static bool refuse_value(const char *option, const char *value, const char *wanted)
{
  complain("simulate", "%s: '%s' is not %s", option, value, wanted);
  return false;
}

static bool take_number(const char *option, const char *value, unsigned long low,
                        unsigned long high, uint32_t *number)
{
  unsigned long n;
  char wanted[80];
  snprintf(wanted, sizeof wanted, "a whole number from %lu to %lu", low, high);
  if (!parse_number(value, low, high, &n))
    return refuse_value(option, value, wanted);
  *number = (uint32_t)n;
  return true;
}

static bool take_seconds(const char *option, const char *value, double least, double *seconds)
{
  char *end;
  *seconds = strtod(value, &end);
  if (end == value || *end || !isfinite(*seconds) || *seconds < least || *seconds > 1e9)
    return refuse_value(option, value, least > 0 ? "a number above 0" : "a number from 0 on");
  return true;
}

static bool take_long(const char *option, const char *value, uint64_t *number)
{
  char *end;
  errno = 0;
  *number = strtoull(value, &end, 0);
  if (errno || end == value || *end || value[0] == '-')
    return refuse_value(option, value, "a whole number of 64 bits");
  return true;
}

static bool take_range(const char *option, const char *value, struct policy_ports *range)
{
  char problem[160];
  if (policy_ports_parse(value, range, problem, sizeof problem))
    return true;
  complain("simulate", "%s: '%s': %s", option, value, problem);
  return false;
}

static void add_ports(struct model_ports *set, const struct policy_ports *ports)
{
  for (uint32_t port = ports->low; port <= ports->high; port++)
    model_ports_add(set, (uint16_t)port);
}

/* A list of ports and ranges, by commas; or NULL. */
static bool take_ports(const char *option, const char *list, struct model_ports *set)
{
  char *copy = list && *list ? strdup(list) : NULL, *rest = copy;
  bool good = true;
  for (char *item; good && (item = strsep(&rest, ","));) {
    struct policy_ports ports;
    good = take_range(option, item, &ports);
    if (good)
      add_ports(set, &ports);
  }
  free(copy);
  return good;
}

/* --- algorithms ------------------------------------------------------------------------------ */

static const char *name_of(int i, const void *context)
{
  (void)context;
  return algorithm_name(&algorithms[i]);
}

static void list_algorithms(void)
{
  for (int i = 0; i < algorithm_count(); i++) {
    const struct algorithm *a = &algorithms[i];
    printf("%-17s%s\n", algorithm_name(a), algorithm_rule(a));
    if (a->model)
      printf("%17s%s; %s\n", "", a->model->covers, a->model->source);
    else if (a->alias)
      printf("%17sa policy's order; also %s\n", "", a->alias);
    else
      printf("%17sa policy's order\n", "");
  }
}

/* A version of Linux as a number that grows; 0: the name is none. */
static unsigned version_of(const char *name)
{
  unsigned major, minor;
  int end = 0;
  if (sscanf(name, "linux-%4u.%4u%n", &major, &minor, &end) != 2 || name[end])
    return 0;
  return major * 10000 + minor;
}

/* connect() of the era that a version belongs to: the last that had begun, or the first. */
static const char *era_of(unsigned version)
{
  const struct algorithm *era = NULL;
  for (int i = 0; i < algorithm_count(); i++) {
    unsigned begun = version_of(algorithm_name(&algorithms[i]));
    if (begun && (!era || begun <= version))
      era = &algorithms[i];
  }
  return era ? algorithm_name(era) : NULL;
}

static void say_unknown(const char *name)
{
  unsigned version = version_of(name);
  const char *near = version ? era_of(version)
                             : policy_nearest(name, name_of, algorithm_count(), NULL);
  if (near)
    complain("simulate",
             "-a: unknown algorithm '%s'; the nearest is '%s', and `-a list` lists them", name,
             near);
  else
    complain("simulate", "-a: unknown algorithm '%s'; `-a list` lists them", name);
}

static bool take_algorithm(struct scenario *s, const char *name)
{
  const struct algorithm *a = algorithm_find(name);
  if (!a) {
    say_unknown(name);
    return false;
  }
  for (int i = 0; i < s->algorithm_count; i++)
    if (s->algorithms[i] == a)
      return true;
  s->algorithms[s->algorithm_count++] = a;
  return true;
}

static bool take_algorithms(struct scenario *s, const char *names)
{
  char *copy = strdup(names), *rest = copy;
  bool good = copy;
  for (char *name; good && (name = strsep(&rest, ","));)
    if (strcmp(name, "all") == 0)
      for (int i = 0; i < algorithm_count(); i++)
        take_algorithm(s, algorithm_name(&algorithms[i]));
    else
      good = take_algorithm(s, name);
  free(copy);
  return good;
}

/* connect() of each era. */
static void default_algorithms(struct scenario *s)
{
  for (int i = 0; i < algorithm_count(); i++)
    if (algorithms[i].model && !algorithms[i].to_all)
      s->algorithms[s->algorithm_count++] = &algorithms[i];
}

/* --- this machine, where nothing was given --------------------------------------------------- */

static unsigned long number_here(const char *name, unsigned long otherwise)
{
  size_t size;
  char *text = sysctl_read(name, &size);
  unsigned long value = text ? strtoul(text, NULL, 10) : otherwise;
  free(text);
  return value;
}

/* What /proc does not tell is what Linux begins with. */
static bool settle_range(struct workload *w, const struct given *g)
{
  const struct policy_machine *here = machine_here();
  w->low = g->has_range ? g->range.low : here->low;
  w->high = g->has_range ? g->range.high : here->high;
  if (g->has_local_range) {
    /* inet_sk_get_local_port_range(): a bound outside the sysctl's range is ignored. */
    const struct policy_ports *r = &g->local_range;
    w->own_range = true;
    if (r->low > w->low && r->low <= w->high)
      w->low = r->low;
    if (r->high < w->high && r->high >= w->low)
      w->high = r->high;
  }
  for (uint32_t i = 0; !g->reserved && i < here->reserved_count; i++)
    add_ports(&w->held, &here->reserved[i]);
  return take_ports("--reserved", g->reserved, &w->held) && take_ports("--held", g->held, &w->held);
}

static void settle_time_wait(struct workload *w, const struct given *g)
{
  unsigned long reuse = g->has_reuse ? g->tw_reuse : number_here("ipv4/tcp_tw_reuse", 2);
  unsigned long delay = g->has_delay ? g->tw_reuse_delay
                                     : number_here("ipv4/tcp_tw_reuse_delay", 1000);
  bool reused = reuse == 1 || (reuse == 2 && g->loopback);
  w->time_wait_reuse = reused ? (double)delay / 1000 : INFINITY;
}

static bool settle(struct scenario *s, const struct given *g)
{
  struct workload *w = &s->workload;
  if (!settle_range(w, g))
    return false;
  settle_time_wait(w, g);
  if (!s->algorithm_count)
    default_algorithms(s);
  for (int i = 0; w->own_range && i < s->algorithm_count; i++) {
    const struct algorithm *a = s->algorithms[i];
    if (a->model && !a->model->own_range) {
      complain("simulate", "--local-range: %s knows no IP_LOCAL_PORT_RANGE", algorithm_name(a));
      return false;
    }
  }
  if (g->trace + s->each + (s->svg != NULL) > 1) {
    complain("simulate", "--trace, --each and --svg each show something else: one of them");
    return false;
  }
  if ((uint64_t)w->sources * w->destinations > 4096) {
    complain("simulate", "--sources times --destinations is at most 4096");
    return false;
  }
  if (g->trace)
    s->traced = (g->traced ? g->traced : w->connections) - 1;
  if (g->trace && s->traced >= w->connections) {
    complain("simulate", "--trace: there are only %u connections", w->connections);
    return false;
  }
  return true;
}

/* --- the command ----------------------------------------------------------------------------- */

static bool take_close(struct workload *w, const char *value)
{
  w->client_closes = strcmp(value, "client") == 0;
  if (w->client_closes || strcmp(value, "server") == 0)
    return true;
  return refuse_value("--close", value, "client or server");
}

/* UDP's table has a power of two of them: udp_table_init(). */
static bool take_slots(struct workload *w, const char *value)
{
  if (!take_number("--udp-slots", value, 1, 65536, &w->udp_slots))
    return false;
  return !(w->udp_slots & (w->udp_slots - 1)) ||
         refuse_value("--udp-slots", value, "a power of two");
}

static bool take_option(struct scenario *s, struct given *g, int option, const char *value)
{
  struct workload *w = &s->workload;
  switch (option) {
  case 'a': return take_algorithms(s, value);
  case 'n': return take_number("-n", value, 1, 1000000000, &w->connections);
  case RATE: return take_seconds("--rate", value, 1e-9, &w->rate);
  case LIFETIME: return take_seconds("--lifetime", value, 0, &w->lifetime);
  case CLOSE: return take_close(w, value);
  case DESTINATIONS: return take_number("--destinations", value, 1, 4096, &w->destinations);
  case SOURCES: return take_number("--sources", value, 1, 4096, &w->sources);
  case 'r': g->has_range = true; return take_range("-r", value, &g->range);
  case LOCAL_RANGE:
    g->has_local_range = true;
    return take_range("--local-range", value, &g->local_range);
  case RESERVED: g->reserved = list_with(g->reserved, value); return true;
  case HELD: g->held = list_with(g->held, value); return true;
  case TW_REUSE: return g->has_reuse = take_number("--tw-reuse", value, 0, 2, &g->tw_reuse);
  case TW_REUSE_DELAY:
    return g->has_delay = take_number("--tw-reuse-delay", value, 0, 60000, &g->tw_reuse_delay);
  case LOOPBACK: return g->loopback = true;
  case TIME_WAIT: return take_seconds("--time-wait", value, 0, &w->time_wait);
  case STEP_WIDTH: return take_number("--step-width", value, 0, UINT32_MAX, &w->step_width);
  case REUSEADDR: return w->reuse = true;
  case UDP_SLOTS: return take_slots(w, value);
  case SEED: return take_long("--seed", value, &w->seed);
  case HINT: w->hint = &g->hint; return take_number("--hint", value, 0, UINT32_MAX, &g->hint);
  case OFFSET: w->offset = &g->offset; return take_long("--offset", value, &g->offset);
  case TRACE:
    g->trace = true;
    return !value || take_number("--trace", value, 1, 1000000000, &g->traced);
  case EACH: return s->each = true;
  case JSON: return s->json = true;
  default: s->svg = value; return true;
  }
}

/* Of all connections together, and not of each or of one. */
static bool shows_results(const struct scenario *s)
{
  return !s->each && s->traced == TRACE_NOTHING;
}

static struct simulation_observer observer_of(const struct scenario *s, const struct algorithm *a,
                                              struct trace *trace, struct plot *plot)
{
  void *algorithm = (void *)(uintptr_t)a;
  if (s->traced != TRACE_NOTHING)
    return (struct simulation_observer){trace_look, trace_attempt, NULL, trace, &s->traced};
  if (s->each)
    return (struct simulation_observer){NULL, s->json ? print_attempt_json : print_attempt, NULL,
                                        algorithm, NULL};
  if (plot)
    return (struct simulation_observer){NULL, plot_attempt, NULL, plot, NULL};
  return (struct simulation_observer){0};
}

static bool run_algorithm(const struct scenario *s, const struct algorithm *a, struct plot *plot)
{
  struct trace trace = {.number = s->traced, .workload = &s->workload, .algorithm = a};
  struct simulation_observer observer = observer_of(s, a, &trace, plot);
  struct simulation_result result;
  if (plot)
    plot_algorithm(plot, a);
  int error = simulate(&s->workload, a, &observer, &result);
  free(trace.looked_at);
  if (error)
    complain("simulate", "%s: %s", algorithm_name(a), strerror(error));
  else if (!shows_results(s))
    return true;
  else if (s->json)
    print_result_json(&s->workload, a, &result);
  else
    print_result(&s->workload, a, &result);
  return !error;
}

static int run(const struct scenario *s)
{
  struct plot *plot = s->svg ? plot_begin(s) : NULL;
  bool good = plot || !s->svg;
  if (good && !s->json && !s->each)
    print_workload(&s->workload);
  if (good && !s->json && shows_results(s))
    print_results_head();
  for (int i = 0; good && i < s->algorithm_count; i++)
    good = run_algorithm(s, s->algorithms[i], plot);
  if (good && plot)
    good = plot_draw(plot, s->svg);
  plot_end(plot);
  return fflush(stdout) || !good ? EXIT_TROUBLE : EXIT_YES;
}

static int simulate_main(int argc, char **argv)
{
  struct scenario s = {.traced = TRACE_NOTHING,
                       .workload = {.connections = 20000,
                                    .lifetime = INFINITY,
                                    .destinations = 1,
                                    .sources = 1,
                                    .udp_slots = 256,
                                    .client_closes = true,
                                    .time_wait = 60,
                                    .seed = 1}};
  struct given g = {0};
  int c, status;
  while ((c = next_option(&simulate_command, argc, argv, "+:a:n:r:" COMMON_SHORT, long_options,
                          EXIT_TROUBLE, &status)) != -1) {
    if (c == OPTION_EXIT)
      return status;
    if (c == 'a' && strcmp(optarg, "list") == 0) {
      list_algorithms();
      return fflush(stdout) ? EXIT_TROUBLE : EXIT_YES;
    }
    if (!take_option(&s, &g, c, optarg))
      return EXIT_TROUBLE;
  }
  if (optind < argc) {
    complain("simulate", "'%s': takes no operands; `berth simulate -h` tells how", argv[optind]);
    return EXIT_TROUBLE;
  }
  return settle(&s, &g) ? run(&s) : EXIT_TROUBLE;
}

const struct command simulate_command = {"simulate", simulate_main,
                                         "runs a port-selection algorithm over a workload", usage};
