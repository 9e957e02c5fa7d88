/* SPDX-License-Identifier: MIT
 *
 * Which recordings a command is about: those that it was told, or those of the default
 * directories; and the tidying of the latter.
 */
#ifndef BERTH_CLI_RECORDINGS_H
#define BERTH_CLI_RECORDINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "record/directory.h"
#include "record/read.h"

struct recording {
  char *path;
  bool is_entry; /* of a directory: if it is a symbolic link, it is not followed */
};

struct recordings {
  struct recording *list;
  size_t count;
  bool trouble; /* something told could not be used; it was said on stderr */
};

/* The default directories by this process's environment. */
void default_directories(struct record_directories *d);

/* The recordings in `operands`, files and directories; without any, those in the default
 * directories. `where` is the command, for what goes wrong. */
struct recordings recordings_find(const char *where, int count, char **operands);

/* Says on stderr that there are none in the default directories, or in an operand that is a
 * directory, so that nobody takes silence for "no events". `r` and `operands` as with
 * recordings_find(). */
void recordings_say_none(const struct recordings *r, const char *where, int count, char **operands);

bool is_directory(const char *path);

void recordings_free(struct recordings *r);

/* Deletes from the default directories what nobody runs any more: recordings whose last event
 * is a day old, and the oldest of the rest until less than half of what a directory may hold
 * is taken. */
void recordings_tidy(void);

/* Opens one that was found. REFUSED was said on stderr, as `where`. One found in a directory may be
 * deleted again, or its program still making it: NOT_YET. */
enum recording_opened { RECORDING_OPEN, RECORDING_NOT_YET, RECORDING_REFUSED };
enum recording_opened recording_open(const char *where, const struct recording *recording,
                                     struct record_reader *reader);

/* Whether it is a recording that no process maps any more, as far as can be told. Does not follow a
 * symbolic link. */
bool recording_is_unused(int directory, const char *name);

/* Whether an open recording was deleted, and no process maps it any more: nothing will come. */
bool recording_is_gone(struct record_reader *reader);

/* Deletes a recording that is not used, and the policy beside it. Returns false where it is, or
 * could not be deleted. */
bool recording_delete(int directory, const char *name);

#endif
