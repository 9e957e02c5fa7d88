/* SPDX-License-Identifier: MIT
 *
 * The clock of the shim. Where the vDSO does not read the machine's clock, clock_gettime(2) is a
 * system call, which a filter of the program's may not let pass. Then a coarse clock is read, which
 * the vDSO has whatever the machine's clock is (do_coarse() in lib/vdso/gettimeofday.c), and which
 * goes in steps of 1 to 10 ms. It is also read before the shim has asked whether there are filters:
 * to ask takes system calls, which the time of a start alone does not justify. Without a vDSO time
 * stands still at what it was when the filter came down, or at 0. Lock-free; signal-safe.
 */
#ifndef BERTH_GATE_CLOCK_H
#define BERTH_GATE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* CLOCK_REALTIME or CLOCK_MONOTONIC, in nanoseconds. */
uint64_t gate_clock_ns(clockid_t clock);

/* Before a filter comes down: the time at which it would stand still. */
void gate_clock_note(void);

#endif
