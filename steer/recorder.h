/* SPDX-License-Identifier: MIT
 *
 * This process's part in a recording: which one, which row, and the line of BERTH_LOG.
 *
 * Safe in signal handlers, threads, children of fork and vfork, and after a failure: what
 * cannot be recorded is not, and the program never hears of it but for the lines on stderr
 * that its own variables asked for.
 */
#ifndef BERTH_STEER_RECORDER_H
#define BERTH_STEER_RECORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "record/directory.h"
#include "record/layout.h"

/* What the environment said, filled in before recorder_start(), constant afterwards. The strings
 * are copies: setproctitle() and setenv() reuse the environment's memory. None is NULL. */
struct recorder_config {
  bool off;           /* BERTH_RECORD=off, or nothing may be recorded */
  const char *record; /* BERTH_RECORD; "": the first usable of `defaults` */
  struct record_directories defaults;
  uint32_t events;      /* BERTH_EVENTS */
  bool events_asked;    /* it was set, and will do */
  bool log_only_failed; /* BERTH_LOG_ONLY */
  const char *log;      /* BERTH_LOG; "": no lines, "stderr": descriptor 2 */
  const char *name;     /* of the file executed, without its folder */
  uint64_t started;     /* CLOCK_REALTIME of this image's start */
};
extern struct recorder_config recorder_config;

/* Attaches to a recording that `berth run` prepared, opens the log. To be called once; no hook
 * records before. */
void recorder_start(void);

/* Whether events have anywhere to go: if not, a hook does nothing but the real call. */
bool recorder_wanted(void);

/* Records an event: pid and tid are filled in here, and what a rule did, if `s` is not NULL. The
 * first one of a process takes its row, and makes the recording where none was prepared. errno may
 * change. */
struct record_steering;
void recorder_write(struct record_event *e, const struct record_steering *s);

/* Counts what left from ports outside the set of the rule of that name by no call of the program. errno
 * may change. */
void recorder_outside(const char *rule, uint32_t count);

/* Before a filter of seccomp(2) comes down (NULL: one that lets nothing pass): what it would forbid to
 * ask later is asked now. Where it would forbid to make a recording, and none is there, it is made: so
 * that a program without events still leaves no file, if it can be helped. errno may change. */
struct sock_fprog;
void recorder_prepare(const struct sock_fprog *filter);

/* This process is about to end or to become another image; RECORD_RUNNING takes that back.
 * Nothing happens in a vfork child, whose row is its parent's; one that ends, and whose thread had
 * no event and tried no execve(), passes for its parent. errno may change. */
void recorder_mark(enum record_state state);

/* This process is in another network namespace now, or its threads are in several (0). To be called
 * by no vfork child. */
void recorder_moved(uint64_t network);

#endif
