/* SPDX-License-Identifier: MIT
 *
 * Events kept in memory, to be sorted or to show the last of.
 */
#ifndef BERTH_CLI_GATHER_H
#define BERTH_CLI_GATHER_H

#include <stddef.h>

#include "cli/follow.h"
#include "cli/match.h"

struct gathered_event {
  struct record_event event;
  struct event_origin origin; /* its follower's: it must outlive the gathering */
  size_t order;               /* of arrival */
};

struct gathering {
  const struct event_match *match; /* the others are left out */
  struct gathered_event *events;   /* the caller's to free */
  size_t count, room;
};

/* A follow_event; `context` is the struct gathering. */
void gather_event(const struct record_event *e, const struct event_origin *origin, void *context);

/* Into time's order; of one time, in the order of arrival. */
void gather_sort(struct gathering *g);

#endif
