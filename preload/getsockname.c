// SPDX-License-Identifier: MIT
//
// A program that asks for its port before it connects is to see one, though late_bind put it off.
#include "preload/hook.h"
#include "steer/claim.h"

HOOK int getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
  const struct real *real = init();
  claim_late_name(fd);
  return real->getsockname(fd, address, size);
}
