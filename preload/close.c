// SPDX-License-Identifier: MIT
//
// close() and its kin, and the two that close what was at the number they are given. The hint goes before
// the call: afterwards another thread may have the number already.
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload/hook.h"
#include "steer/descriptor.h"

HOOK int close(int fd)
{
  descriptor_closed(fd);
  return real()->close(fd);
}

/* With CLOSE_RANGE_UNSHARE or _CLOEXEC nothing is closed yet that another may not still use: the
 * hints go all the same, and what they told is asked again. */
HOOK int close_range(unsigned first, unsigned last, int flags)
{
  if (!real()->close_range) {
    errno = ENOSYS;
    return -1;
  }
  descriptors_closed(first, last);
  return real()->close_range(first, last, flags);
}

HOOK void closefrom(int first)
{
  descriptors_closed(first < 0 ? 0 : (unsigned)first, DESCRIPTORS);
  if (real()->closefrom)
    real()->closefrom(first);
  else
    syscall(SYS_close_range, first < 0 ? 0 : first, ~0U, 0);
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
