// SPDX-License-Identifier: MIT
//
// before_6_8.so, to be preloaded: makes sock_diag(7) what it was before Linux 6.8 (91051f003948),
// which knew no state of sockets that are bound and neither connected nor listening. It takes that
// state out of what is asked for.
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BOUND_INACTIVE 13 /* TCP_BOUND_INACTIVE, newer than some headers */

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
               socklen_t to_size)
{
  char copy[4096];
  struct nlmsghdr header;
  struct inet_diag_req_v2 request;
  if (to && to->sa_family == AF_NETLINK && size >= sizeof header + sizeof request &&
      size <= sizeof copy) {
    memcpy(copy, data, size);
    memcpy(&header, copy, sizeof header);
    if (header.nlmsg_type == SOCK_DIAG_BY_FAMILY) {
      memcpy(&request, copy + sizeof header, sizeof request);
      request.idiag_states &= ~(1U << BOUND_INACTIVE);
      memcpy(copy + sizeof header, &request, sizeof request);
      data = copy;
    }
  }
  return syscall(SYS_sendto, fd, data, size, flags, to, to_size);
}
