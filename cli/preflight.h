/* SPDX-License-Identifier: MIT
 *
 * The look of `berth run` at COMMAND before it starts.
 */
#ifndef BERTH_CLI_PREFLIGHT_H
#define BERTH_CLI_PREFLIGHT_H

#include <limits.h>
#include <stdbool.h>

/* Says on stderr why COMMAND is not reached, if so, and puts the file that it is about in `told`
 * ("": nothing was said). Returns false where a policy would be for nothing: it is not reached,
 * and `steered`. What cannot be executed is left to execvp(3). */
bool preflight(char *const *argv, const char *preload, bool steered, char told[PATH_MAX]);

#endif
