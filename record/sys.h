/* SPDX-License-Identifier: MIT
 *
 * System calls by number, in the shim through the gate that asks the program's own filters first,
 * where glibc's function would be a cancellation point (a thread must not end inside a hook whose
 * real call has succeeded), a symbol newer than GLIBC_2.17, or a name that another preloaded
 * library hooks: fakeroot holds a mutex while it connects, and a mkdir() of ours would wait for it.
 * And each name that is not imported is one that ld.so need not look up at the start of every
 * program.
 *
 * All return -1 and set errno, but where it says otherwise: SYS_FORBIDDEN for a call that was not made
 * since a filter of the program's would not let it pass.
 */
#ifndef BERTH_RECORD_SYS_H
#define BERTH_RECORD_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "gate/gate.h"

#ifdef BERTH_SHIM
#define SYS_CALL(...) GATE_CALL(__VA_ARGS__)
#else
#define SYS_CALL(...) syscall(__VA_ARGS__)
#endif

#define SYS_FORBIDDEN GATE_REFUSED

static inline int sys_open(int directory, const char *path, int flags, unsigned mode)
{
  return (int)SYS_CALL(SYS_openat, directory, path, flags, mode);
}

static inline long sys_read(int fd, void *to, size_t size)
{
  return SYS_CALL(SYS_read, fd, to, size);
}

static inline long sys_write(int fd, const void *from, size_t size)
{
  return SYS_CALL(SYS_write, fd, from, size);
}

static inline void sys_close(int fd)
{
  SYS_CALL(SYS_close, fd);
}

static inline int sys_fcntl(int fd, int command, long argument)
{
  return (int)SYS_CALL(SYS_fcntl, fd, command, argument);
}

static inline int sys_mkdir(int directory, const char *path, unsigned mode)
{
  return (int)SYS_CALL(SYS_mkdirat, directory, path, mode);
}

static inline void sys_unlink(int directory, const char *path)
{
  SYS_CALL(SYS_unlinkat, directory, path, 0);
}

static inline long sys_readlink(const char *path, char *to, size_t size)
{
  return SYS_CALL(SYS_readlinkat, AT_FDCWD, path, to, size);
}

/* Room for the first `size` bytes of a file. */
static inline int sys_allocate(int fd, uint64_t size)
{
#if __SIZEOF_LONG__ == 8
  return (int)SYS_CALL(SYS_fallocate, fd, 0, 0L, (long)size);
#else
  return (int)SYS_CALL(SYS_fallocate, fd, 0, 0L, 0L, (long)size, (long)(size >> 32));
#endif
}

