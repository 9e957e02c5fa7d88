/* SPDX-License-Identifier: MIT
 *
 * berth-policy.so, for a policy that is JSON: opened beside libberth.so for as long as it takes to
 * compile one, in a scope of its own, so that jansson never meets the program's symbols.
 */
#ifndef BERTH_PRELOAD_LOADER_H
#define BERTH_PRELOAD_LOADER_H

#include "steer/rules.h"

/* Allocates, as dlopen(3) does: before main() alone. */
extern const struct rules_loader loader;

#endif
