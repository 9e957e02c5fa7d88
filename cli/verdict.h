/* SPDX-License-Identifier: MIT
 *
 * Whether libberth.so reaches a program, with the reasons.
 */
#ifndef BERTH_CLI_VERDICT_H
#define BERTH_CLI_VERDICT_H

#include <stdbool.h>
#include <stddef.h>

/* The later ones outweigh the earlier ones. */
enum answer { REACHED, UNKNOWN, NOT_REACHED };

#define MOST_REASONS 8

struct reason {
  const char *word; /* for scripts: "static", "go", ... as berth-reach(1) lists them */
  char text[320];   /* for people */
};

struct verdict {
  enum answer answer; /* REACHED where nothing was said */
  int error;          /* where it cannot be executed: the errno of execvp(3); else 0 */
  size_t count;
  struct reason reasons[MOST_REASONS];
};

/* Says one thing more; with REACHED it is only worth knowing. */
__attribute__((format(printf, 4, 5))) void verdict_say(struct verdict *v, enum answer answer,
                                                       const char *word, const char *format, ...);

/* The reasons that weigh, "; " between them. */
void verdict_text(const struct verdict *v, char *text, size_t size);

#endif
