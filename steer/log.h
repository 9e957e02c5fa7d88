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
 * line on stderr. Ends the start: see log_keep_stderr(). */
void log_start(const char *where);
bool log_is_on(void);

/* Dropped where it does not fit at once. `rule`: see text_event(). */
void log_event(const struct record_event *e, const char *name, const char *rule);

/* A line on the standard error: the only way there. It is the file that descriptor 2 was at the start,
 * if that is no connection of the program's; while 2 is another file, the line is not written. */
void log_stderr(const char *line, size_t size);

/* Remembers that file, for a line that may come after log_start(). Without this call, and with no
 * line before, there is none: a program of which nothing was asked is not made to look. */
void log_keep_stderr(void);

#endif
