/* SPDX-License-Identifier: MIT
 *
 * A filter of seccomp(2), run here over a system call that has not been made yet: it says what the
 * kernel would do with the call. Pure; signal-safe.
 */
#ifndef BERTH_GATE_FILTER_H
#define BERTH_GATE_FILTER_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>

/* What the program answers, SECCOMP_RET_*. It is one that the kernel has accepted, or will be asked
 * to: an instruction that the kernel would refuse (seccomp_check_filter() in kernel/seccomp.c)
 * answers SECCOMP_RET_KILL_PROCESS, and so does a program that runs off its end. */
uint32_t filter_run(const struct sock_filter *program, uint32_t length,
                    const struct seccomp_data *call);

/* Of two filters' answers the one that the kernel heeds (seccomp_run_filters()). */
uint32_t filter_worse(uint32_t one, uint32_t other);

/* Whether the call is made, and nobody is woken for it: not for SECCOMP_RET_TRACE and
 * SECCOMP_RET_USER_NOTIF, by which another process would meet a call that the program never made. */
bool filter_passes(uint32_t answer);

#endif
