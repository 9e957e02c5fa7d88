// SPDX-License-Identifier: MIT
#include "kernel/features.h"

#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/diag.h"

#define OPTION_LOCAL_PORT_RANGE 51 /* IP_LOCAL_PORT_RANGE, newer than some headers */
#define TRIES 16 /* connections: that all of them meet one parity by chance is one in 32768 */

enum answer {
  HAS_NAMESPACE = 1,
  HAS_RANGE = 2,
  HAS_BOTH_PARITIES = 4,
  TRIED_BOUND = 8,
  LISTS_BOUND = 16
};

static bool enter_namespace(void)
{
  struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
    return false;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  return fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
}

static int bound_socket(struct sockaddr_in *name)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  socklen_t size = sizeof *name;
  *name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  bind(fd, (struct sockaddr *)name, sizeof *name);
  getsockname(fd, (struct sockaddr *)name, &size);
  return fd;
}

/* A range that the option sets without a bound of its own. */
static int probe_range(void)
{
  struct sockaddr_in server, name;
  int listener = bound_socket(&server), parities[2] = {0};
  uint32_t range = 0xFFFFU << 16;
  listen(listener, TRIES);
  for (int i = 0; i < TRIES; i++) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t size = sizeof name;
    if (setsockopt(fd, IPPROTO_IP, OPTION_LOCAL_PORT_RANGE, &range, sizeof range))
      return 0;
    if (connect(fd, (struct sockaddr *)&server, sizeof server) == 0 &&
        getsockname(fd, (struct sockaddr *)&name, &size) == 0)
      parities[ntohs(name.sin_port) % 2]++;
  }
  return HAS_RANGE | (parities[0] && parities[1] ? HAS_BOTH_PARITIES : 0);
}

/* Of this kernel it is known in whichever namespace: where none can be made, in the present one. */
static int probe_bound(void)
{
  int lists = diag_lists_bound();
  return (lists >= 0 ? TRIED_BOUND : 0) | (lists > 0 ? LISTS_BOUND : 0);
}

struct kernel_features kernel_features_probe(void)
{
  int status = 0;
  pid_t child = fork();
  if (child == 0)
    _exit((enter_namespace() ? HAS_NAMESPACE | probe_range() : 0) | probe_bound());
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
    status = 0;
  int answer = WEXITSTATUS(status);
  return (struct kernel_features){
      .known = answer & HAS_NAMESPACE,
      .local_port_range = answer & HAS_RANGE,
      .range_without_parity = answer & HAS_BOTH_PARITIES,
      .bound_sockets_listed = !(answer & TRIED_BOUND) ? -1 : (answer & LISTS_BOUND) != 0};
}
