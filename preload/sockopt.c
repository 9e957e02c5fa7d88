// SPDX-License-Identifier: MIT
//
// A program that sets IP_LOCAL_PORT_RANGE chooses its ports itself, and one that reads it is to find
// what it has set. Of a port that late_bind put off, options tell too.
#include "preload/hook.h"
#include "steer/claim.h"

HOOK int setsockopt(int fd, int level, int option, const void *value, socklen_t size)
{
  claim_late_option(fd, level, option);
  int result = real()->setsockopt(fd, level, option, value, size);
  if (result == 0)
    claim_option_set(fd, level, option, value, size);
  return result;
}

HOOK int getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
  uint32_t range = claim_option_asked(fd, level, option);
  int result = real()->getsockopt(fd, level, option, value, size);
  claim_option_told(fd, range);
  return result;
}
