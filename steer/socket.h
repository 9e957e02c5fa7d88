/* SPDX-License-Identifier: MIT
 *
 * What the kernel tells of a socket: one system call each, signal-safe; errno may change.
 */
#ifndef BERTH_STEER_SOCKET_H
#define BERTH_STEER_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "steer/descriptor.h"
#include "steer/endpoint.h"

/* Of IPPROTO_IP, on AF_INET6 sockets too; newer than some headers. */
#define OPTION_NO_PORT 24          /* IP_BIND_ADDRESS_NO_PORT, since Linux 4.2 (90c337da) */
#define OPTION_LOCAL_PORT_RANGE 51 /* IP_LOCAL_PORT_RANGE, since Linux 6.3 (91d0b78c) */

#define OPTION_NETNS_COOKIE 71  /* SO_NETNS_COOKIE of SOL_SOCKET, since Linux 5.14 (e8b9eab9) */
#define OPTION_BIND_TO_INDEX 62 /* SO_BINDTOIFINDEX of SOL_SOCKET, since Linux 5.1 (f5dd3d0c) */

/* getsockname(). Returns false, and an endpoint of zeros, for what is no socket of AF_INET or
 * AF_INET6: errno is then EAFNOSUPPORT for another family's, else the call's. */
bool socket_local(int fd, struct endpoint *local);

/* IPPROTO_*: by the hint where it leaves no doubt, without a call. */
uint16_t socket_protocol(int fd, enum socket_kind hint);

/* An option of int size, or 0 where the kernel does not know it. */
int socket_option(int fd, int level, int option);

/* TCP's state as in /proc/net/tcp (TCP_CLOSE, TCP_SYN_SENT, ...), or -1 for what is not TCP. */
int socket_tcp_state(int fd);

#endif
