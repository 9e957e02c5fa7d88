// SPDX-License-Identifier: MIT
#include "cli/tidy.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/process.h"
#include "cli/steering.h"
#include "cli/unfinished.h"
#include "record/clock.h"
#include "record/map.h"

/* Of one that is not mapped, as the kernel says. */
static bool nobody_writes(struct record_reader *reader)
{
  return !(reader->flags & RECORD_HIDDEN_USE) || !process_any_running(reader);
}

bool recording_is_unused(int directory, const char *name)
{
  struct record_reader reader;
  if (unfinished_look(directory, name) == UNFINISHED_LEFT_LONG)
    return true;
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
  steering_remove_of(name);
  return unlinkat(directory, name, 0) == 0;
}

/* All by names in the directory that was opened: what its path leads to may be changed meanwhile by
 * whoever owns a directory above. */
struct candidate {
  char *name;
  uint64_t last; /* CLOCK_REALTIME of its last event, or its creation */
  bool begins;   /* `berth run --exec` made it, and COMMAND may be about to attach */
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

static bool begins(struct record_reader *reader)
{
  const uint64_t minute = UINT64_C(60) * 1000000000;
  return !record_processes_used(reader) && clock_ns(CLOCK_REALTIME) - reader->created < minute;
}

static int by_age(const void *a, const void *b)
{
  const struct candidate *x = a, *y = b;
  return x->last < y->last ? -1 : x->last > y->last;
}

/* One that holds nothing is older than any event. */
static bool look_inside(int directory, const char *name, struct candidate *c)
{
  struct record_reader reader;
  if (record_open_entry(&reader, directory, name))
    return unfinished_look(directory, name) == UNFINISHED_LEFT_LONG;
  c->last = last_event(&reader);
  c->begins = begins(&reader);
  record_close(&reader);
  return true;
}

static bool look_at(int directory, const char *name, struct candidate *c)
{
  struct stat s;
  *c = (struct candidate){0};
  if (!look_inside(directory, name, c) || fstatat(directory, name, &s, AT_SYMLINK_NOFOLLOW))
    return false;
  c->size = (uint64_t)s.st_blocks * 512;
  c->name = strdup(name);
  return c->name;
}

static bool add_candidate(int directory, const char *name, void *context)
{
  struct candidates *all = context;
  struct candidate c;
  if (!recording_has_name(name) || !look_at(directory, name, &c))
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

/* Returns how many were deleted. */
static size_t tidy(int directory, struct candidates *all)
{
  uint64_t used = 0, yesterday = clock_ns(CLOCK_REALTIME) - DAY_NS;
  uint64_t limit = record_directory_limit(directory);
  size_t deleted = 0;
  for (size_t i = 0; i < all->count; i++)
    used += all->list[i].size;
  if (all->count)
    qsort(all->list, all->count, sizeof *all->list, by_age);
  for (size_t i = 0; i < all->count; i++) {
    const struct candidate *c = &all->list[i];
    bool stays = c->begins || (c->last >= yesterday && used <= limit / 2);
    if (stays || !recording_delete(directory, c->name))
      continue;
    used -= c->size;
    deleted++;
  }
  return deleted;
}

/* From now on they are counted anew. */
static void forget_unrecorded(int directory)
{
  if (record_directory_unrecorded(directory))
    unlinkat(directory, RECORD_UNRECORDED, 0);
}

static void tidy_directory(const char *path, int fd, void *context)
{
  const char *where = context;
  struct candidates all = {0};
  record_directory_walk(fd, add_candidate, &all);
  size_t deleted = tidy(fd, &all);
  if (deleted && where)
    complain(where, "%s: deleted %zu recording%s of processes that have ended", path, deleted,
             deleted == 1 ? "" : "s");
  if (deleted)
    forget_unrecorded(fd);
  for (size_t i = 0; i < all.count; i++)
    free(all.list[i].name);
  free(all.list);
  close(fd);
}

void tidy_defaults(const char *where)
{
  each_default_directory(tidy_directory, (void *)(uintptr_t)where);
}

void tidy_read(const struct recordings *r, const char *where)
{
  size_t deleted = 0, kept = 0;
  for (size_t i = 0; i < r->count; i++) {
    const struct recording *one = &r->list[i];
    const char *slash = strrchr(one->path, '/');
    bool gone = (one->was_read || one->was_left) &&
                recording_delete(one->directory, one->is_entry && slash ? slash + 1 : one->path);
    deleted += gone;
    kept += !gone;
  }
  for (size_t i = 0; i < r->directory_count; i++)
    forget_unrecorded(r->directories[i].fd);
  complain(where, "deleted %zu recording%s; %zu stay, which are in use or could not be read",
           deleted, deleted == 1 ? "" : "s", kept);
}
