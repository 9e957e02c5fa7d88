/* SPDX-License-Identifier: MIT
 *
 * What the process remembers of its descriptors, so that a hook need not ask the kernel again.
 *
 * All of it is a hint that may be stale: a descriptor can be closed, duplicated or received
 * without a hook being called. So whoever uses one has a way to find out that it lies: a port
 * counts only where getsockname(2) says the same, `connecting` only where TCP_INFO agrees, a
 * family only until a sockaddr shows another. What remains: a socket that libc itself closed
 * (fclose()) before it was connected, and whose number came back by dup() or from another process,
 * passes for what the first one was until it connects. The memory is private to the process (a vfork
 * child shares its parent's), lock-free, and may be used in a signal handler.
 */
#ifndef BERTH_STEER_DESCRIPTOR_H
#define BERTH_STEER_DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>

#define PROTOCOL_MPTCP 262 /* IPPROTO_MPTCP, newer than some headers */

enum socket_kind {
  SOCKET_UNKNOWN, /* nobody saw it made: ask */
  SOCKET_OTHER,   /* not of AF_INET or AF_INET6 */
  SOCKET_TCP,
  SOCKET_UDP,
  SOCKET_MPTCP,
  SOCKET_RAW, /* whatever protocol it carries, it has no port */
};

enum descriptor_flag {
  DESCRIPTOR_SETTLED = 1,    /* it has a port: a send will not choose one */
  DESCRIPTOR_CONNECTING = 2, /* a connect() began and was not seen to end */
  /* What `port` is: */
  DESCRIPTOR_PROGRAM = 4, /* the program bound it */
  DESCRIPTOR_EARLIER = 8, /* an earlier connect() had it; getsockname() may still say so */
  DESCRIPTOR_POLICY = 16, /* a rule bound it */

  DESCRIPTOR_ADDRESS = 32,   /* the program bound it to an address, with a port or without */
  DESCRIPTOR_OWN_RANGE = 64, /* the program set IP_LOCAL_PORT_RANGE */
  DESCRIPTOR_RANGED = 128,   /* a rule did, and it is still set: claim_restore_range() */
};

struct descriptor {
  uint16_t port;
  uint8_t kind : 4;      /* enum socket_kind */
  uint8_t puts_off : 1;  /* the program set IP_BIND_ADDRESS_NO_PORT itself */
  uint8_t portless : 1;  /* bound, and without a port after that */
  uint8_t multipath : 1; /* an MPTCP connection from a port that a rule gave */
  uint8_t flags;         /* enum descriptor_flag */
  uint32_t generation;   /* how often the number was closed or given, as far as a hook saw */
};

/* What no call on the socket takes away. */
#define DESCRIPTOR_LASTING (DESCRIPTOR_ADDRESS | DESCRIPTOR_OWN_RANGE)

/* Descriptors from here on are not remembered: everything about them is asked. */
#define DESCRIPTORS (1 << 17)

struct descriptor descriptor_get(int fd);

/* The same, before a call that may last: closing the number is noticed from here on. */
struct descriptor descriptor_begin(int fd);

/* Where the number still is of d's generation: otherwise `d` is of a socket that is gone. */
void descriptor_set(int fd, struct descriptor d);

/* Whether no hook saw the number closed, or given to another socket, since it had that generation:
 * to be asked after a call that may have lasted, before anything is done with the number. */
bool descriptor_is(int fd, uint32_t generation);

/* socket(2) made it: what its arguments tell. */
void descriptor_made(int fd, int domain, int type, int protocol);

/* accept(2) made it: it has a port. */
void descriptor_accepted(int fd);

/* It was closed or replaced, in this process or in a vfork child that only lent the memory:
 * so the port stays, which is checked against getsockname() anyhow. */
void descriptor_closed(int fd);

/* The program has bound this port, by whichever descriptor: for one that nobody saw made (dup(),
 * a received descriptor) that is the only thing known. */
void descriptor_bound_port(uint16_t port);
bool descriptor_port_was_bound(uint16_t port);

/* One more than the highest that was ever remembered: no need to look beyond. */
unsigned descriptors_used(void);

#endif
