// SPDX-License-Identifier: MIT
#include "cli/follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "record/clock.h"

bool follow_begin(struct follower *f, struct record_reader *reader)
{
  memset(f, 0, sizeof *f);
  f->reader = *reader;
  f->processes = calloc(reader->processes.count, sizeof *f->processes);
  f->rules = calloc(reader->rules.count, sizeof *f->rules);
  f->next = record_oldest(&f->reader, record_head(&f->reader));
  f->survivor_count = record_read_survivors(&f->reader, f->next, &f->survivors);
  return f->processes && f->rules;
}

void follow_end(struct follower *f)
{
  record_close(&f->reader);
  free(f->processes);
  free(f->rules);
  free(f->survivors);
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

static const char *rule_of(struct follower *f, uint32_t rule)
{
  if (!rule || rule > f->reader.rules.count)
    return "";
  char *name = f->rules[rule - 1];
  if (!name[0])
    record_rule_name(&f->reader, rule - 1, name);
  return name;
}

void follow_settle(struct follower *f)
{
  f->waited = f->head;
}

/* Whether the walk must wait at an event that is not finished. All that had begun by then have their
 * time together: one who moves the head on by thousands would hold the walk up for as many times. */
static bool waits(struct follower *f, bool last)
{
  uint64_t now = clock_ns(CLOCK_MONOTONIC) / 1000000;
  if (last || f->next < f->waited)
    return false;
  if (!f->hole_since) {
    f->hole_since = now;
    f->hole_head = f->head;
  }
  if (now - f->hole_since < RECORD_PATIENCE_MS)
    return true;
  f->waited = f->hole_head;
  return false;
}

/* An event's numbers are somebody else's: none that is out of its range gets any further. */
static void tell(struct follower *f, const struct record_read_event *r, follow_event *each,
                 void *context)
{
  if (!record_event_is_sound(&r->event)) {
    f->torn++;
    f->unsound++;
    return;
  }
  const struct event_origin origin = {process_of(f, r->process), rule_of(f, r->event.rule)};
  each(&r->event, &origin, context);
}

/* Returns false where the walk must wait. */
static bool take(struct follower *f, const struct record_read_event *r, bool last,
                 follow_event *each, void *context)
{
  switch (r->fate) {
  case RECORD_WHOLE: tell(f, r, each, context); break;
  case RECORD_GONE: f->overwritten++; break;
  case RECORD_WRITING:
  case RECORD_ABSENT:
    if (waits(f, last))
      return false;
    *(r->fate == RECORD_WRITING ? &f->torn : &f->lost) += 1;
    break;
  }
  f->hole_since = 0;
  f->next++;
  return true;
}

static void tell_survivors(struct follower *f, follow_event *each, void *context)
{
  for (size_t i = 0; i < f->survivor_count; i++)
    tell(f, &f->survivors[i], each, context);
  free(f->survivors);
  f->survivors = NULL;
  f->survivor_count = 0;
}

bool follow_read(struct follower *f, bool last, follow_event *each, void *context)
{
  static struct record_read_event batch[RECORD_READ_MAX];
  uint64_t head = record_is_whole(&f->reader) ? record_head(&f->reader) : 0;
  uint64_t oldest = record_oldest(&f->reader, head);
  bool any = f->survivor_count;
  f->head = head;
  tell_survivors(f, each, context);
  if (f->next > head && !f->reader.broken) /* a head goes back where somebody wrote nonsense */
    f->next = f->waited = head;
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

void follow_say_missing(struct follower *f, const char *where, const char *what)
{
  char unsound[96] = "";
  uint64_t missing = f->overwritten + f->torn + f->lost;
  if (missing == f->said)
    return;
  f->said = missing;
  if (f->unsound)
    snprintf(unsound, sizeof unsound, " (%" PRIu64 " with values that no event has: damaged)",
             f->unsound);
  complain(where,
           "%s are missing: %" PRIu64 " events were overwritten before they could be read, %" PRIu64
           " lost or torn%s; the statistics count them%s",
           what, f->overwritten, f->lost + f->torn, unsound,
           f->overwritten ? " (--events N keeps more)" : "");
}
