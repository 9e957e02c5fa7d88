// SPDX-License-Identifier: MIT
//
// The options by which a program, or a rule, has chosen ports already.
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "record/sys.h"
#include "steer/claim.h"
#include "steer/descriptor.h"
#include "steer/socket.h"

void claim_restore_range(int fd)
{
  const uint32_t none = 0;
  struct descriptor d = descriptor_get(fd);
  int error = errno;
  if (!(d.flags & DESCRIPTOR_RANGED))
    return;
  sys_setsockopt(fd, IPPROTO_IP, OPTION_LOCAL_PORT_RANGE, &none, sizeof none);
  d.flags &= (uint8_t)~DESCRIPTOR_RANGED;
  descriptor_set(fd, d);
  errno = error;
}

void claim_option_asked(int fd, int level, int option)
{
  if (level == IPPROTO_IP && option == OPTION_LOCAL_PORT_RANGE)
    claim_restore_range(fd);
}

static void set_own_range(struct descriptor *d, uint32_t range)
{
  d->flags &= (uint8_t) ~(DESCRIPTOR_RANGED | DESCRIPTOR_OWN_RANGE);
  d->flags |= range ? DESCRIPTOR_OWN_RANGE : 0;
}

void claim_option_set(int fd, int level, int option, const void *value, socklen_t size)
{
  uint32_t word = 0; /* the kernel takes an int, or a byte */
  if (level != IPPROTO_IP || (option != OPTION_LOCAL_PORT_RANGE && option != OPTION_NO_PORT))
    return;
  struct descriptor d = descriptor_begin(fd);
  memcpy(&word, value, size < sizeof word ? size : sizeof word);
  if (option == OPTION_LOCAL_PORT_RANGE)
    set_own_range(&d, word);
  else
    d.puts_off = word != 0;
  descriptor_set(fd, d);
}
