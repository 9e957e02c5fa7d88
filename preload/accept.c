// SPDX-License-Identifier: MIT
#include "preload/hook.h"
#include "steer/descriptor.h"

HOOK int accept(int fd, struct sockaddr *peer, socklen_t *size)
{
  int accepted = real()->accept(fd, peer, size);
  if (accepted >= 0)
    descriptor_accepted(accepted);
  return accepted;
}

HOOK int accept4(int fd, struct sockaddr *peer, socklen_t *size, int flags)
{
  int accepted = real()->accept4(fd, peer, size, flags);
  if (accepted >= 0)
    descriptor_accepted(accepted);
  return accepted;
}
