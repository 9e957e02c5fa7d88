/* SPDX-License-Identifier: MIT
 *
 * Recordings are deleted here alone, and none that a process still maps or makes.
 */
#ifndef BERTH_CLI_TIDY_H
#define BERTH_CLI_TIDY_H

#include "cli/recordings.h"

/* Deletes from the default directories what nobody runs any more: recordings whose last event is a
 * day old, and the oldest of the rest until less than half of what a directory may hold is taken. Says
 * so on stderr as `where`, if that is not NULL. */
void tidy_defaults(const char *where);

/* Deletes those that were read, or hold nothing, and are not used, and says how many. Of a directory also the count of
 * processes that were not recorded. */
void tidy_read(const struct recordings *r, const char *where);

/* Whether it is a recording that no process maps any more, or was to become one and nobody makes it
 * any more, as far as can be told. Does not follow a symbolic link. */
bool recording_is_unused(int directory, const char *name);

/* Whether an open recording was deleted, and no process maps it any more: nothing will come. */
bool recording_is_gone(struct record_reader *reader);

/* Deletes a recording that is not used, and the policy beside it. Returns false where it is, or
 * could not be deleted. */
bool recording_delete(int directory, const char *name);

#endif
