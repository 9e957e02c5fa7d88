/* SPDX-License-Identifier: MIT
 *
 * The recording that `berth run` prepares for COMMAND and all that it starts.
 */
#ifndef BERTH_CLI_PREPARE_H
#define BERTH_CLI_PREPARE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "policy/image.h"

/* Makes a recording with room for `events` (0: the usual, less where room is short), at `file` (a
 * recording that nobody uses is replaced) or, where that is NULL, in the directory that
 * BERTH_RECORD names, else the default one: before that it tidies the default directories, which it
 * says unless it is `quiet`. The recording holds the state that the rules of `policy` (NULL for none)
 * share. `path` becomes its absolute path. It counts as used until prepare_release(). Returns 0, or an
 * errno, having said on stderr what is wrong. */
int prepare_recording(const char *file, uint32_t events, const policy_image *policy, bool quiet,
                      char path[PATH_MAX]);

/* In the process that prepared it: from now on it is used as long as others map it. */
void prepare_release(void);

#endif
