// SPDX-License-Identifier: MIT
#include "cli/recordings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/process.h"
#include "cli/steering.h"
#include "record/clock.h"
#include "record/map.h"
#include "record/text.h"

void default_directories(struct record_directories *d)
{
  static char runtime[PATH_MAX];
  const char *list = secure_getenv("RUNTIME_DIRECTORY"); /* systemd separates several by colons */
  if (list)
    snprintf(runtime, sizeof runtime, "%.*s", (int)strcspn(list, ":"), list);
  struct record_places places = {.runtime_directory = runtime,
                                 .xdg_runtime_dir = secure_getenv("XDG_RUNTIME_DIR"),
                                 .tmpdir = secure_getenv("TMPDIR")};
  record_directories(d, &places);
}

static void add(struct recordings *r, const char *path, bool is_entry)
{
  struct recording *more = realloc(r->list, (r->count + 1) * sizeof *more);
  char *copy = strdup(path);
  if (!more || !copy)
    abort();
  more[r->count] = (struct recording){copy, is_entry};
  r->list = more;
  r->count++;
}

struct search {
  struct recordings *found;
  const char *directory;
};

static bool has_suffix(const char *name)
{
  size_t n = strlen(name), m = strlen(RECORD_SUFFIX);
  return n > m && strcmp(name + n - m, RECORD_SUFFIX) == 0;
}

static bool add_entry(int directory, const char *name, void *context)
{
  struct search *s = context;
  char path[PATH_MAX];
  (void)directory;
  if (has_suffix(name) &&
      snprintf(path, sizeof path, "%s/%s", s->directory, name) < (int)sizeof path)
    add(s->found, path, true);
  return true;
}

/* The time in the name that a recording was given: PID-TIME.berth. */
static unsigned long long time_in(const char *path)
{
  const char *dash = strrchr(path, '-');
  return dash ? strtoull(dash + 1, NULL, 16) : 0;
}

static int by_time_in_name(const void *a, const void *b)
{
  const struct recording *one = a, *other = b;
  unsigned long long x = time_in(one->path), y = time_in(other->path);
  return x < y ? -1 : x > y;
}

/* A directory's, the oldest first. */
static void add_directory(struct recordings *r, const char *path, int fd)
{
  struct search s = {r, path};
  size_t before = r->count;
  record_directory_walk(fd, add_entry, &s);
  if (r->count > before)
    qsort(r->list + before, r->count - before, sizeof *r->list, by_time_in_name);
}

static void add_operand(struct recordings *r, const char *where, const char *path)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  struct stat s;
  if (fd < 0 || fstat(fd, &s)) {
    complain(where, "%s: %s", path, strerror(errno));
    r->trouble = true;
  } else if (S_ISDIR(s.st_mode)) {
    add_directory(r, path, fd);
  } else {
    add(r, path, false);
  }
  if (fd >= 0)
    close(fd);
}

/* A default directory that exists, is this user's and nobody else's to write to, as the shim demands
 * it; its descriptor, or -1. */
static int open_default(const struct record_directories *d, int i, char path[PATH_MAX + 32])
{
  struct text t = {path, path, path + PATH_MAX + 32, false};
  struct stat s;
  record_directory_path(&t, d, i, geteuid());
  text_end(&t);
  if (!path[0])
    return -1;
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || (fstat(fd, &s) == 0 && s.st_uid == geteuid() && !(s.st_mode & 022)))
    return fd;
  close(fd);
  return -1;
}

/* Calls `each` for the default directories that there are. */
static void each_default(void (*each)(const char *path, int fd, void *), void *context)
{
  struct record_directories d;
  char path[PATH_MAX + 32];
  default_directories(&d);
  for (int i = 0; i < RECORD_DIRECTORIES; i++) {
    int fd = open_default(&d, i, path);
    if (fd < 0)
      continue;
    each(path, fd, context);
    close(fd);
  }
}

static void add_default(const char *path, int fd, void *context)
{
  add_directory(context, path, fd);
}

struct recordings recordings_find(const char *where, int count, char **operands)
{
  struct recordings r = {0};
  for (int i = 0; i < count; i++)
    add_operand(&r, where, operands[i]);
  if (!count)
    each_default(add_default, &r);
  return r;
}

