// SPDX-License-Identifier: MIT
#include "cli/gather.h"

#include <stdlib.h>

void gather_event(const struct record_event *e, const struct event_origin *origin, void *context)
{
  struct gathering *g = context;
  if (!event_matches(g->match, e))
    return;
  if (g->count == g->room) {
    g->room = g->room ? 2 * g->room : 1024;
    g->events = realloc(g->events, g->room * sizeof *g->events);
    if (!g->events)
      abort();
  }
  g->events[g->count] = (struct gathered_event){*e, *origin, g->count};
  g->count++;
}

static int by_time(const void *a, const void *b)
{
  const struct gathered_event *x = a, *y = b;
  if (x->event.time != y->event.time)
    return x->event.time < y->event.time ? -1 : 1;
  return x->order < y->order ? -1 : 1;
}

void gather_sort(struct gathering *g)
{
  if (g->count)
    qsort(g->events, g->count, sizeof *g->events, by_time);
}
