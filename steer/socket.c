// SPDX-License-Identifier: MIT
#include "steer/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

bool socket_local(int fd, struct endpoint *local)
{
  struct sockaddr_storage address;
  socklen_t size = sizeof address;
  memset(local, 0, sizeof *local);
  if (getsockname(fd, (struct sockaddr *)&address, &size))
    return false;
  errno = EAFNOSUPPORT;
  return endpoint_from(local, (struct sockaddr *)&address, size);
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
  getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &size);
  return (uint16_t)value;
}

int socket_tcp_state(int fd)
{
  unsigned char state = 0;
  socklen_t size = 1;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &size) ? -1 : state;
}
