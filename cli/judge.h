/* SPDX-License-Identifier: MIT
 *
 * Whether libberth.so would reach a program: what execvp(3) would execute, and what it is.
 */
#ifndef BERTH_CLI_JUDGE_H
#define BERTH_CLI_JUDGE_H

#include <limits.h>

#include "cli/executable.h"
#include "cli/script.h"
#include "cli/verdict.h"

struct judgement {
  struct verdict verdict; /* of the last file */
  struct words files;     /* what is executed, one for another: script, interpreter, ... */
  bool asan;              /* the last one insists on ASan's library before any other */
  char library[PATH_MAX]; /* the libberth.so that it would load; "" for none */
};

/* Judges a command line, as this process would execute it with `preload` (preload_library()'s) in
 * LD_PRELOAD. Nothing is executed. The caller frees it. */
void judge_command(char *const *argv, const char *preload, struct judgement *j);
void judge_free(struct judgement *j);

/* Judges a program by its file alone. `library` as above. */
void judge_program(const struct executable *e, const char *preload, struct verdict *v,
                   char library[PATH_MAX]);

/* Says what Go in a program means for a library that is loaded. */
void judge_go(const struct executable *e, struct verdict *v);

#endif
