// SPDX-License-Identifier: MIT
#include "gate/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "gate/gate.h"

static _Atomic uint64_t noted[2]; /* of CLOCK_REALTIME and of CLOCK_MONOTONIC */

static uint64_t read_ns(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Whether each call that libc may make for it would pass. */
static bool lets_read(clockid_t clock)
{
#ifdef SYS_clock_gettime64
  if (!GATE_LETS(SYS_clock_gettime64, clock))
    return false;
#endif
  return GATE_LETS(SYS_clock_gettime, clock);
}

/* getauxval(3) sets errno where there is none. */
static bool has_vdso(void)
{
  int error = errno;
  bool has = getauxval(AT_SYSINFO_EHDR) != 0;
  errno = error;
  return has;
}

uint64_t gate_clock_ns(clockid_t clock)
{
  bool real = clock == CLOCK_REALTIME;
  if ((gate_has_asked() || !has_vdso()) && lets_read(clock))
    return read_ns(clock);
  if (has_vdso())
    return read_ns(real ? CLOCK_REALTIME_COARSE : CLOCK_MONOTONIC_COARSE);
  return atomic_load_explicit(&noted[real ? 0 : 1], memory_order_relaxed);
}

void gate_clock_note(void)
{
  if (has_vdso())
    return;
  atomic_store_explicit(&noted[0], gate_clock_ns(CLOCK_REALTIME), memory_order_relaxed);
  atomic_store_explicit(&noted[1], gate_clock_ns(CLOCK_MONOTONIC), memory_order_relaxed);
}
