// SPDX-License-Identifier: MIT
//
// close() and its kin, and the two that close what was at the number they are given. The hint goes
// before the call: afterwards another thread may have the number already.
#include <errno.h>
#include <unistd.h>

#include "preload/hook.h"
#include "steer/release.h"

#define CLOSE_ON_EXEC 4 /* CLOSE_RANGE_CLOEXEC, newer than some headers */

HOOK int close(int fd)
{
  uint64_t held = release_begin(fd);
  int result = real()->close(fd);
  release_end(held);
  return result;
}

HOOK int close_range(unsigned first, unsigned last, int flags)
{
  if (!real()->close_range) {
    errno = ENOSYS;
    return -1;
  }
  if (!(flags & CLOSE_ON_EXEC))
    release_all(first, last);
  return real()->close_range(first, last, flags);
}

HOOK int dup2(int from, int to)
{
  uint64_t held = from != to ? release_begin_over(to) : 0;
  int result = real()->dup2(from, to);
  release_end(held);
  return result;
}

HOOK int dup3(int from, int to, int flags)
{
  uint64_t held = from != to ? release_begin_over(to) : 0;
  int result = real()->dup3(from, to, flags);
  release_end(held);
  return result;
}
