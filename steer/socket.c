// SPDX-License-Identifier: MIT
#include "steer/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "record/sys.h"

bool socket_local(int fd, struct endpoint *local)
{
  struct sockaddr_storage address;
  socklen_t size = sizeof address;
  memset(local, 0, sizeof *local);
  if (sys_getsockname(fd, &address, &size))
    return false;
  errno = EAFNOSUPPORT;
  return endpoint_from(local, (struct sockaddr *)&address, size);
}

int socket_option(int fd, int level, int option)
{
  int value = 0;
  socklen_t size = sizeof value;
  return sys_getsockopt(fd, level, option, &value, &size) ? 0 : value;
}

uint16_t socket_protocol(int fd, enum socket_kind hint)
{
  int value = 0;
  socklen_t size = sizeof value;
  switch (hint) {
  case SOCKET_TCP: return IPPROTO_TCP;
  case SOCKET_UDP: return IPPROTO_UDP;
  default: break; /* MPTCP too: the kernel may have made plain TCP of it */
  }
  sys_getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &size);
  return (uint16_t)value;
}

int socket_tcp_state(int fd)
{
  unsigned char state = 0;
  socklen_t size = 1;
  return sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &size) ? -1 : state;
}
