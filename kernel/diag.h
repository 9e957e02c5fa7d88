/* SPDX-License-Identifier: MIT
 *
 * The TCP or UDP sockets of this network namespace, as sock_diag(7) lists them, without privileges.
 * For a command: allocates.
 */
#ifndef BERTH_KERNEL_DIAG_H
#define BERTH_KERNEL_DIAG_H

#include <stdbool.h>
#include <stdint.h>

/* The kernel's states (include/net/tcp_states.h), by their numbers. */
enum diag_state {
  DIAG_ESTABLISHED = 1,
  DIAG_SYN_SENT,
  DIAG_SYN_RECV,
  DIAG_FIN_WAIT_1,
  DIAG_FIN_WAIT_2,
  DIAG_TIME_WAIT,
  DIAG_CLOSE,
  DIAG_CLOSE_WAIT,
  DIAG_LAST_ACK,
  DIAG_LISTEN,
  DIAG_CLOSING,
  DIAG_NEW_SYN_RECV,
  DIAG_BOUND, /* bound, and neither connected nor listening: listed since Linux 6.8 */
  DIAG_STATES
};

/* Who gave a socket its port, as far as the kernel tells: inet_diag knows whether the program named
 * the port in bind() (SOCK_BINDPORT_LOCK), and not which call asked the kernel for one. */
enum diag_port {
  DIAG_PORT_EXPLICIT,  /* the program: bind() to this port */
  DIAG_PORT_LATE,      /* the kernel at connect(): IP_BIND_ADDRESS_NO_PORT is set */
  DIAG_PORT_AUTOMATIC, /* the kernel: at connect(), bind() to port 0, or listen() */
  DIAG_PORT_UNKNOWN,   /* TIME_WAIT does not remember, nor FIN_WAIT_2 once the socket is closed */
  DIAG_PORTS
};

struct diag_socket {
  uint8_t state;                  /* enum diag_state */
  uint8_t port_by;                /* enum diag_port */
  uint16_t local_port, peer_port; /* host byte order */
  uint8_t local[16], peer[16];    /* IPv4 as v4-mapped */
  uint32_t device;                /* SO_BINDTODEVICE's interface index; 0: none */
  uint32_t expires;               /* TIME_WAIT: milliseconds that it has left */
  uint32_t uid, inode;
  uint64_t cookie;
};

struct diag_sockets {
  struct diag_socket *sockets;
  uint32_t count;
};

/* All of IPPROTO_TCP or IPPROTO_UDP, in no order; one that changes meanwhile may be there twice, with
 * one cookie. 0, or an errno: EPERM or ENOENT where the kernel refuses. */
int diag_read(struct diag_sockets *list, int protocol);
void diag_free(struct diag_sockets *list);

/* Whether this kernel lists sockets in DIAG_BOUND: 1, 0, or -1 where that could not be tried. Binds a
 * socket of its own on loopback, to a port that the kernel chooses, and looks for it. */
int diag_lists_bound(void);

/* "established", as OpenTelemetry's network.connection.state names it. */
const char *diag_state_name(unsigned state);

#endif
