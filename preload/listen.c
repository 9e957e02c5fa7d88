// SPDX-License-Identifier: MIT
#include "preload/hook.h"
#include "steer/observe.h"

HOOK int listen(int fd, int backlog)
{
  struct observation o;
  const struct real *real = init();
  if (!observe_listen_begin(&o, fd))
    return real->listen(fd, backlog);
  int result = claim_late_port(&o) ? real->listen(fd, backlog) : -1;
  observe_listen(&o, result);
  return result;
}
