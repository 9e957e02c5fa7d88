// SPDX-License-Identifier: MIT
#include "preload/hook.h"
#include "steer/descriptor.h"

HOOK int socket(int domain, int type, int protocol)
{
  int fd = real()->socket(domain, type, protocol);
  if (fd >= 0)
    descriptor_made(fd, domain, type, protocol);
  return fd;
}
