/* SPDX-License-Identifier: MIT
 *
 * Which port of which rule a descriptor holds, so that it can be told free at close(). A hint: a
 * descriptor that was duplicated, or closed without a hook, makes it wrong. Private to the process;
 * lock-free; signal-safe. No page of it is touched without a policy.
 */
#ifndef BERTH_STEER_HELD_H
#define BERTH_STEER_HELD_H

#include <stdint.h>

/* `what` is candidates_granted()'s. */
void held_set(int fd, uint64_t what);

/* 0 where there is nothing. */
uint64_t held_get(int fd);

/* Takes it away: 0 where there was nothing. */
uint64_t held_take(int fd);

#endif
