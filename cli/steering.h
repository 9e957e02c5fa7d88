/* SPDX-License-Identifier: MIT
 *
 * The policy that `berth run` and `berth env` give a program: a file, or one rule of options.
 */
#ifndef BERTH_CLI_STEERING_H
#define BERTH_CLI_STEERING_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/one_rule.h"
#include "policy/image.h"

struct steering {
  const char *file; /* -P; NULL for none */
  struct one_rule rule;
  policy_image *image; /* compiled; NULL: no policy */
};

/* Compiles what was given, if anything. Returns false, with all that is wrong said on stderr. */
bool steering_load(struct steering *s, const char *where);
void steering_free(struct steering *s);

#define STEERING_SUFFIX ".policy" /* of the image beside a recording */

/* Writes the image to a new file beside the recording, whose path becomes `path`; without a
 * recording ("") the path is that of the file given, without a policy it is "". Returns false,
 * having complained, where there is none. */
bool steering_install(const struct steering *s, const char *where, const char *recording,
                      char path[PATH_MAX]);

/* Deletes the image that was installed beside a recording that stays, unless a process still maps
 * that. */
void steering_remove(const char *recording, const char *path);

/* Deletes the image of a recording that berth named itself: RECORDING.policy cannot be anybody
 * else's. */
void steering_remove_beside(int directory, const char *recording);

#endif
