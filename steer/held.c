// SPDX-License-Identifier: MIT
#include "steer/held.h"

#include <stdatomic.h>

#include "steer/descriptor.h"

static _Atomic uint64_t held[DESCRIPTORS];

void held_set(int fd, uint64_t what)
{
  if (fd >= 0 && fd < DESCRIPTORS)
    atomic_store_explicit(&held[fd], what, memory_order_relaxed);
}

uint64_t held_get(int fd)
{
  return fd < 0 || fd >= DESCRIPTORS ? 0 : atomic_load_explicit(&held[fd], memory_order_relaxed);
}

/* A load first: to close what holds nothing dirties no page. */
uint64_t held_take(int fd)
{
  if (fd < 0 || fd >= DESCRIPTORS || !atomic_load_explicit(&held[fd], memory_order_relaxed))
    return 0;
  return atomic_exchange_explicit(&held[fd], 0, memory_order_relaxed);
}
