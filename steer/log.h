/* SPDX-License-Identifier: MIT
 *
 * Lines that the shim itself writes: BERTH_LOG's, and the few on stderr that a variable asked
 * for. One write a line; never waited for, never a signal, never into a file that the program
 * has put in the descriptor's place. All but log_start() may be called from a signal handler.
 */
#ifndef BERTH_STEER_LOG_H
#define BERTH_STEER_LOG_H

#include <stdbool.h>
#include <stddef.h>

struct record_event;

/* `where`: "" nowhere, "stderr", or a file to append to. A file that cannot be opened is one
 * line on stderr. */
void log_start(const char *where);
bool log_is_on(void);

/* Dropped where it does not fit at once. `rule`: see text_event(). */
void log_event(const struct record_event *e, const char *name, const char *rule);

/* A line on descriptor 2. */
void log_stderr(const char *line, size_t size);

#endif
