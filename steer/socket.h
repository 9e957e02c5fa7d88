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

/* getsockname(). Returns false, and an endpoint of zeros, for what is no socket of AF_INET or
 * AF_INET6: errno is then EAFNOSUPPORT for another family's, else the call's. */
bool socket_local(int fd, struct endpoint *local);

/* IPPROTO_*: by the hint where it leaves no doubt, without a call. */
uint16_t socket_protocol(int fd, enum socket_kind hint);

/* TCP's state as in /proc/net/tcp (TCP_CLOSE, TCP_SYN_SENT, ...), or -1 for what is not TCP. */
int socket_tcp_state(int fd);

#endif
