// SPDX-License-Identifier: MIT
//
// A recording from whoever, read as `berth log` and `berth stats` do, which changes while it is
// read. An input is a list of stores into a file that is empty at first (see recording_input.h): so
// it is small where the file is zeros, and it says when each store is made.
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cli/follow.h"
#include "cli/gather.h"
#include "cli/print.h"
#include "cli/process.h"
#include "cli/summary.h"
#include "fuzz.h"
#include "recording_input.h"

static struct {
  int fd; /* the file, for writing */
  const uint8_t *at, *end;
  unsigned reads; /* until the next store */
} input;

static void store(const struct recording_store *s)
{
  uint64_t at = s->at % RECORDING_MOST;
  if (!s->length)
    HOLDS(ftruncate(input.fd, (off_t)at) == 0);
  else if (at + s->length <= RECORDING_MOST)
    HOLDS(pwrite(input.fd, s->bytes, s->length, (off_t)at) == s->length);
}

/* Makes the stores whose time has come. */
static void go_on(void)
{
  struct recording_store s;
  while (input.at < input.end) {
    const uint8_t *next = recording_take(input.at, input.end, &s);
    if (input.reads < s.reads)
      return;
    input.reads = 0;
    input.at = next;
    store(&s);
  }
}

ssize_t __real_pread(int fd, void *to, size_t size, off_t at);
ssize_t __wrap_pread(int fd, void *to, size_t size, off_t at);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
uint64_t __wrap_own_namespace(const char *kind);

/* What the reader reads is the file as it is then. */
ssize_t __wrap_pread(int fd, void *to, size_t size, off_t at)
{
  input.reads++;
  go_on();
  return __real_pread(fd, to, size, at);
}

/* The reader's patience with writers that are slow. */
int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
  (void)time;
  (void)left;
  input.reads++;
  go_on();
  return 0;
}

/* A clock by which nobody waits long for an event that is not finished. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
  static time_t ticks;
  (void)clock;
  ticks++;
  *time = (struct timespec){ticks / 50, ticks % 50 * 20000000};
  return 0;
}

/* The namespaces of the seeds' processes, so that /proc is asked about them. */
uint64_t __wrap_own_namespace(const char *kind)
{
  return strcmp(kind, "net") == 0 ? RECORDING_NET : RECORDING_PID;
}

/* --- what is printed ------------------------------------------------------------------------ */

static char *printed;
static size_t printed_size;

static FILE *begin_print(void)
{
  FILE *out = open_memstream(&printed, &printed_size);
  HOLDS(out);
  return out;
}

static void check_json(const char *line)
{
  json_t *object = json_loads(line, 0, NULL);
  HOLDS(json_is_object(object));
  json_decref(object);
}

/* Whole lines of plain characters; as JSON, an object each. */
static void end_print(FILE *out, bool json)
{
  HOLDS(fclose(out) == 0 && strlen(printed) == printed_size);
  HOLDS(!printed_size || printed[printed_size - 1] == '\n');
  for (char *rest = printed, *line; (line = strsep(&rest, "\n")) && rest;) {
    check_line(line, printed_size);
    HOLDS(line[0]);
    if (json)
      check_json(line);
  }
  free(printed);
}

/* --- the commands --------------------------------------------------------------------------- */

static bool open_input(struct record_reader *reader)
{
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", input.fd);
  const char *problem = record_open(reader, AT_FDCWD, path);
  if (problem)
    check_line(problem, 200);
  return !problem;
}

static void print_stats(bool json)
{
  struct record_reader reader;
  if (!open_input(&reader))
    return;
  FILE *out = begin_print();
  HOLDS(print_summary(out, &reader, json));
  end_print(out, json);
  process_any_running(&reader);
  record_close(&reader);
}

/* As `berth log`: with `follow`, as one that goes on for a while. */
static void print_log(bool json, bool follow)
{
  struct record_reader reader;
  struct follower f;
  struct printer printer = {.json = json};
  if (!open_input(&reader))
    return;
  HOLDS(follow_begin(&f, &reader));
  printer.out = begin_print();
  for (int i = 0; i < (follow ? 3 : 0); i++)
    follow_read(&f, false, print_event, &printer);
  follow_read(&f, true, print_event, &printer);
  end_print(printer.out, json);
  follow_end(&f);
}

/* As `berth log` of several recordings. */
static void gather_log(void)
{
  static const struct event_match all;
  struct record_reader reader;
  struct follower f;
  struct gathering g = {.match = &all};
  if (!open_input(&reader))
    return;
  HOLDS(follow_begin(&f, &reader));
  follow_read(&f, true, gather_event, &g);
  gather_sort(&g);
  for (size_t i = 1; i < g.count; i++)
    HOLDS(g.events[i - 1].event.time <= g.events[i].event.time);
  free(g.events);
  follow_end(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static int file;
  if (!size)
    return 0;
  if (!file)
    file = memfd_create("fuzz", MFD_CLOEXEC);
  HOLDS(file > 0 && ftruncate(file, 0) == 0);
  input.fd = file;
  input.at = data + 1;
  input.end = data + size;
  input.reads = 0;
  go_on();
  switch (data[0] & 7) {
  case 0: print_stats(false); break;
  case 1: print_stats(true); break;
  case 2: print_log(false, false); break;
  case 3: print_log(true, false); break;
  case 4: print_log(false, true); break;
  case 5: print_log(true, true); break;
  default: gather_log(); break;
  }
  return 0;
}
