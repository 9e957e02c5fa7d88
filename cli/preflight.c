// SPDX-License-Identifier: MIT
#include "cli/preflight.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/judge.h"

static void say(const struct judgement *j, const char *command)
{
  char text[1024], executes[512] = "";
  verdict_text(&j->verdict, text, sizeof text);
  if (j->files.count > 1)
    snprintf(executes, sizeof executes, "it executes %s: ", j->files.list[j->files.count - 1]);
  complain(command, "%s: %s%s",
           j->verdict.answer == UNKNOWN ? "whether libberth.so reaches it is not known"
                                        : "libberth.so does not reach it",
           executes, text);
}

bool preflight(char *const *argv, const char *preload, bool steered, char told[PATH_MAX])
{
  struct judgement j;
  judge_command(argv, preload, &j);
  bool wrong = j.verdict.answer != REACHED && !j.verdict.error && j.files.count;
  told[0] = '\0';
  if (wrong) {
    say(&j, argv[0]);
    if (!realpath(j.files.list[j.files.count - 1], told))
      told[0] = '\0';
  }
  bool in_vain = wrong && j.verdict.answer == NOT_REACHED && steered;
  judge_free(&j);
  return !in_vain;
}
