// SPDX-License-Identifier: MIT
#include "cli/local_address.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ASK_MOST 1024 /* of a rule and a family */

/* The n-th address of the prefix. */
static void nth(const struct policy_address *a, uint32_t n, uint8_t address[16])
{
  memcpy(address, a->address, 16);
  address[15] = (uint8_t)(address[15] + (n & 0xff)); /* host bits are 0: nothing is carried */
  address[14] = (uint8_t)(address[14] + (n >> 8));
}

static int bind_to(int fd, const uint8_t address[16], bool ipv4)
{
  struct sockaddr_in four = {.sin_family = AF_INET};
  struct sockaddr_in6 six = {.sin6_family = AF_INET6};
  memcpy(&four.sin_addr, address + 12, 4);
  memcpy(&six.sin6_addr, address, 16);
  return ipv4 ? bind(fd, (const struct sockaddr *)&four, sizeof four)
              : bind(fd, (const struct sockaddr *)&six, sizeof six);
}

static void ask(struct missing_addresses *m, int fd, const uint8_t address[16], bool ipv4)
{
  m->asked++;
  if (fd >= 0 && bind_to(fd, address, ipv4) == 0)
    return;
  if (!m->missing++) {
    memcpy(m->first, address, sizeof m->first);
    m->error = errno;
  }
}

static void ask_span(struct missing_addresses *m, const policy_image *p, struct policy_span span,
                     bool ipv4)
{
  const int on = 1;
  if (!span.count)
    return;
  int fd = socket(ipv4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd >= 0)
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  int refused = errno;
  for (uint32_t i = 0, left = ASK_MOST; i < span.count && left; i++) {
    const struct policy_address *a = policy_addresses(p) + span.first + i;
    for (uint32_t n = 0; n < a->count && left; n++, left--) {
      uint8_t address[16];
      nth(a, n, address);
      errno = refused; /* where there is no socket */
      ask(m, fd, address, ipv4);
    }
  }
  if (fd >= 0)
    close(fd);
}

struct missing_addresses addresses_missing(const policy_image *p, const struct policy_rule *rule)
{
  struct missing_addresses m = {0};
  ask_span(&m, p, rule->ipv4, true);
  ask_span(&m, p, rule->ipv6, false);
  return m;
}
