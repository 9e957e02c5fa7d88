// SPDX-License-Identifier: MIT
//
// close() and its kin, and the two that close what was at the number they are given. The hint goes
// before the call: afterwards another thread may have the number already.
#include <errno.h>
#include <unistd.h>

#include "preload/hook.h"
#include "steer/descriptor.h"

#define CLOSE_ON_EXEC 4 /* CLOSE_RANGE_CLOEXEC, newer than some headers */

HOOK int close(int fd)
{
  descriptor_closed(fd);
  return real()->close(fd);
}

HOOK int close_range(unsigned first, unsigned last, int flags)
{
  if (!real()->close_range) {
    errno = ENOSYS;
    return -1;
  }
  if (!(flags & CLOSE_ON_EXEC))
    descriptors_closed(first, last);
  return real()->close_range(first, last, flags);
}

HOOK int dup2(int from, int to)
{
  if (from != to)
    descriptor_closed(to);
  return real()->dup2(from, to);
}

HOOK int dup3(int from, int to, int flags)
{
  if (from != to)
    descriptor_closed(to);
  return real()->dup3(from, to, flags);
}
