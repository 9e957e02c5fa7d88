// SPDX-License-Identifier: MIT
#include "preload/hook.h"
#include "steer/observe.h"

HOOK int bind(int fd, const struct sockaddr *asked, socklen_t size)
{
  struct observation o;
  const struct real *real = init();
  if (!observe_bind_begin(&o, fd))
    return real->bind(fd, asked, size);
  int result = real->bind(fd, asked, size);
  observe_bind(&o, asked, size, result);
  return result;
}
