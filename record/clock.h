/* SPDX-License-Identifier: MIT
 *
 * clock_gettime(2) in nanoseconds: no system call where the vDSO has the clock, and in the shim none
 * that the program's filters do not let pass. Signal-safe.
 */
#ifndef BERTH_RECORD_CLOCK_H
#define BERTH_RECORD_CLOCK_H

#include <stdint.h>
#include <time.h>

#ifdef BERTH_SHIM
#include "gate/clock.h"
#define clock_ns gate_clock_ns
#else
static inline uint64_t clock_ns(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
#endif

#endif
