/* SPDX-License-Identifier: MIT
 *
 * What is forgotten, and told to a rule's memory, when a descriptor is closed; not by a vfork child,
 * whose descriptors are its own, while the memory is its parent's. Signal-safe; errno
 * stays as it is.
 */
#ifndef BERTH_STEER_RELEASE_H
#define BERTH_STEER_RELEASE_H

#include <stdint.h>

/* Before the real call: afterwards another thread may have the number already. Returns what
 * release_end() wants. */
uint64_t release_begin(int fd);

/* The same, before dup2() or dup3() to it, which a vfork child may call. */
uint64_t release_begin_over(int fd);

/* After it: a port that is called free before it is would be offered, refused and then avoided. */
void release_end(uint64_t held);

/* Both, before the call: all from `first` to `last`. */
void release_all(unsigned first, unsigned last);

#endif
