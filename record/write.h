/* SPDX-License-Identifier: MIT
 *
 * The writer's side of a recording: a row a process, counters, destinations, the ring.
 *
 * Everything here is lock-free, makes no system call unless it says so, and may be called
 * from a signal handler that interrupted another call of it, from any thread, in the child of
 * a fork, and while other processes write to the same recording. A process killed half-way
 * leaves its counters short by at most the one call that each of its threads was in.
 */
#ifndef BERTH_RECORD_WRITE_H
#define BERTH_RECORD_WRITE_H

#include <stdbool.h>
#include <stdint.h>

#include "record/layout.h"
#include "record/map.h"

/* Who writes: kept for ever in the row. */
struct record_identity {
  uint32_t pid, parent_pid, uid;
  uint64_t created; /* CLOCK_REALTIME, nanoseconds */
  struct record_namespaces namespaces;
  const char *name; /* NUL-terminated; copied */
};

/* Asks the kernel for this process's: three system calls. */
void record_namespaces_ask(struct record_namespaces *n);

/* The number of a row that nobody else will get: the last row, which all share who came too
 * late, where none is free. It stays empty until it is claimed. */
uint32_t record_reserve(const struct record_map *map);

/* Gives a reserved row back, if it was the newest. */
void record_unreserve(const struct record_map *map, uint32_t process);

/* Says in a reserved row whose it is. It counts as taken once it is marked, or has counted
 * anything: threads that race for a process's row describe one each, and use the winner's. */
void record_describe(const struct record_map *map, uint32_t process,
                     const struct record_identity *who);

/* Is this row one that processes share? It belongs to nobody, so nobody may mark its end. */
bool record_is_shared_row(const struct record_map *map, uint32_t process);

/* RECORD_RUNNING when it is taken, and again after an execve() that failed; RECORD_EXITED,
 * RECORD_REPLACED. */
void record_mark(const struct record_map *map, uint32_t process, enum record_state state);

/* A process that has a row is in this network namespace now, or its threads are in several (0): where
 * the row says another, it is no longer told of any. */
void record_moved(const struct record_map *map, uint32_t process, uint64_t network);

/* What a rule did with a call. */
struct record_steering {
  const char *rule;                   /* its name, at most 63 bytes */
  const char *chooser;                /* which gave the port by an earlier call; NULL: that rule */
  uint32_t tries;                     /* candidates offered to the kernel */
  uint16_t refused_low, refused_high; /* the last one that it refused; 0: none */
  uint8_t via;                        /* enum record_via: how the last one was offered */
  uint8_t unsteered;                  /* enum record_unsteered */
  bool claimed, exhausted, kernel, outside, stuck,
      forbidden; /* counters to raise by one; matched always is */
};

/* Fills in e->tries, via and unsteered, and 0 for the rule: all that an event which goes into no
 * recording has of it. `s` may be NULL: no rule took it. */
void record_steer(struct record_event *e, const struct record_steering *s);

/* Counts in the row of the rule alone what left from outside of its set by no call. */
void record_count_outside(const struct record_map *map, uint32_t process, const char *rule,
                          uint32_t count);

/* Counts the event in the process's row, its destination's and its rule's, and puts it into the
 * ring. `s` may be NULL: no rule took it. Fills in e->rule, tries, via, unsteered and what
 * was refused. */
void record_write(const struct record_map *map, uint32_t process, struct record_event *e,
                  const struct record_steering *s);

#endif
