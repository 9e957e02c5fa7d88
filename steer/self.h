/* SPDX-License-Identifier: MIT
 *
 * Which process, and which thread, this is: asked once, and told apart from a parent of which
 * memory was inherited. Signal-safe.
 */
#ifndef BERTH_STEER_SELF_H
#define BERTH_STEER_SELF_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* pthread_getcpuclockid(3). */
typedef int clock_function(pthread_t thread, clockid_t *clock);

/* At the start, by the main thread: libc's number of it is kept. `libc` is libc's function, which
 * moved to another library and version in glibc 2.34, or NULL. No system call. */
void self_start(clock_function *libc);

/* Before a child is made that runs in this process's memory (clone(2) with CLONE_VM): only after that
 * is it asked whether one does. */
void self_lend(void);

/* Whether self_lend() was called: then another process may be using this memory, whose descriptors
 * are not this one's. */
bool self_lends(void);

/* Before vfork(2) in this thread, and after it, in the parent: what runs in between is the child, and
 * known to be without a system call. */
void self_vfork(bool begins);

/* Whether this is a vfork child that vfork() made. */
bool self_is_vforked(void);

/* To be called before any other but these, as often as one likes: three system calls the first
 * time, one more where main() has begun and this may be a vfork child. Before main() it is called
 * by the main thread. */
void self_begin(bool before_main);

/* To be called in the child of each fork(3), by the thread that it has: no system call, where libc
 * tells a thread's number. errno is left alone. */
void self_forked(void);

/* This process's pid; in a vfork child its parent's, whose memory it only borrows. One system call
 * in a child that was cloned without fork(3), the first time: should its main thread not be the one
 * that asks first, that one's number passes for the pid. */
uint32_t self_pid(void);

/* The parent's: of a child, the process that it was forked from, though it may have ended. 0 where
 * it is not known. */
uint32_t self_parent(void);

/* When this process was forked, by CLOCK_REALTIME; 0 if it is the one that started the image. */
uint64_t self_since(void);

/* Of this thread; no system call, where libc tells it. */
uint32_t self_tid(uint32_t pid);

/* Whether this is a vfork child, which borrows the memory of the process `pid`. Where none was ever
 * made, no system call; then one, two in a thread that has had no event: without `may_ask` such a
 * one is taken for no child, unless it was found out before. */
bool self_borrows(uint32_t pid, bool may_ask);

/* Whether this process, which borrows another's memory, has descriptors of its own, as a vfork
 * child has: to close one is none of the lender's business. No system call where no such child was
 * made but by vfork(); else one, two in a borrower. */
bool self_has_other_files(void);

/* A word of this process's own: 0 at first, and 0 again in the child of a fork. */
_Atomic uint64_t *self_word(void);

/* How many of this process's threads are making a recording; wiped likewise. */
atomic_uint *self_makers(void);

/* Whether self_word() cannot be trusted to be this process's: without MADV_WIPEONFORK (Linux
 * 4.14) the child of a raw clone finds its parent's. */
bool self_word_is_inherited(void);

#endif
