// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/follow.h"
#include "cli/gather.h"
#include "cli/print.h"
#include "cli/recordings.h"
#include "cli/why.h"

static const char usage[] =
    "Usage: berth log [OPTIONS] [RECORDING|DIRECTORY...]\n"
    "Prints the events of recordings; without an operand, of those in the default directory.\n\n"
    "  -f, --follow              go on as events come, until interrupted\n"
    "  -n, --lines N             only the last N events\n"
    "      --json                JSON Lines\n"
    "  -Z, --failed-only         only calls that failed\n"
    "  -4, --ipv4                only IPv4, v4-mapped too\n"
    "  -6, --ipv6                only IPv6\n"
    "  -L, --local-ports PORTS   only these local ports: 40000-40999,41005\n"
    "  -D, --destination DEST    only this destination: [ADDR[/LEN]][:]PORTS\n"
    "  -p, --pid PID             only this process\n"
    "      --why                 say why each port was chosen, or why there was none\n"
    "  -h, --help                this text\n"
    "  -V, --version             the version\n";

struct log_options {
  struct printer printer;
  bool follow;
  unsigned long lines; /* 0: all */
};

static const struct option long_options[] = {
    {"follow", no_argument, NULL, 'f'},
    {"lines", required_argument, NULL, 'n'},
    {"json", no_argument, NULL, 'j'},
    {"failed-only", no_argument, NULL, 'Z'},
    {"ipv4", no_argument, NULL, '4'},
    {"ipv6", no_argument, NULL, '6'},
    {"local-ports", required_argument, NULL, 'L'},
    {"destination", required_argument, NULL, 'D'},
    {"pid", required_argument, NULL, 'p'},
    {"why", no_argument, NULL, 'w'},
    COMMON_OPTIONS,
    {0},
};

static bool set_number(const char *option, const char *text, unsigned long max,
                       unsigned long *value)
{
  if (parse_number(text, 1, max, value))
    return true;
  complain("log", "%s: '%s' is not a whole number from 1 to %lu", option, text, max);
  return false;
}

static bool set_option(struct log_options *o, int c)
{
  struct event_match *m = &o->printer.match;
  const char *problem = NULL;
  unsigned long pid = 0;
  switch (c) {
  case 'f': o->follow = true; return true;
  case 'j': o->printer.json = true; return true;
  case 'w': o->printer.reason = why; return true;
  case 'Z': m->failed_only = true; return true;
  case '4': m->ipv4_only = true; return true;
  case '6': m->ipv6_only = true; return true;
  case 'n': return set_number("-n", optarg, 1000000000, &o->lines);
  case 'p':
    if (!set_number("-p", optarg, 4194304, &pid))
      return false;
    m->pid = (uint32_t)pid;
    return true;
  case 'L':
    m->has_local_ports = true;
    if (parse_ports(&m->local_ports, optarg, &problem))
      return true;
    break;
  default:
    if (parse_peer(m, optarg, &problem))
      return true;
    break;
  }
  complain("log", "-%c: '%s': %s", c, optarg, problem);
  return false;
}

/* --- the recordings --------------------------------------------------------------------- */

struct followed {
  struct follower follower;
  char *path;
};

struct open_recordings {
  struct recordings found;
  struct followed *followed;
  size_t count;
};

/* Everything so far, in time's order where it comes from several recordings. */
static void print_gathered(struct log_options *o, struct open_recordings *all)
{
  struct gathering g = {.match = &o->printer.match};
  for (size_t i = 0; i < all->count; i++)
    follow_read(&all->followed[i].follower, !o->follow, gather_event, &g);
  if (all->count > 1)
    gather_sort(&g);
  size_t from = o->lines && o->lines < g.count ? g.count - o->lines : 0;
  for (size_t i = from; i < g.count; i++)
    print_event(&g.events[i].event, &g.events[i].origin, &o->printer);
  free(g.events);
}

static bool open_one(struct open_recordings *all, const struct recording *recording)
{
  struct record_reader reader;
  const char *path = recording->path, *problem = recording_open(&reader, recording);
  if (problem) {
    complain("log", "%s: %s", path, problem);
    return false;
  }
  struct followed *more = realloc(all->followed, (all->count + 1) * sizeof *more);
  if (!more || !follow_begin(&more[all->count].follower, &reader))
    abort();
  more[all->count].path = strdup(path);
  all->followed = more;
  all->count++;
  return true;
}

static bool is_new(const struct recordings *known, const char *path)
{
  for (size_t i = 0; i < known->count; i++)
    if (strcmp(known->list[i].path, path) == 0)
      return false;
  return true;
}

/* Recordings that have appeared in the directories since. */
static void open_new(struct open_recordings *all, int count, char **operands)
{
  struct recordings now = recordings_find("log", count, operands);
  for (size_t i = 0; i < now.count; i++)
    if (is_new(&all->found, now.list[i].path))
      open_one(all, &now.list[i]);
  recordings_free(&all->found);
  all->found = now;
}

/* Says which recordings could not be read to the end. */
static bool say_broken(const struct open_recordings *all)
{
  bool any = false;
  for (size_t i = 0; i < all->count; i++)
    if (all->followed[i].follower.reader.broken) {
      complain("log", "%s: " BROKEN, all->followed[i].path);
      any = true;
    }
  return any;
}

static int follow_on(struct log_options *o, struct open_recordings *all, int count, char **operands)
{
  const struct timespec tick = {.tv_nsec = 20 * 1000000};
  for (unsigned n = 1;; n++) {
    for (size_t i = 0; i < all->count; i++)
      follow_read(&all->followed[i].follower, false, print_event, &o->printer);
    if (fflush(o->printer.out) || ferror(o->printer.out) || say_broken(all))
      return EXIT_TROUBLE;
    nanosleep(&tick, NULL);
    if (n % 10 == 0)
      open_new(all, count, operands);
  }
}

static void close_all(struct open_recordings *all)
{
  for (size_t i = 0; i < all->count; i++) {
    follow_end(&all->followed[i].follower);
    free(all->followed[i].path);
  }
  free(all->followed);
}

static int log_recordings(struct log_options *o, int count, char **operands)
{
  struct open_recordings all = {.found = recordings_find("log", count, operands)};
  bool trouble = all.found.trouble;
  if (!count)
    recordings_say_none(&all.found, "log");
  for (size_t i = 0; i < all.found.count; i++)
    trouble |= !open_one(&all, &all.found.list[i]);
  if (all.count == 1 && !o->lines)
    follow_read(&all.followed[0].follower, !o->follow, print_event, &o->printer);
  else
    print_gathered(o, &all);
  trouble |= fflush(o->printer.out) != 0 || say_broken(&all);
  if (o->follow && !trouble)
    trouble = follow_on(o, &all, count, operands) != EXIT_YES;
  close_all(&all);
  recordings_free(&all.found);
  return trouble ? EXIT_TROUBLE : EXIT_YES;
}

static int log_main(int argc, char **argv)
{
  static struct log_options o;
  int c, status;
  o.printer.out = stdout;
  while ((c = next_option(&log_command, argc, argv, "+:fn:Z46L:D:p:" COMMON_SHORT, long_options,
                          EXIT_TROUBLE, &status)) != -1)
    if (c == OPTION_EXIT)
      return status;
    else if (!set_option(&o, c))
      return EXIT_TROUBLE;
  recordings_tidy();
  return log_recordings(&o, argc - optind, argv + optind);
}

const struct command log_command = {"log", log_main, "prints the events of recordings", usage};
