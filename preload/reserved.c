// SPDX-License-Identifier: MIT
//
// Functions of libc that bind a socket to a port below 1024 by calls that no hook sees. Not every
// libc has them.
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>

#include "preload/hook.h"
#include "steer/descriptor.h"
#include "steer/observe.h"

static int lacking(void)
{
  errno = ENOSYS;
  return -1;
}

HOOK int bindresvport(int fd, struct sockaddr_in *address)
{
  struct observation o;
  const struct real *real = init();
  if (!real->bindresvport)
    return lacking();
  if (!observe_bind_begin(&o, fd))
    return real->bindresvport(fd, address);
  int result = real->bindresvport(fd, address);
  observe_reserved(&o, fd, result);
  return result;
}

HOOK int rresvport_af(int *port, sa_family_t family)
{
  struct observation o;
  const struct real *real = init();
  if (!real->rresvport_af)
    return lacking();
  bool observed = observe_bind_begin(&o, -1);
  int fd = real->rresvport_af(port, family);
  if (fd >= 0)
    descriptor_made(fd, family, SOCK_STREAM, 0);
  if (fd >= 0 && observed)
    observe_reserved(&o, fd, 0);
  return fd;
}

HOOK int rresvport(int *port)
{
  return rresvport_af(port, AF_INET);
}
