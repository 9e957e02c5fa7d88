// SPDX-License-Identifier: MIT
#include "record/read.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record/duration.h"
#include "record/header.h"

bool record_read_at(struct record_reader *reader, void *to, size_t size, uint64_t offset)
{
  if (pread(reader->fd, to, size, (off_t)offset) == (ssize_t)size)
    return true;
  reader->broken = true;
  return false;
}

static const char *open_checked(struct record_reader *reader)
{
  struct stat s;
  struct record_header h;
  if (fstat(reader->fd, &s))
    return strerror(errno);
  if (!S_ISREG(s.st_mode))
    return "not a recording of berth: not a regular file";
  if (s.st_size < RECORD_HEADER_SIZE || !record_read_at(reader, &h, sizeof h, 0))
    return "not a recording of berth: too short";
  const char *problem = record_header_problem(&h, (uint64_t)s.st_size);
  if (problem)
    return problem;
  reader->processes = h.processes;
  reader->destinations = h.destinations;
  reader->events = h.events;
  reader->rules = h.rules;
  reader->size = h.file_size;
  reader->created = h.created;
  reader->flags = h.flags;
  memcpy(reader->boot_id, h.boot_id, sizeof h.boot_id);
  memcpy(reader->version, h.version, sizeof h.version);
  reader->scratch = calloc(3 * RECORD_READ_MAX, sizeof *reader->scratch);
  return reader->scratch ? NULL : strerror(ENOMEM);
}

static const char *open_file(struct record_reader *reader, int directory, const char *name,
                             int flags)
{
  memset(reader, 0, sizeof *reader);
  /* O_NONBLOCK: a FIFO must not hold the reader up, nor somebody's lease on the file. */
  flags |= O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  reader->fd = openat(directory, name, flags);
  if (reader->fd < 0)
    return errno == ELOOP && (flags & O_NOFOLLOW) ? "a symbolic link, which is not followed here"
                                                  : strerror(errno);
  const char *problem = open_checked(reader);
  if (problem)
    record_close(reader);
  return problem;
}

const char *record_open(struct record_reader *reader, int directory, const char *name)
{
  return open_file(reader, directory, name, 0);
}

const char *record_open_entry(struct record_reader *reader, int directory, const char *name)
{
  return open_file(reader, directory, name, O_NOFOLLOW);
}

void record_close(struct record_reader *reader)
{
  close(reader->fd);
  free(reader->scratch);
  reader->fd = -1;
  reader->scratch = NULL;
}

bool record_is_whole(struct record_reader *reader)
{
  struct stat s;
  if (fstat(reader->fd, &s) || (uint64_t)s.st_size != reader->size)
    reader->broken = true;
  return !reader->broken;
}

bool record_read_process(struct record_reader *reader, uint32_t process, struct record_process *row)
{
  uint64_t offset = reader->processes.offset + (uint64_t)process * RECORD_PROCESS_STRIDE;
  if (process >= reader->processes.count || !record_read_at(reader, row, sizeof *row, offset))
    return false;
  row->name[sizeof row->name - 1] = '\0';
  row->version[sizeof row->version - 1] = '\0';
  /* Its process may have been killed between taking the row and saying so. */
  if (row->state == RECORD_FREE && row->events_written)
    row->state = RECORD_RUNNING;
  return row->state != RECORD_FREE;
}

uint32_t record_processes_used(struct record_reader *reader)
{
  uint32_t claimed = 0;
  uint32_t last = reader->processes.count - 1;
  if (!record_read_at(reader, &claimed, sizeof claimed,
                      offsetof(struct record_header, processes_claimed)))
    return 0;
  return claimed < last ? claimed : last;
}

uint64_t record_head(struct record_reader *reader)
{
  uint64_t head = 0;
  if (!record_read_at(reader, &head, sizeof head, offsetof(struct record_header, head)))
    return 0;
  return head;
}

uint64_t record_oldest(struct record_reader *reader, uint64_t head)
{
  return head > reader->events.count ? head - reader->events.count : 0;
}

/* A cell copied three times, in this order: what the second copy holds is whole if the first
 * and the third have the same even `seq`. Each pread(2) is the barrier that a reader of the
 * mapping would need between them (see the ring in write.c). */
