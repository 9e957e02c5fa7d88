/* SPDX-License-Identifier: MIT
 *
 * System calls by number, where glibc's function would be a cancellation point (a thread must
 * not end inside a hook whose real call has succeeded), a symbol newer than GLIBC_2.17, or a
 * name that another preloaded library hooks. All return -1 and set errno.
 */
#ifndef BERTH_RECORD_SYS_H
#define BERTH_RECORD_SYS_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline int sys_open(int directory, const char *path, int flags, unsigned mode)
{
  return (int)syscall(SYS_openat, directory, path, flags, mode);
}

static inline long sys_read(int fd, void *to, size_t size)
{
  return syscall(SYS_read, fd, to, size);
}

static inline void sys_close(int fd)
{
  syscall(SYS_close, fd);
}

/* With `path` "" it asks of the descriptor itself. Symbolic links are not followed. */
static inline int sys_stat(int directory, const char *path, struct statx *s)
{
  return (int)syscall(SYS_statx, directory, path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW,
                      STATX_BASIC_STATS, s);
}

static inline uint32_t sys_gettid(void)
{
  return (uint32_t)syscall(SYS_gettid);
}

#endif
