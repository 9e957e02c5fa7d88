// SPDX-License-Identifier: MIT
#include "preload/hook.h"
#include "steer/observe.h"

struct arguments {
  const struct real *real;
  int fd;
  const struct sockaddr *peer;
  socklen_t size;
};

static long call(const void *arguments)
{
  const struct arguments *a = arguments;
  return a->real->connect(a->fd, a->peer, a->size);
}

HOOK int connect(int fd, const struct sockaddr *peer, socklen_t size)
{
  struct observation o;
  const struct arguments a = {init(), fd, peer, size};
  if (!observe_connect_begin(&o, fd))
    return (int)call(&a);
  int result = (int)claim_connect(&o, peer, size, call, &a);
  observe_connect(&o, peer, size, result);
  return result;
}
