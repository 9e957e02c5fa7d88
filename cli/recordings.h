/* SPDX-License-Identifier: MIT
 *
 * Which recordings a command is about: those that it was told, or those of the default
 * directories.
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
  bool was_read; /* by the command, to its end */
  bool was_left; /* by a process that was killed while it made it: there is nothing to read */
  int directory; /* a descriptor of the recordings', or AT_FDCWD for an operand */
};

/* One that was searched. */
struct recordings_directory {
  char *path;
  int fd;
};

struct recordings {
  struct recording *list;
  size_t count;
  struct recordings_directory *directories;
  size_t directory_count;
  bool trouble; /* something told could not be used; it was said on stderr */
};

/* The default directories by this process's environment. */
void default_directories(struct record_directories *d);

/* The recordings in `operands`, files and directories; without any, those in the default
 * directories. `where` is the command, for what goes wrong. Who is to delete them does not follow an
 * operand that is a symbolic link: it may be made by whoever owns the directory that it is in. */
struct recordings recordings_find(const char *where, int count, char **operands, bool follows);

/* Says on stderr that there are none in the default directories, or in an operand that is a
 * directory, so that nobody takes silence for "no events". `r` and `operands` as with
 * recordings_find(). */
void recordings_say_none(const struct recordings *r, const char *where, int count, char **operands);

bool is_directory(const char *path);

void recordings_free(struct recordings *r);

/* Says on stderr, of each directory, how many processes were not recorded because it had no room. */
void recordings_say_unrecorded(const struct recordings *r, const char *where);

/* Opens one that was found. REFUSED and NEVER were said on stderr, as `where`. One found in a directory
 * may be deleted again, or its program still making it: NOT_YET; or that program was killed then:
 * NEVER. */
enum recording_opened { RECORDING_OPEN, RECORDING_NOT_YET, RECORDING_NEVER, RECORDING_REFUSED };
enum recording_opened recording_open(const char *where, struct recording *recording,
                                     struct record_reader *reader);

/* Calls `each` for the default directories that there are, and are this user's alone to write to;
 * it closes the descriptor. */
void each_default_directory(void (*each)(const char *path, int fd, void *), void *context);

/* Whether a file in a directory is taken for a recording. */
bool recording_has_name(const char *name);

#endif
