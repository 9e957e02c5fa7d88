/* SPDX-License-Identifier: MIT
 *
 * Where recordings live when nobody says: the candidates in order, what makes one usable, and
 * how much may lie there. No allocation, no stdio; may be called from a signal handler.
 */
#ifndef BERTH_RECORD_DIRECTORY_H
#define BERTH_RECORD_DIRECTORY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The values of the variables that name directories; NULL where not set. */
struct record_places {
  const char *runtime_directory; /* RUNTIME_DIRECTORY, of a list the first */
  const char *xdg_runtime_dir;   /* XDG_RUNTIME_DIR */
  const char *tmpdir;            /* TMPDIR */
};

/* $RUNTIME_DIRECTORY/berth, $XDG_RUNTIME_DIR/berth, /dev/shm/berth-UID and
 * ${TMPDIR:-/tmp}/berth-UID, in this order. */
#define RECORD_DIRECTORIES 4

/* Their parents; "" for one whose variable is not set or relative. The strings are those of the
 * places, and must last as long. */
struct record_directories {
  const char *parent[RECORD_DIRECTORIES];
};
void record_directories(struct record_directories *d, const struct record_places *places);

/* The path of the i-th for a user; "" where it has none. */
struct text;
void record_directory_path(struct text *t, const struct record_directories *d, int i, uid_t uid);

/* Opens the i-th for the effective user, made with mode 0700 if it is missing. Returns a
 * descriptor or -1 with errno: EACCES where it is somebody else's, or open to others. */
int record_directory_default(const struct record_directories *d, int i);

/* Opens a directory that the user named, made with mode 0700 if it is missing; its parent must
 * exist. -1 with EACCES where it is somebody else's, or others may write to it. */
int record_directory_open(const char *path);

/* How many bytes a directory may hold: 256 MiB, or a quarter of its file system. */
uint64_t record_directory_limit(int directory);

/* Whether `size` more bytes may be put into it. */
bool record_directory_has_room(int directory, uint64_t size);

/* Notes in the directory that a process was not recorded, for want of room there: a byte more in the
 * file RECORD_UNRECORDED, up to RECORD_UNRECORDED_MOST. */
#define RECORD_UNRECORDED "unrecorded"
#define RECORD_UNRECORDED_MOST (UINT64_C(1) << 20)
void record_directory_note_unrecorded(int directory);

/* How many were noted. */
uint64_t record_directory_unrecorded(int directory);

/* Calls `each` for every entry but those that begin with a dot until it returns false.
 * `each` must not call this. */
void record_directory_walk(int directory, bool (*each)(int directory, const char *name, void *),
                           void *context);

#endif
