/* SPDX-License-Identifier: MIT
 *
 * Which processes hold which sockets, as far as /proc/PID/fd may be read. For a command: allocates.
 */
#ifndef BERTH_KERNEL_HOLDERS_H
#define BERTH_KERNEL_HOLDERS_H

#include <stddef.h>
#include <stdint.h>

struct holder {
  uint64_t inode; /* of the socket, as sock_diag(7) and fstat(2) tell it */
  uint32_t pid;
};

struct holders {
  struct holder *list; /* sorted by inode */
  uint32_t count;
};

/* What can be seen; little of it, or nothing, without privileges. */
struct holders holders_read(void);
void holders_free(struct holders *h);

/* A process that holds the socket; 0: none that can be seen. */
uint32_t holders_find(const struct holders *h, uint64_t inode);

/* The name of a process's program (/proc/PID/comm): any bytes, which it may have chosen itself, and
 * no NUL behind them. Returns how many; 0 where it cannot be read. */
#define HOLDER_NAME 64
size_t holder_name(uint32_t pid, char name[HOLDER_NAME]);

#endif