bool is_directory(const char *path)
{
  struct stat s;
  return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static bool any_in(const struct recordings *r, const char *directory)
{
  size_t n = strlen(directory);
  for (size_t i = 0; i < r->count; i++) {
    const char *path = r->list[i].path;
    if (strncmp(path, directory, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/'))
      return true;
  }
  return false;
}

void recordings_say_none(const struct recordings *r, const char *where, int count, char **operands)
{
  if (!count && !r->count && !r->trouble)
    complain(where, "no recording in the default directories of user %u", (unsigned)geteuid());
  for (int i = 0; i < count; i++)
    if (is_directory(operands[i]) && !any_in(r, operands[i]))
      complain(where, "%s: no recording (*" RECORD_SUFFIX ") in this directory", operands[i]);
}

void recordings_free(struct recordings *r)
{
  for (size_t i = 0; i < r->count; i++)
    free(r->list[i].path);
  free(r->list);
}

static const char *try_open(const struct recording *recording, struct record_reader *reader)
{
  return recording->is_entry ? record_open_entry(reader, AT_FDCWD, recording->path)
                             : record_open(reader, AT_FDCWD, recording->path);
}

/* The magic comes last into a file that is being made. */
static bool is_being_made(const char *path)
{
  uint64_t magic = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (fd < 0)
    return errno == ENOENT;
  bool being_made = pread(fd, &magic, sizeof magic, 0) >= 0 && !magic && record_is_mapped_still(fd);
  close(fd);
  return being_made;
}

enum recording_opened recording_open(const char *where, const struct recording *recording,
                                     struct record_reader *reader)
{
  const char *problem = try_open(recording, reader);
  if (problem && recording->is_entry) {
    if (is_being_made(recording->path))
      return RECORDING_NOT_YET;
    problem = try_open(recording, reader); /* it may have been finished just now */
  }
  if (problem)
    complain(where, "%s: %s", recording->path, problem);
  return problem ? RECORDING_REFUSED : RECORDING_OPEN;
}

/* --- tidying ----------------------------------------------------------------------------- */

/* Of one that is not mapped, as the kernel says. */
static bool nobody_writes(struct record_reader *reader)
{
  return !(reader->flags & RECORD_HIDDEN_USE) || !process_any_running(reader);
}

bool recording_is_unused(int directory, const char *name)
{
  struct record_reader reader;
  if (record_is_mapped(directory, name) || record_open_entry(&reader, directory, name))
    return false;
  bool unused = nobody_writes(&reader);
  record_close(&reader);
  return unused;
}

bool recording_is_gone(struct record_reader *reader)
{
  struct stat s;
  return fstat(reader->fd, &s) == 0 && !s.st_nlink && !record_is_mapped_still(reader->fd) &&
         nobody_writes(reader);
}

bool recording_delete(int directory, const char *name)
{
  if (!recording_is_unused(directory, name))
    return false;
  steering_remove_beside(directory, name);
  return unlinkat(directory, name, 0) == 0;
}

/* All by names in the directory that was opened: what its path leads to may be changed meanwhile by
 * whoever owns a directory above. */
struct candidate {
  char *name;
  uint64_t last; /* CLOCK_REALTIME of its last event, or its creation */
  uint64_t size;
};

struct candidates {
  struct candidate *list;
  size_t count;
};

static uint64_t last_event(struct record_reader *reader)
{
  struct record_read_event e;
  uint64_t head = record_head(reader);
  if (head && record_read_events(reader, head - 1, 1, &e) == 1 && e.fate == RECORD_WHOLE)
    return e.event.time;
  return reader->created;
}

static int by_age(const void *a, const void *b)
{
  const struct candidate *x = a, *y = b;
  return x->last < y->last ? -1 : x->last > y->last;
}

static bool look_at(int directory, const char *name, struct candidate *c)
{
  struct record_reader reader;
  struct stat s;
  if (record_open_entry(&reader, directory, name))
    return false;
  bool ok = fstat(reader.fd, &s) == 0;
  *c = (struct candidate){strdup(name), last_event(&reader), (uint64_t)s.st_blocks * 512};
  record_close(&reader);
  return ok && c->name;
}

static bool add_candidate(int directory, const char *name, void *context)
{
  struct candidates *all = context;
  struct candidate c;
  if (!has_suffix(name) || !look_at(directory, name, &c))
    return true;
  struct candidate *more = realloc(all->list, (all->count + 1) * sizeof *more);
  if (!more) {
    free(c.name);
    return false;
  }
  all->list = more;
  more[all->count++] = c;
  return true;
}

#define DAY_NS (UINT64_C(86400) * 1000000000)

static void tidy(int directory, struct candidates *all)
{
  uint64_t used = 0, yesterday = clock_ns(CLOCK_REALTIME) - DAY_NS;
  uint64_t limit = record_directory_limit(directory);
  for (size_t i = 0; i < all->count; i++)
    used += all->list[i].size;
  if (all->count)
    qsort(all->list, all->count, sizeof *all->list, by_age);
  for (size_t i = 0; i < all->count; i++) {
    const struct candidate *c = &all->list[i];
    if ((c->last < yesterday || used > limit / 2) && recording_delete(directory, c->name))
      used -= c->size;
  }
}

static void tidy_directory(const char *path, int fd, void *context)
{
  struct candidates all = {0};
  (void)path;
  (void)context;
  record_directory_walk(fd, add_candidate, &all);
  tidy(fd, &all);
  for (size_t i = 0; i < all.count; i++)
    free(all.list[i].name);
  free(all.list);
}

void recordings_tidy(void)
{
  each_default(tidy_directory, NULL);
}
