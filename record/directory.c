// SPDX-License-Identifier: MIT
#include "record/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "record/sys.h"
#include "record/text.h"

static const char *absolute(const char *path)
{
  return path && path[0] == '/' ? path : "";
}

void record_directories(struct record_directories *d, const struct record_places *places)
{
  d->parent[0] = absolute(places->runtime_directory);
  d->parent[1] = absolute(places->xdg_runtime_dir);
  d->parent[2] = "/dev/shm";
  d->parent[3] = places->tmpdir && places->tmpdir[0] ? absolute(places->tmpdir) : "/tmp";
}

/* In places that users share, the name tells whose it is. */
static void name_of(struct text *t, int i, uid_t uid)
{
  text_string(t, "berth");
  if (i < 2)
    return;
  text_char(t, '-');
  text_u64(t, uid);
}

void record_directory_path(struct text *t, const struct record_directories *d, int i, uid_t uid)
{
  if (!d->parent[i][0])
    return;
  text_string(t, d->parent[i]);
  text_char(t, '/');
  name_of(t, i, uid);
}

static int check(int fd, unsigned forbidden)
{
  struct statx s;
  if (sys_stat(fd, "", &s))
    return errno;
  return s.stx_uid == sys_geteuid() && !(s.stx_mode & forbidden) ? 0 : EACCES;
}

static int open_checked(int parent, const char *path, unsigned forbidden)
{
  int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  int fd = sys_open(parent, path, flags, 0);
  if (fd < 0 && errno == ENOENT) {
    if (sys_mkdir(parent, path, 0700) && errno != EEXIST)
      return -1;
    fd = sys_open(parent, path, flags, 0);
  }
  if (fd < 0)
    return -1;
  int error = check(fd, forbidden);
  if (!error)
    return fd;
  sys_close(fd);
  errno = error;
  return -1;
}

int record_directory_default(const struct record_directories *d, int i)
{
  char name[32];
  struct text t = TEXT_INIT(name);
  if (!d->parent[i][0]) {
    errno = ENOENT;
    return -1;
  }
  int parent = sys_open(AT_FDCWD, d->parent[i], O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (parent < 0)
    return -1;
  uint32_t user = sys_geteuid();
  name_of(&t, i, user);
  int fd = user == UINT32_MAX ? -1 : open_checked(parent, text_end(&t), 077);
  int error = errno;
  sys_close(parent);
  errno = error;
  return fd;
}

int record_directory_open(const char *path)
{
  return open_checked(AT_FDCWD, path, 022);
}

/* What getdents64(2) fills in. */
struct entry {
  uint64_t inode;
  int64_t offset;
  uint16_t size;
  uint8_t type;
  char name[];
};

void record_directory_walk(int directory, bool (*each)(int directory, const char *name, void *),
                           void *context)
{
  _Alignas(struct entry) char buffer[1024];
  SYS_CALL(SYS_lseek, directory, 0L, SEEK_SET);
  for (;;) {
    long n = SYS_CALL(SYS_getdents64, directory, buffer, sizeof buffer);
    if (n <= 0)
      return;
    for (long at = 0; at < n;) {
      const struct entry *e = (const void *)(buffer + at);
      if (e->name[0] != '.' && !each(directory, e->name, context))
        return;
      at += e->size;
    }
  }
}

struct sum {
  uint64_t used, limit;
};

static bool add_size(int directory, const char *name, void *context)
{
  struct sum *sum = context;
  struct statx s;
  if (!text_equal(name, RECORD_UNRECORDED) && sys_stat(directory, name, &s) == 0)
    sum->used += s.stx_blocks * 512;
  return sum->used <= sum->limit;
}

uint64_t record_directory_limit(int directory)
{
  const uint64_t most = UINT64_C(256) << 20;
  struct statfs64 fs;
  if (sys_statfs(directory, &fs))
    return most;
  uint64_t quarter = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize / 4;
  return quarter && quarter < most ? quarter : most;
}

bool record_directory_has_room(int directory, uint64_t size)
{
  struct sum sum = {.used = size, .limit = record_directory_limit(directory)};
  record_directory_walk(directory, add_size, &sum);
  return sum.used <= sum.limit;
}

static bool is_counter(const struct statx *s)
{
  return S_ISREG(s->stx_mode) && s->stx_uid == sys_geteuid();
}

uint64_t record_directory_unrecorded(int directory)
{
  struct statx s;
  return sys_stat(directory, RECORD_UNRECORDED, &s) == 0 && is_counter(&s) ? s.stx_size : 0;
}

/* An appending write is one step, whoever else makes one. */
void record_directory_note_unrecorded(int directory)
{
  struct statx s;
  int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  int fd = sys_open(directory, RECORD_UNRECORDED, flags, 0600);
  if (fd < 0)
    return;
  if (sys_stat(fd, "", &s) == 0 && is_counter(&s) && s.stx_size < RECORD_UNRECORDED_MOST &&
      s.stx_size < sys_limit(RLIMIT_FSIZE)) /* a write past it would raise SIGXFSZ */
    sys_write(fd, "\n", 1);
  sys_close(fd);
}
