// SPDX-License-Identifier: MIT
#include "steer/stray.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "record/sys.h"
#include "steer/candidates.h"
#include "steer/descriptor.h"
#include "steer/held.h"
#include "steer/recorder.h"
#include "steer/self.h"

/* struct mptcp_subflow_data, and the beginning of each struct mptcp_subflow_addrs, its local sockaddr:
 * <linux/mptcp.h> of Linux 5.16, newer than some headers. The kernel opens eight further ones at most
 * (MPTCP_SUBFLOWS_MAX). */
#define LEVEL_MPTCP 284
#define OPTION_SUBFLOW_ADDRS 3
struct subflows {
  uint32_t size, count, kernel_size, user_size;
  struct {
    uint16_t family, port;
  } local[16];
};

static uint32_t count_outside(int fd, const struct port_set *set)
{
  struct subflows s = {.size = sizeof s - sizeof s.local, .user_size = sizeof s.local[0]};
  unsigned size = sizeof s;
  uint32_t outside = 0, index;
  if (sys_getsockopt(fd, LEVEL_MPTCP, OPTION_SUBFLOW_ADDRS, &s, &size))
    return 0;
  for (uint32_t i = 0; i < s.count && i < sizeof s.local / sizeof s.local[0]; i++)
    outside += s.local[i].port && !port_set_index(set, ntohs(s.local[i].port), &index);
  return outside;
}

static void look(int fd, struct descriptor d)
{
  const struct active_rule *rule = candidates_holder(held_get(fd));
  uint32_t outside = rule ? count_outside(fd, &rule->set) : 0;
  d.multipath = 0;
  descriptor_set(fd, d);
  if (outside)
    recorder_outside(rule->name, outside);
}

void stray_look(int fd)
{
  struct descriptor d = descriptor_get(fd);
  int error = errno;
  if (d.multipath)
    look(fd, d);
  errno = error;
}

/* In this process, or in one that it was forked from. */
static atomic_bool any;

void stray_expect(void)
{
  atomic_store_explicit(&any, true, memory_order_relaxed);
}

static unsigned end_of_expected(void)
{
  return atomic_load_explicit(&any, memory_order_relaxed) ? descriptors_used() : 0;
}

void stray_look_at_all(void)
{
  unsigned end = self_is_vforked() ? 0 : end_of_expected();
  for (unsigned fd = 0; fd < end; fd++)
    stray_look((int)fd);
}

void stray_forked(void)
{
  unsigned end = end_of_expected();
  for (unsigned fd = 0; fd < end; fd++) {
    struct descriptor d = descriptor_get((int)fd);
    if (!d.multipath)
      continue;
    d.multipath = 0;
    descriptor_set((int)fd, d);
  }
}
