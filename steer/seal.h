/* SPDX-License-Identifier: MIT
 *
 * A program is about to lock itself in by seccomp(2): what berth will need later is had before, and
 * the filter is known from then on (gate/gate.h). Signal-safe; errno is left alone.
 */
#ifndef BERTH_STEER_SEAL_H
#define BERTH_STEER_SEAL_H

#include <stdbool.h>

struct sock_fprog;
struct gate_filter;

/* Before the program's call. `filter` is its own pointer, not yet followed; NULL: SECCOMP_MODE_STRICT.
 * Returns NULL where the kernel will refuse such a filter. */
struct gate_filter *seal_begin(const struct sock_fprog *filter);

/* After it: nothing is called where it was installed. */
void seal_failed(struct gate_filter *kept);

#endif
