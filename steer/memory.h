/* SPDX-License-Identifier: MIT
 *
 * Whether a pointer of the program's may be followed. Signal-safe; errno may change.
 */
#ifndef BERTH_STEER_MEMORY_H
#define BERTH_STEER_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

enum memory {
  MEMORY_UNREADABLE,
  MEMORY_READABLE,
  MEMORY_UNKNOWN, /* a sandbox lets nobody ask */
};

/* Whether they lie on this thread's stack, above the caller: no system call. */
bool memory_is_on_stack(const void *p, size_t size);

/* Whether `size` bytes (2 to one page) at `p` may be read. Of what is not on the stack the kernel is
 * asked, on the socket `fd`, so that a bad pointer is an answer and not a fault: one system call, two
 * across a page's end; or, where that is forbidden or `fd` is no socket, as memory_ask_all() does. */
enum memory memory_ask(int fd, const void *p, size_t size);

/* The same of any number of bytes, without a socket: a system call a page. */
enum memory memory_ask_all(const void *p, size_t size);

#endif