/* MAP_FAILED and errno where it fails. */
static inline void *sys_map(size_t size, int flags, int fd)
{
#ifdef SYS_mmap2
  return (void *)SYS_CALL(SYS_mmap2, NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
#else
  return (void *)SYS_CALL(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0L);
#endif
}

static inline void sys_unmap(void *at, size_t size)
{
  SYS_CALL(SYS_munmap, at, size);
}

static inline int sys_advise(void *at, size_t size, int advice)
{
  return (int)SYS_CALL(SYS_madvise, at, size, advice);
}

/* The soft limit; UINT64_MAX for none, or where it cannot be asked. */
static inline uint64_t sys_limit(int resource)
{
  struct rlimit64 limit;
  return SYS_CALL(SYS_prlimit64, 0, resource, NULL, &limit) ? UINT64_MAX : limit.rlim_cur;
}

/* Whether there is such a thread, as far as one can tell. */
static inline bool sys_lives(uint32_t thread)
{
  struct rlimit64 limit;
  long result = SYS_CALL(SYS_prlimit64, thread, RLIMIT_NOFILE, NULL, &limit);
  return result != -1 || errno != ESRCH;
}

static inline int sys_statfs(int fd, struct statfs64 *fs)
{
#ifdef SYS_fstatfs64
  return (int)SYS_CALL(SYS_fstatfs64, fd, sizeof *fs, fs);
#else
  return (int)SYS_CALL(SYS_fstatfs, fd, fs);
#endif
}

static inline int sys_socket(int family, int type, int protocol)
{
  return (int)SYS_CALL(SYS_socket, family, type, protocol);
}

static inline int sys_bind(int fd, const void *address, unsigned size)
{
  return (int)SYS_CALL(SYS_bind, fd, address, size);
}

static inline int sys_connect(int fd, const void *address, unsigned size)
{
  return (int)SYS_CALL(SYS_connect, fd, address, size);
}

static inline int sys_getsockname(int fd, void *address, unsigned *size)
{
  return (int)SYS_CALL(SYS_getsockname, fd, address, size);
}

static inline int sys_getsockopt(int fd, int level, int option, void *value, unsigned *size)
{
  return (int)SYS_CALL(SYS_getsockopt, fd, level, option, value, size);
}

static inline int sys_setsockopt(int fd, int level, int option, const void *value, unsigned size)
{
  return (int)SYS_CALL(SYS_setsockopt, fd, level, option, value, size);
}

static inline long sys_send(int fd, const void *data, size_t size, int flags)
{
  return SYS_CALL(SYS_sendto, fd, data, size, flags, NULL, 0);
}

static inline long sys_recv(int fd, void *data, size_t size, int flags)
{
  return SYS_CALL(SYS_recvfrom, fd, data, size, flags, NULL, NULL);
}

/* 0 where the call is not made; of a parent in another pid namespace too. */
static inline uint32_t sys_getpid(void)
{
  long pid = SYS_CALL(SYS_getpid);
  return pid > 0 ? (uint32_t)pid : 0;
}

static inline uint32_t sys_getppid(void)
{
  long pid = SYS_CALL(SYS_getppid);
  return pid > 0 ? (uint32_t)pid : 0;
}

static inline uint32_t sys_gettid(void)
{
  long tid = SYS_CALL(SYS_gettid);
  return tid > 0 ? (uint32_t)tid : 0;
}

/* UINT32_MAX, which is nobody, where the call is not made. */
static inline uint32_t sys_geteuid(void)
{
#ifdef SYS_geteuid32
  return (uint32_t)SYS_CALL(SYS_geteuid32);
#else
  return (uint32_t)SYS_CALL(SYS_geteuid);
#endif
}

/* STATX_MNT_ID since Linux 5.8, or STATX_MNT_ID_UNIQUE, which no other mount had since the machine
 * started, since 6.8. */
#define SYS_STATX_MOUNT (0x1000 | 0x4000)

/* statx(2), or what it replaced: before Linux 4.11, and where a sandbox does not know it. With
 * `path` "" it asks of the descriptor itself. Symbolic links are not followed. The old call leaves
 * stx_btime as it was. */
static inline int sys_stat(int directory, const char *path, struct statx *s)
{
  int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
  int mask = STATX_BASIC_STATS | STATX_BTIME | SYS_STATX_MOUNT;
  int result = (int)SYS_CALL(SYS_statx, directory, path, flags, mask, s);
#ifdef SYS_newfstatat
  struct stat old;
  if (result && (errno == ENOSYS || errno == EPERM || errno == SYS_FORBIDDEN) &&
      (result = (int)SYS_CALL(SYS_newfstatat, directory, path, &old, flags)) == 0) {
    s->stx_mask = STATX_BASIC_STATS;
    s->stx_mode = (uint16_t)old.st_mode;
    s->stx_nlink = (uint32_t)old.st_nlink;
    s->stx_uid = old.st_uid;
    s->stx_size = (uint64_t)old.st_size;
    s->stx_blocks = (uint64_t)old.st_blocks;
    s->stx_ino = old.st_ino;
    s->stx_dev_major = major(old.st_dev);
    s->stx_dev_minor = minor(old.st_dev);
  }
#endif
  return result;
}

/* Of the mount that the file was reached by, as sys_stat() found it; 0: not known. */
static inline uint64_t sys_mount_id(const struct statx *s)
{
#ifdef STATX_MNT_ID
  return s->stx_mask & SYS_STATX_MOUNT ? s->stx_mnt_id : 0;
#else
  return s->stx_mask & 0;
#endif
}

#endif
