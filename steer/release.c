// SPDX-License-Identifier: MIT
#include "steer/release.h"

#include "steer/candidates.h"
#include "steer/descriptor.h"
#include "steer/held.h"

uint64_t release_begin(int fd)
{
  descriptor_closed(fd);
  return rules_any() ? held_take(fd) : 0;
}

void release_end(uint64_t held)
{
  if (held)
    candidates_released(held);
}

void release_all(unsigned first, unsigned last)
{
  unsigned end = descriptors_used();
  for (unsigned fd = first; fd < end && fd <= last; fd++)
    release_end(release_begin((int)fd));
}
