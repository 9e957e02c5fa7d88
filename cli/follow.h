/* SPDX-License-Identifier: MIT
 *
 * A walk along a recording's ring, live or to the end: each event once, in the recording's
 * order, and what could not be had counted.
 */
#ifndef BERTH_CLI_FOLLOW_H
#define BERTH_CLI_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "record/read.h"

/* What a reader keeps of a row. */
struct known_process {
  bool known;
  char name[256];
  uint64_t net_namespace;
};

struct follower {
  struct record_reader reader;
  struct known_process *processes;     /* reader.processes.count of them */
  char (*rules)[RECORD_RULE_NAME];     /* names, reader.rules.count of them; "": not read yet */
  struct record_read_event *survivors; /* to be told first; NULL once they were */
  size_t survivor_count;
  uint64_t next;       /* the event to read next */
  uint64_t head;       /* as it was seen last */
  uint64_t hole_since; /* CLOCK_MONOTONIC in ms when `next` was found unfinished; 0: it was not */
  uint64_t hole_head;  /* the head then */
  uint64_t waited;     /* events before this one have had their time to be finished */
  uint64_t overwritten, torn, lost; /* events that the walk passed by */
  uint64_t unsound;                 /* of the torn: whole, but none that a writer can have meant */
  uint64_t said;                    /* of all these, what follow_say_missing() has told of */
};

/* `reader` becomes the follower's own. Begins with the oldest event that there is. Returns
 * false without memory. */
bool follow_begin(struct follower *f, struct record_reader *reader);
void follow_end(struct follower *f);

/* Who an event is of; both are the follower's. */
struct event_origin {
  const struct known_process *process;
  const char *rule; /* the name of the rule that took it; "" for none, or none that is known */
};

typedef void follow_event(const struct record_event *e, const struct event_origin *origin,
                          void *context);

/* Calls `each` for the events that have come since. One that is being written is waited for:
 * the next call goes on there; but with `last`, or after RECORD_PATIENCE_MS, it is counted as
 * torn or lost and passed by. Returns whether there was anything. */
bool follow_read(struct follower *f, bool last, follow_event *each, void *context);

/* What had begun when follow_read() was called last has had its time to be finished. */
void follow_settle(struct follower *f);

/* Says on stderr, as `where`, what the walk has passed by since this was called last: `what` is what
 * the events are missing from. */
void follow_say_missing(struct follower *f, const char *where, const char *what);

#endif
