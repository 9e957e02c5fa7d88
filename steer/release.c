// SPDX-License-Identifier: MIT
#include "steer/release.h"

#include <errno.h>
#include <stdbool.h>

#include "steer/candidates.h"
#include "steer/descriptor.h"
#include "steer/held.h"
#include "steer/self.h"
#include "steer/stray.h"

uint64_t release_begin(int fd)
{
  if (self_is_vforked())
    return 0;
  stray_look(fd);
  descriptor_closed(fd);
  return rules_any() ? held_take(fd) : 0;
}

uint64_t release_begin_over(int fd)
{
  int error = errno;
  bool others = descriptor_get(fd).generation && self_has_other_files();
  errno = error;
  return others ? 0 : release_begin(fd);
}

void release_end(uint64_t held)
{
  if (held)
    candidates_released(held);
}

void release_all(unsigned first, unsigned last)
{
  unsigned end = descriptors_used();
  int error = errno;
  bool others = first < end && self_has_other_files();
  errno = error;
  if (others)
    return;
  for (unsigned fd = first; fd < end && fd <= last; fd++)
    release_end(release_begin((int)fd));
}
