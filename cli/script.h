/* SPDX-License-Identifier: MIT
 *
 * Whom a command line leads to: the interpreter of a script, the command of env(1).
 */
#ifndef BERTH_CLI_SCRIPT_H
#define BERTH_CLI_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/executable.h"

/* A list of words of its own. */
struct words {
  char **list;
  size_t count;
};

void words_add(struct words *w, const char *word, size_t length);
void words_free(struct words *w);

/* Reads the #! line as the kernel does (binfmt_script). Returns false where it would not take
 * it. The argument is one, whatever it holds; "" for none. */
bool script_interpreter(const struct executable *e, char interpreter[EXECUTABLE_HEAD],
                        char argument[EXECUTABLE_HEAD]);

/* What env(1) would do. */
struct env_command {
  struct words command;  /* empty: it prints the environment */
  const char *loses;     /* the option or assignment that takes LD_PRELOAD away; NULL */
  const char *unknown;   /* an option that is not known here; NULL */
  const char *path;      /* PATH, where it sets one; NULL */
  const char *directory; /* where it changes to; NULL */
  struct words text;     /* what the pointers above point to */
};

/* `words` is its command line, its own name first. The caller frees `command` and `text`. */
void env_parse(const struct words *words, struct env_command *env);

#endif
