/* SPDX-License-Identifier: MIT
 *
 * The one way by which the shim calls the kernel. A program may have locked itself in by filters of
 * seccomp(2): each of them that is known is asked first, and a call that it would answer by anything
 * but letting it pass is not made. Lock-free; signal-safe.
 *
 * What is known of the filters that a process started with is asked at the first call that ld.so had
 * not just made itself (gate/inherited.h). Those that it installs later are told by gate_keep(). All
 * that were seen in a process count for each of its threads: a call may then be left out in a thread
 * where it would have passed, but never kills.
 *
 * Without a filter a call costs one load and two additions more.
 */
#ifndef BERTH_GATE_GATE_H
#define BERTH_GATE_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct sock_fprog;
struct gate_filter;

/* errno of a call that was not made. The kernel returns no such error (MAX_ERRNO in
 * include/linux/err.h is taken by none). */
#define GATE_REFUSED 4095

/* syscall(2): -1 and errno for failure. */
long gate_call(long number, long a, long b, long c, long d, long e, long f);
#define GATE_PADDED(number, a, b, c, d, e, f, ...)                                                 \
  gate_call((long)(number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define GATE_CALL(...) GATE_PADDED(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* The same, unasked: a call of the program's own. */
long gate_make(long number, long a, long b, long c, long d, long e, long f);

/* Whether the call would be made. */
bool gate_lets(long number, long a, long b, long c, long d, long e, long f);
#define GATE_PADDED_LETS(number, a, b, c, d, e, f, ...)                                            \
  gate_lets((long)(number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define GATE_LETS(...) GATE_PADDED_LETS(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* Whether filters that were there before the start were asked for already. */
bool gate_has_asked(void);

/* Whether there are no filters, as far as is known: then a call that succeeded was the kernel's. Under
 * filters its result can be a handler's of SIGSYS, or a supervisor's. Asks for those that were there
 * before, the first time. */
bool gate_is_open(void);

/* Whether all that making a recording takes would pass, under one more filter. */
bool gate_lets_record(const struct sock_fprog *filter);

/* While a vfork child runs in a thread's memory, what is kept is the child's. After it, told by the
 * same address, it is dropped. */
void gate_lend(const void *thread);
void gate_take_back(const void *thread);

/* Before a filter is installed: from now on it is asked too. Its program is copied, and was found to
 * be readable. Without memory for that, what it answers is unknown, as of a filter that was there
 * before (gate/calls.h). Returns what gate_drop() takes. */
struct gate_filter *gate_keep(const struct sock_fprog *filter);

/* Waits until other threads have made the calls that passed before the last gate_keep(): to be called
 * before its filter is installed for them too. 100 ms at most; no system call. */
void gate_wait(void);

/* In the child of fork(2), in which other threads make no calls. */
void gate_forked(void);

/* SECCOMP_MODE_STRICT: nothing of ours passes. */
struct gate_filter *gate_keep_strict(void);

/* One that could not be looked at. */
struct gate_filter *gate_keep_unknown(void);

/* It was not installed. No system call. */
void gate_drop(struct gate_filter *filter);

/* Where there are filters, the number of a system call is stored here while it is made, and 0
 * afterwards: so that of a process that SIGSYS ended it can be told whose call that was. NULL:
 * nowhere. */
void gate_watch(_Atomic uint32_t *word);

#endif
