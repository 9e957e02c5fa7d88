/* SPDX-License-Identifier: MIT
 *
 * The processes that COMMAND starts and libberth.so does not reach, or that lose what was handed to
 * them, as far as /proc shows them while they live. berth looks on while it waits for events: what
 * begins and ends between two looks is not seen, and neither is what lost its parent before its
 * first look.
 */
#ifndef BERTH_CLI_ESCAPED_H
#define BERTH_CLI_ESCAPED_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/handed.h"

struct seen_process;
struct escapee;

struct escaped {
  const char *preload; /* preload_library()'s */
  const char *told;    /* the program of which the user knows, if COMMAND executes it; or "" */
  struct handed handed;
  pid_t command;
  struct seen_process *seen; /* those that live */
  size_t count, room, next;  /* `next`: the one to look at next */
  uint64_t *known;           /* a bit for each pid that is in `seen` */
  uint64_t rest;             /* CLOCK_MONOTONIC in ns before which no look begins */
  struct escapee *found;
  size_t found_count;
  unsigned long more; /* that did not fit into `found` */
};

/* Without memory nothing is seen. The strings stay the caller's. */
void escaped_begin(struct escaped *e, pid_t command, const char *preload, const char *told,
                   const struct handed *handed);

/* Looks on for a few milliseconds at most, and for a fiftieth of the time in all. */
void escaped_look(struct escaped *e);

/* When COMMAND has ended, while what was handed to it is still there. */
void escaped_look_last(struct escaped *e);

/* Whether any of them was not steered for certain. */
bool escaped_any(const struct escaped *e);

/* Says on stderr who was found, and frees. */
void escaped_end(struct escaped *e);

#endif
