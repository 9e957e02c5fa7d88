/* SPDX-License-Identifier: MIT
 *
 * A second process of berth's, which reads the recording and writes the lines: a reader that stands
 * still stops it, and not the first one, which has signals and COMMAND's end to look after.
 */
#ifndef BERTH_CLI_BESIDE_H
#define BERTH_CLI_BESIDE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* As fork(2): 0 in the second process, which ends with the first. Signals stay blocked there. */
pid_t beside_begin(void);

/* --- in the second process --- */

/* Waits for at most `milliseconds`. False once COMMAND has ended. */
bool beside_waits(int milliseconds);

/* The next event to be shown; all before it were written. */
void beside_shown(uint64_t next);

/* What the first process is to know even where the second one is killed. */
void beside_answers(bool yes);

/* --- in the first process --- */

/* Told of each child that was reaped, which may be the second process. */
void beside_buried(pid_t pid, int status);

struct beside_result {
  bool whole;            /* it finished by itself */
  bool answered, answer; /* beside_answers() */
  uint64_t next;         /* the event that was to be shown next */
};

/* COMMAND has ended: the second process finishes. It has as long as it gets on; where it does not for
 * BESIDE_PATIENCE_S, or soon after a signal that asks for an end, it is killed. */
#define BESIDE_PATIENCE_S 3
struct beside_result beside_end(void);

/* Writes something that may not be written at once, as by complain(): given up after a moment. */
void beside_say(void (*say)(const void *context), const void *context);

#endif
