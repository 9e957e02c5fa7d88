/* SPDX-License-Identifier: MIT
 *
 * A policy's JSON to an image, with everything that is wrong with it. Allocates: for the command
 * and for berth-policy.so, never for a hook.
 */
#ifndef BERTH_POLICY_PARSE_H
#define BERTH_POLICY_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/rule.h"

/* One line each, without newline, as they are to be shown after "FILE:": "3:14: ..." for syntax
 * (line and column, from 1), " /rules/2/mod/is: ..." (JSON Pointer, RFC 6901) for meaning, " ..."
 * for the whole. UTF-8 without control characters, of less than 512 bytes. */
struct policy_problems {
  char **lines;
  size_t count;
  bool quotes; /* it is no JSON, and the line quotes what stands there, whatever the file is */
};

/* Returns an image, which the caller frees with free(), and its size; or NULL and at least one
 * problem (none where there is no memory even for that). policy_problems_free() in either case.
 * Problems beyond the first 100 are counted in the last line. Syntax has one problem. */
void *policy_parse(const char *json, size_t size, size_t *image_size,
                   struct policy_problems *problems);
void policy_problems_free(struct policy_problems *problems);

#endif
