// SPDX-License-Identifier: MIT
//
// The options by which a program, or a rule, has chosen ports already.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>

#include "record/sys.h"
#include "steer/claim.h"
#include "steer/descriptor.h"
#include "steer/socket.h"

static void set_range(int fd, uint32_t range)
{
  sys_setsockopt(fd, IPPROTO_IP, OPTION_LOCAL_PORT_RANGE, &range, sizeof range);
}

static bool is_ranged(int fd)
{
  return descriptor_get(fd).flags & DESCRIPTOR_RANGED;
}

static bool is_connected(int fd)
{
  int state = socket_tcp_state(fd);
  return state >= 0 && state != TCP_CLOSE;
}

static void restore_range(int fd)
{
  struct descriptor d = descriptor_get(fd);
  if (is_connected(fd))
    return;
  set_range(fd, 0);
  d.flags &= (uint8_t)~DESCRIPTOR_RANGED;
  descriptor_set(fd, d);
}

void claim_restore_range(int fd)
{
  int error = errno;
  if (is_ranged(fd))
    restore_range(fd);
  errno = error;
}

uint32_t claim_option_asked(int fd, int level, int option)
{
  uint32_t range = 0;
  unsigned size = sizeof range;
  int error = errno;
  if (level != IPPROTO_IP || option != OPTION_LOCAL_PORT_RANGE || !is_ranged(fd))
    return 0;
  restore_range(fd);
  if (is_ranged(fd) && sys_getsockopt(fd, level, option, &range, &size) == 0)
    set_range(fd, 0);
  errno = error;
  return range;
}

void claim_option_told(int fd, uint32_t range)
{
  int error = errno;
  if (range)
    set_range(fd, range);
  errno = error;
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
