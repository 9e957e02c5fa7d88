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

HOOK int socketpair(int domain, int type, int protocol, int fds[2])
{
  int result = real()->socketpair(domain, type, protocol, fds);
  for (unsigned i = 0; result == 0 && i < 2; i++)
    descriptor_made(fds[i], domain, type, protocol);
  return result;
}
