// SPDX-License-Identifier: MIT
#include "preload/hook.h"
#include "steer/observe.h"

HOOK int connect(int fd, const struct sockaddr *peer, socklen_t size)
{
  struct observation o;
  const struct real *real = init();
  if (!observe_connect_begin(&o, fd))
    return real->connect(fd, peer, size);
  int result = real->connect(fd, peer, size);
  observe_connect(&o, peer, size, result);
  return result;
}
