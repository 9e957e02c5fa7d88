/* SPDX-License-Identifier: MIT
 *
 * A recording mapped for writing, and how one comes to be: created or attached to.
 *
 * Nothing here allocates, prints, or may kill its host: whatever goes wrong is an errno. All
 * of it may be called from a signal handler.
 */
#ifndef BERTH_RECORD_MAP_H
#define BERTH_RECORD_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record_header;
struct record_process;
struct record_cell;

/* Where things are, in private memory: the file's own words are never asked again, since a
 * process of another user may share the mapping. */
struct record_map {
  struct record_header *header;
  unsigned char *processes, *destinations, *rules;
  struct record_cell *cells;
  uint32_t process_count, destination_count, rule_count, event_count;
  unsigned char *state; /* zeros at first, 64-byte aligned; NULL without any */
  size_t state_size;
  size_t size;
  uint64_t mount_id; /* of the file that was attached to; 0: not known */
};

struct record_process *record_row(const struct record_map *map, uint32_t process);

/* How many rows of each: destinations, events and rules are rounded up to powers of two. */
struct record_shape {
  uint32_t processes, destinations, events, rules;
  uint32_t state; /* bytes of the policy's state, which record/ does not look into; may be 0 */
};

/* A recording that a shim makes for itself: 512 KiB. */
#define RECORD_SHAPE_PRIVATE                                                                       \
  {                                                                                                \
    24, 256, 1024, 64, 0                                                                           \
  }
/* One that `berth run` makes for a process tree: 14.8 MiB, which a quarter of a container's
 * usual /dev/shm (64 MiB) still holds. */
#define RECORD_SHAPE_TREE                                                                          \
  {                                                                                                \
    512, 2048, 65536, 1024, 0                                                                      \
  }

/* Bytes of the file that record_create() would make. */
uint64_t record_size(struct record_shape shape);

/* Makes `name` in `directory`, mode 0600, and maps it. The file must not exist. Returns 0, or
 * an errno and no file: EFBIG under RLIMIT_FSIZE, EOPNOTSUPP on a file system that copies on write,
 * ENOSPC, EROFS, EEXIST... Every block is allocated before it is mapped: a hole on a full file
 * system would kill by SIGBUS. */
int record_create(int directory, const char *name, struct record_shape shape,
                  struct record_map *map);

/* Says in the header where who prepares it for others is: their namespaces are these, if they reach
 * the file by the same mount and none has told of having moved. */
void record_locate(int directory, const char *name, struct record_map *map);

/* Whether a file of this owner's is one to map or to heed: the effective user's or root's. Whoever
 * owns a file can shrink it, which kills who maps it; that root may is nothing new. */
bool record_trusts(uint32_t owner);

/* Maps an existing recording. Returns 0 or an errno: EISDIR for a directory, EINVAL for a
 * file that is no recording of this version and machine, EACCES for one that is neither the
 * effective user's nor root's. Makes four system calls. */
int record_attach(const char *path, struct record_map *map);

/* Whether a process maps it, or has it open for writing: the kernel grants no read lease then.
 * Also true where that cannot be found out; and on overlayfs it is always false. */
bool record_is_mapped(int directory, const char *name);

/* The same of a file that is open for reading only, and may have been deleted. */
bool record_is_mapped_still(int fd);

/* Likewise, and whether that could be found out. */
enum record_use { RECORD_UNUSED, RECORD_USED, RECORD_USE_UNKNOWN };
enum record_use record_use(int fd);

void record_unmap(struct record_map *map);

#endif
