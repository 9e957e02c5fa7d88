/* SPDX-License-Identifier: MIT
 *
 * Addresses out of a program's memory, read without trusting its pointers, of any alignment.
 */
#ifndef BERTH_STEER_ENDPOINT_H
#define BERTH_STEER_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "steer/memory.h"

struct endpoint {
  uint8_t address[16]; /* network order, IPv4 as v4-mapped */
  uint32_t scope;
  uint16_t port; /* host order */
};

/* memory_ask() of a sockaddr: as much of it as endpoint_from() looks at. */
enum memory endpoint_ask(int fd, const struct sockaddr *address, socklen_t size);

/* Decodes a sockaddr that is known to be readable for `size` bytes. Returns false for a
 * family other than AF_INET and AF_INET6, or one too short for its family. */
bool endpoint_from(struct endpoint *e, const struct sockaddr *address, socklen_t size);

/* The other way round, for a socket of this family: an IPv4 address on an AF_INET6 socket becomes a
 * v4-mapped one. Returns the size. */
socklen_t endpoint_to(const struct endpoint *e, int family, struct sockaddr_storage *address);

/* Whether it is of loopback. */
bool address_is_loopback(const uint8_t address[16]);

/* Whether it is :: or 0.0.0.0. */
bool address_is_unspecified(const uint8_t address[16]);

/* The destination that the kernel makes of a peer's, for a socket bound to `local` (zeros: to none):
 * an unspecified one is the machine itself, and a scope that is not heeded is gone. */
struct endpoint endpoint_reached(const struct endpoint *peer, const uint8_t local[16]);

/* The family of such a sockaddr; AF_UNSPEC where it is too short to have one. */
int endpoint_family(const struct sockaddr *address, socklen_t size);

#endif
