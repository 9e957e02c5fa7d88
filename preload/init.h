/* SPDX-License-Identifier: MIT
 *
 * The shim's start in a program: the environment is read once, before main().
 */
#ifndef BERTH_PRELOAD_INIT_H
#define BERTH_PRELOAD_INIT_H

#include "preload/real.h"

/* What every observing hook calls first: the real functions, and the shim started, if another
 * library's constructor was faster than ours. Where another thread is starting it just now, waits for
 * a tenth of a second at most; calls pass through until it is started. */
const struct real *init(void);

#endif
