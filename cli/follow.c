// SPDX-License-Identifier: MIT
#include "cli/follow.h"

#include <stdlib.h>
#include <string.h>

#include "record/clock.h"

bool follow_begin(struct follower *f, struct record_reader *reader)
{
  memset(f, 0, sizeof *f);
  f->reader = *reader;
  f->processes = calloc(reader->processes.count, sizeof *f->processes);
  f->next = record_oldest(reader, record_head(reader));
  return f->processes != NULL;
}

void follow_end(struct follower *f)
{
  record_close(&f->reader);
  free(f->processes);
}

static const struct known_process *process_of(struct follower *f, uint32_t process)
{
  static const struct known_process nobody;
  struct record_process row;
  if (process >= f->reader.processes.count)
    return &nobody;
  struct known_process *p = &f->processes[process];
  if (!p->known && record_read_process(&f->reader, process, &row)) {
    p->known = true;
    memcpy(p->name, row.name, sizeof p->name);
    p->net_namespace = row.net_namespace;
  }
  return p;
}

/* Whether the walk must wait at an event that is not finished. */
static bool waits(struct follower *f, bool last)
{
  uint64_t now = clock_ns(CLOCK_MONOTONIC) / 1000000;
  if (last)
    return false;
  if (!f->hole_since)
    f->hole_since = now;
  return now - f->hole_since < RECORD_PATIENCE_MS;
}

/* Returns false where the walk must wait. The event's numbers are somebody else's: none that
 * is out of its range gets any further. */
static bool take(struct follower *f, const struct record_read_event *r, bool last,
                 follow_event *each, void *context)
{
  const struct record_event *e = &r->event;
  bool sound = r->fate == RECORD_WHOLE && e->call < RECORD_CALLS && e->result < RECORD_RESULTS &&
               e->chosen_by < RECORD_CHOOSERS;
  if (r->fate == RECORD_WRITING || r->fate == RECORD_ABSENT) {
    if (waits(f, last))
      return false;
    *(r->fate == RECORD_WRITING ? &f->torn : &f->lost) += 1;
  } else if (r->fate == RECORD_GONE) {
    f->overwritten++;
  } else if (sound) {
    each(e, process_of(f, r->process), context);
  } else {
    f->torn++;
  }
  f->hole_since = 0;
  f->next++;
  return true;
}

bool follow_read(struct follower *f, bool last, follow_event *each, void *context)
{
  static struct record_read_event batch[RECORD_READ_MAX];
  uint64_t head = record_is_whole(&f->reader) ? record_head(&f->reader) : 0;
  uint64_t oldest = record_oldest(&f->reader, head);
  bool any = false;
  if (f->next < oldest) {
    f->overwritten += oldest - f->next;
    f->next = oldest;
  }
  while (f->next < head) {
    size_t n = record_read_events(&f->reader, f->next, RECORD_READ_MAX, batch);
    if (!n)
      break;
    for (size_t i = 0; i < n; i++) {
      if (!take(f, &batch[i], last, each, context))
        return any;
      any = true;
    }
  }
  return any;
}
