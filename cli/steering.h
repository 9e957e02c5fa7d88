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

/* Without -P and a rule, takes the policy that the environment names (the value of BERTH_POLICY), if
 * it can be read: otherwise it is for the programs to say what is wrong. */
void steering_inherit(struct steering *s, const char *policy);

/* How programs come by the image. */
struct handed_policy {
  char *value; /* of BERTH_POLICY, to be freed: the image as text, or `file`; NULL for none */
  char file[PATH_MAX]; /* one that was made since the image is large, and all may read; else "" */
};

/* `recording` is the path of one that berth named, else "". Returns false, having complained, where
 * the image can neither be in the environment nor in a file. */
bool steering_hand_over(const struct steering *s, const char *where, const char *recording,
                        struct handed_policy *h);

/* Deletes the file that was made ("": none). */
void steering_delete(const char *file);

/* Deletes it, unless a process maps the recording ("": none), or lives that was told of the file.
 * Returns false where it stays. */
bool steering_remove(const char *recording, const char *file);

/* Deletes the file that was made for a recording that berth named, unless such a process lives. */
void steering_remove_of(const char *recording);

#endif
