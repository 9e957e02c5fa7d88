/* SPDX-License-Identifier: MIT
 *
 * What is wrong with a policy, and where: lines of policy_problems with a JSON Pointer (RFC 6901).
 */
#ifndef BERTH_POLICY_PROBLEMS_H
#define BERTH_POLICY_PROBLEMS_H

#include <stddef.h>

#include "policy/parse.h"

#define PROBLEM_LINES 100
#define PROBLEM_LENGTH 512 /* of a line, its NUL counted */

/* Room for what is wrong with one text. */
#define PROBLEM_TEXT 320

struct problem_notes {
  struct policy_problems *lines;
  size_t beyond;     /* problems that are only counted */
  char pointer[256]; /* where in the JSON we are */
  size_t length;     /* of it */
};

/* One step down; returns where to step back to. A key that is long is cut. */
size_t problem_enter_key(struct problem_notes *n, const char *key);
size_t problem_enter_index(struct problem_notes *n, size_t index);
void problem_leave(struct problem_notes *n, size_t back);

/* Something is wrong where we are. */
__attribute__((format(printf, 2, 3))) void problem_note(struct problem_notes *n, const char *what,
                                                        ...);

/* A line without a place in the JSON, or with line and column. */
__attribute__((format(printf, 2, 3))) void problem_line(struct problem_notes *n, const char *line,
                                                        ...);

/* The last line, where there are more problems than lines. */
void problem_end(struct problem_notes *n);

#endif
