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

/* Deletes the image beside a recording that stays, unless a process still maps that. */
void steering_remove(const char *recording);

#define STEERING_SUFFIX ".policy" /* of the image beside a recording, with which it is deleted */

/* Writes the image beside the recording and its path to `path`; without a recording ("") the path
 * is that of the file given. Returns false, having complained, where there is none. */
bool steering_install(const struct steering *s, const char *where, const char *recording,
                      char path[PATH_MAX]);

#endif
