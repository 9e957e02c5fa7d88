/* SPDX-License-Identifier: MIT
 *
 * The names by which a rule's `program` would know a program, were it executed here.
 */
#ifndef BERTH_CLI_PROGRAM_NAMES_H
#define BERTH_CLI_PROGRAM_NAMES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "policy/image.h"

/* At most: the script, what env(1) makes of it, and the file behind links. */
struct program_names {
  char list[3][NAME_MAX + 1];
  size_t count;
};

/* `program` as execvp(3) takes it. What is not found here has its own name alone. */
void program_names_find(const char *program, struct program_names *names);

bool program_names_any(const policy_image *p, struct policy_span programs,
                       const struct program_names *names);

#endif
