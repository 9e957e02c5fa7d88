/* SPDX-License-Identifier: MIT
 *
 * Which process, and which thread, this is: asked once, and told apart from a parent of which
 * memory was inherited. Signal-safe.
 */
#ifndef BERTH_STEER_SELF_H
#define BERTH_STEER_SELF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* To be called before any other, as often as one likes: two system calls the first time, two more
 * where main() has begun and this may be a vfork child. */
void self_begin(bool before_main);

/* This process's pid; in a vfork child its parent's, whose memory it only borrows. */
uint32_t self_pid(void);

/* Of this thread; one system call, the first time. */
uint32_t self_tid(uint32_t pid);

/* Whether this is the child of a fork, and not the process that started the image. */
bool self_is_forked(void);

/* A word of this process's own: 0 at first, and 0 again in the child of a fork. */
_Atomic uint64_t *self_word(void);

/* How many of this process's threads are making a recording; wiped likewise. */
atomic_uint *self_makers(void);

/* Whether self_word() cannot be trusted to be this process's: without MADV_WIPEONFORK (Linux
 * 4.14) the child of a fork finds its parent's. */
bool self_word_is_inherited(void);

#endif
