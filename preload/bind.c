// SPDX-License-Identifier: MIT
#include "preload/hook.h"
#include "steer/observe.h"

struct arguments {
  const struct real *real;
  int fd;
  const struct sockaddr *asked;
  socklen_t size;
};

static long call(const void *arguments)
{
  const struct arguments *a = arguments;
  return a->real->bind(a->fd, a->asked, a->size);
}

HOOK int bind(int fd, const struct sockaddr *asked, socklen_t size)
{
  struct observation o;
  const struct arguments a = {init(), fd, asked, size};
  if (!observe_bind_begin(&o, fd))
    return (int)call(&a);
  int result = (int)claim_bind(&o, asked, size, call, &a);
  observe_bind(&o, asked, size, result);
  return result;
}
