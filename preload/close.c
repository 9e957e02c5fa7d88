// SPDX-License-Identifier: MIT
//
// close(), and the two that close what was at the number they are given. The hint goes before
// the call: afterwards another thread may have the number already.
#include <unistd.h>

#include "preload/hook.h"
#include "steer/descriptor.h"

HOOK int close(int fd)
{
  descriptor_closed(fd);
  return real()->close(fd);
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
