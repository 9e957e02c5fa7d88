/* SPDX-License-Identifier: MIT
 *
 * `berth run` that is itself started inside a sandbox.
 */
#ifndef BERTH_CLI_INSIDE_H
#define BERTH_CLI_INSIDE_H

#include <stdbool.h>

/* Whether berth lives here: where it was started under filters of seccomp(2), a child tries the system
 * calls that berth makes beside those of every program's start. False, and it has complained, where
 * one of them ended the child. What starts and ends a child, clone(2) and wait4(2), is not tried. */
bool inside_can_run(void);

#endif