static void judge(const struct record_cell *copies, size_t at, size_t count, uint64_t index,
                  struct record_read_event *out)
{
  uint64_t before = atomic_load_explicit(&copies[at].seq, memory_order_relaxed);
  uint64_t after = atomic_load_explicit(&copies[2 * count + at].seq, memory_order_relaxed);
  uint64_t words[RECORD_EVENT_WORDS];
  out->index = index;
  uint64_t value = after & RECORD_SEQ_MASK, whole = (2 * index + 2) & RECORD_SEQ_MASK;
  if (value == whole && before == after) {
    out->fate = RECORD_WHOLE;
    out->process = (uint32_t)(after >> RECORD_SEQ_BITS);
    for (int w = 0; w < RECORD_EVENT_WORDS; w++)
      words[w] = atomic_load_explicit(&copies[count + at].words[w], memory_order_relaxed);
    memcpy(&out->event, words, sizeof out->event);
  } else if (value == whole || value == whole - 1) {
    out->fate = RECORD_WRITING;
  } else {
    out->fate = value > whole ? RECORD_GONE : RECORD_ABSENT;
  }
}

/* Copies `count` cells from cell `first` on, three times over. */
static bool copy_cells(struct record_reader *reader, uint64_t first, size_t count)
{
  for (size_t copy = 0; copy < 3; copy++)
    if (!record_read_at(reader, reader->scratch + copy * count, count * RECORD_CELL_STRIDE,
                        reader->events.offset + first * RECORD_CELL_STRIDE))
      return false;
  return true;
}

size_t record_read_events(struct record_reader *reader, uint64_t from, size_t count,
                          struct record_read_event *out)
{
  uint64_t head = record_head(reader);
  uint64_t first = from % reader->events.count;
  if (from >= head)
    return 0;
  if (count > RECORD_READ_MAX)
    count = RECORD_READ_MAX;
  if (count > head - from)
    count = head - from;
  if (count > reader->events.count - first)
    count = reader->events.count - first;
  if (!copy_cells(reader, first, count))
    return 0;
  for (size_t i = 0; i < count; i++)
    judge(reader->scratch, i, count, from + i, &out[i]);
  return count;
}

/* The index of the event that a cell holds, or UINT64_MAX for none. */
static uint64_t index_in(const struct record_cell *cell)
{
  uint64_t value = atomic_load_explicit(&cell->seq, memory_order_relaxed) & RECORD_SEQ_MASK;
  return value && !(value & 1) ? value / 2 - 1 : UINT64_MAX;
}

static int by_index(const void *a, const void *b)
{
  const struct record_read_event *x = a, *y = b;
  return x->index < y->index ? -1 : x->index > y->index;
}

size_t record_read_survivors(struct record_reader *reader, uint64_t oldest,
                             struct record_read_event **out)
{
  size_t found = 0, n;
  *out = NULL;
  for (uint32_t from = 0; oldest && from < reader->events.count; from += (uint32_t)n) {
    n = reader->events.count - from;
    n = n < RECORD_READ_MAX ? n : RECORD_READ_MAX;
    if (!copy_cells(reader, from, n))
      break;
    for (size_t i = 0; i < n; i++) {
      struct record_read_event e;
      uint64_t index = index_in(&reader->scratch[i]);
      judge(reader->scratch, i, n, index, &e);
      if (index >= oldest || e.fate != RECORD_WHOLE)
        continue;
      struct record_read_event *more = realloc(*out, (found + 1) * sizeof *more);
      if (!more)
        return found;
      *out = more;
      more[found++] = e;
    }
  }
  if (found)
    qsort(*out, found, sizeof **out, by_index);
  return found;
}

uint64_t record_quantile(const struct record_process *row, double p)
{
  uint64_t total = 0, seen = 0, max = row->duration_max;
  for (uint32_t b = 0; b < RECORD_DURATION_BUCKETS; b++)
    total += row->durations[b];
  uint64_t rank = (uint64_t)ceil(p * (double)total);
  for (uint32_t b = 0; b < RECORD_DURATION_BUCKETS && total; b++) {
    seen += row->durations[b];
    if (seen >= rank)
      return duration_middle(b) < max ? duration_middle(b) : max;
  }
  return 0;
}
