// SPDX-License-Identifier: MIT
#include "cli/unfinished.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "record/layout.h"
#include "record/map.h"

/* A process makes a recording in milliseconds; on a slow disk, or stopped and continued, it may take
 * this long. */
#define LONG_S 60

static bool is_old(const struct stat *s)
{
  return time(NULL) - s->st_mtime >= LONG_S;
}

static bool all_zeros(const unsigned char *bytes, ssize_t n)
{
  for (ssize_t i = 0; i < n; i++)
    if (bytes[i])
      return false;
  return true;
}

/* A header of which the maker may have filled in anything but the magic. */
static bool is_header_begun(const unsigned char *bytes, ssize_t n)
{
  struct record_header h;
  if (n < RECORD_HEADER_SIZE)
    return all_zeros(bytes, n);
  memcpy(&h, bytes, sizeof h);
  return !h.magic && (!h.byte_order || h.byte_order == RECORD_BYTE_ORDER) &&
         (!h.header_size || h.header_size == RECORD_HEADER_SIZE);
}

/* Whoever loses the header of a recording, by a damaged disk, does not lose the rest here. */
static bool holds_nothing(int fd)
{
  static unsigned char bytes[65536];
  off_t at = RECORD_HEADER_SIZE;
  ssize_t n = pread(fd, bytes, RECORD_HEADER_SIZE, 0);
  if (n < 0 || !is_header_begun(bytes, n))
    return false;
  while ((n = pread(fd, bytes, sizeof bytes, at)) > 0 && all_zeros(bytes, n))
    at += n;
  return n == 0;
}

/* On overlayfs the lease is always granted, whoever has the file open. */
static bool lease_may_lie(int fd)
{
  const long overlayfs = 0x794c7630;
  struct statfs fs;
  return fstatfs(fd, &fs) != 0 || (unsigned long)fs.f_type == (unsigned long)overlayfs;
}

static enum unfinished look(int fd)
{
  struct stat s;
  if (fstat(fd, &s) || !S_ISREG(s.st_mode) || !holds_nothing(fd))
    return UNFINISHED_NOT;
  enum record_use use = record_use(fd);
  if (use == RECORD_USED)
    return UNFINISHED_BEING_MADE;
  if (is_old(&s))
    return UNFINISHED_LEFT_LONG;
  return use == RECORD_USE_UNKNOWN || lease_may_lie(fd) ? UNFINISHED_BEING_MADE : UNFINISHED_LEFT;
}

enum unfinished unfinished_look(int directory, const char *name)
{
  int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (fd < 0)
    return UNFINISHED_NOT;
  enum unfinished what = look(fd);
  close(fd);
  return what;
}
