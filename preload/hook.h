/* SPDX-License-Identifier: MIT
 *
 * A function of libc that libberth.so exports in its place.
 */
#ifndef BERTH_PRELOAD_HOOK_H
#define BERTH_PRELOAD_HOOK_H

#include "preload/init.h"

#define HOOK __attribute__((visibility("default")))

#endif
