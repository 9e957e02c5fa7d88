// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/follow.h"
#include "cli/gather.h"
#include "cli/print.h"
#include "cli/recordings.h"
#include "cli/tidy.h"
#include "cli/why.h"

static const char usage[] =
    "Usage: berth log [OPTIONS] [RECORDING|DIRECTORY...]\n"
    "Prints the events of recordings; without an operand, of those in the default\n"
    "directory.\n\n"
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
    problem = "one process can be asked for, and there is another -p";
    if (m->pid && m->pid != pid)
      break;
    m->pid = (uint32_t)pid;
    return true;
  case 'L':
    m->has_local_ports = true;
    if (parse_ports(&m->local_ports, optarg, &problem))
      return true;
    break;
  default:
    problem = "one destination can be asked for, and there is another -D";
    if (!m->has_peer_ports && !m->has_peer_address && parse_peer(m, optarg, &problem))
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
  char **folders; /* the operands that are: where new ones may appear */
  int folder_count;
};

/* All that is there. Events that are just being written get their time, without -f, in which they
 * come later. */
static void read_all(struct log_options *o, struct open_recordings *all, follow_event *each,
                     void *context)
{
  const struct timespec patience = {.tv_nsec = RECORD_PATIENCE_MS * 1000000L};
  bool unfinished = false;
  for (size_t i = 0; i < all->count; i++) {
    struct follower *f = &all->followed[i].follower;
    follow_read(f, false, each, context);
    unfinished |= f->next < f->head;
  }
  if (o->follow || !unfinished)
    return;
  nanosleep(&patience, NULL);
  for (size_t i = 0; i < all->count; i++) {
    follow_settle(&all->followed[i].follower);
    follow_read(&all->followed[i].follower, false, each, context);
  }
}

/* Everything so far, in time's order where it comes from several recordings. */
static void print_gathered(struct log_options *o, struct open_recordings *all)
{
  struct gathering g = {.match = &o->printer.match};
  read_all(o, all, gather_event, &g);
  if (all->count > 1)
    gather_sort(&g);
  size_t from = o->lines && o->lines < g.count ? g.count - o->lines : 0;
  for (size_t i = from; i < g.count; i++)
    print_event(&g.events[i].event, &g.events[i].origin, &o->printer);
  free(g.events);
}

static void add_followed(struct open_recordings *all, const char *path,
                         struct record_reader *reader)
{
  struct followed *more = realloc(all->followed, (all->count + 1) * sizeof *more);
  if (!more || !follow_begin(&more[all->count].follower, reader))
    abort();
  more[all->count].path = strdup(path);
  all->followed = more;
  all->count++;
}

static int by_path(const void *a, const void *b)
{
  const struct recording *x = a, *y = b;
  return strcmp(x->path, y->path);
}

static bool is_new(const struct recordings *known, const struct recording *recording)
{
  return !known->count ||
         !bsearch(recording, known->list, known->count, sizeof *recording, by_path);
}

/* Opens what was found and is not among `known`, which is in order. What is not there yet is taken
 * out again, as if it had not been found. Returns false where one was refused. */
static bool open_found(struct open_recordings *all, const struct recordings *known)
{
  struct recordings *found = &all->found;
  size_t kept = 0;
  bool ok = true;
  for (size_t i = 0; i < found->count; i++) {
    struct recording *recording = &found->list[i];
    struct record_reader reader;
    enum recording_opened opened = RECORDING_OPEN;
    if (is_new(known, recording)) {
      opened = recording_open("log", recording, &reader);
      if (opened == RECORDING_OPEN)
        add_followed(all, recording->path, &reader);
    }
    ok &= opened != RECORDING_REFUSED;
    if (opened == RECORDING_NOT_YET)
      free(recording->path);
    else
      found->list[kept++] = *recording;
  }
  found->count = kept;
  return ok;
}

/* Recordings that have appeared in the directories since. */
static void open_new(struct open_recordings *all)
{
  struct recordings known = all->found;
  if (known.count)
    qsort(known.list, known.count, sizeof *known.list, by_path);
  all->found = recordings_find("log", all->folder_count, all->folders, true);
  open_found(all, &known);
  recordings_free(&known);
}

static void close_one(struct followed *f)
{
  follow_end(&f->follower);
  free(f->path);
}

/* Recordings that were deleted, to their end: each holds a descriptor, and its file's blocks. */
static void close_gone(struct log_options *o, struct open_recordings *all)
{
  size_t kept = 0;
  for (size_t i = 0; i < all->count; i++) {
    struct followed *f = &all->followed[i];
    if (recording_is_gone(&f->follower.reader)) {
      follow_read(&f->follower, true, print_event, &o->printer);
      close_one(f);
    } else {
      all->followed[kept++] = *f;
    }
  }
  all->count = kept;
}

/* What of a recording is not shown, and not because an option leaves it out. */
static void say_missing(const struct open_recordings *all)
{
  for (size_t i = 0; i < all->count; i++) {
    char what[PATH_MAX + 16];
    snprintf(what, sizeof what, "%s: events", all->followed[i].path);
    follow_say_missing(&all->followed[i].follower, "log", what);
  }
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

static int follow_on(struct log_options *o, struct open_recordings *all, bool looks)
{
  const struct timespec tick = {.tv_nsec = 20 * 1000000};
  for (unsigned n = 1;; n++) {
    for (size_t i = 0; i < all->count; i++)
      follow_read(&all->followed[i].follower, false, print_event, &o->printer);
    if (fflush(o->printer.out) || ferror(o->printer.out) || say_broken(all))
      return EXIT_TROUBLE;
    say_missing(all);
    nanosleep(&tick, NULL);
    if (n % 10 == 0) {
      close_gone(o, all);
      if (looks)
        open_new(all);
    }
  }
}

static void close_all(struct open_recordings *all)
{
  for (size_t i = 0; i < all->count; i++)
    close_one(&all->followed[i]);
  free(all->followed);
  free(all->folders);
}

/* An operand that is a file is there from the beginning: it is not looked for again. */
static void find_folders(struct open_recordings *all, int count, char **operands)
{
  all->folders = calloc((size_t)count + 1, sizeof *all->folders);
  if (!all->folders)
    abort();
  for (int i = 0; i < count; i++)
    if (is_directory(operands[i]))
      all->folders[all->folder_count++] = operands[i];
}

/* Each recording is open to its end: as many may be as the hard limit allows. */
static void open_many(void)
{
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files))
    return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

static int log_recordings(struct log_options *o, int count, char **operands)
{
  struct open_recordings all = {.found = recordings_find("log", count, operands, true)};
  bool trouble = all.found.trouble;
  find_folders(&all, count, operands);
  recordings_say_none(&all.found, "log", count, operands);
  trouble |= !open_found(&all, &(struct recordings){0});
  if (all.count == 1 && !o->lines)
    read_all(o, &all, print_event, &o->printer);
  else
    print_gathered(o, &all);
  trouble |= fflush(o->printer.out) != 0;
  say_missing(&all);
  recordings_say_unrecorded(&all.found, "log");
  trouble |= say_broken(&all);
  if (o->follow && !trouble)
    trouble = follow_on(o, &all, !count || all.folder_count) != EXIT_YES;
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
  open_many();
  return log_recordings(&o, argc - optind, argv + optind);
}

const struct command log_command = {"log", log_main, "prints the events of recordings", usage};
