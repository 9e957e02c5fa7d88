// SPDX-License-Identifier: MIT
#include "cli/program_names.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/judge.h"
#include "policy/match.h"
#include "policy/script.h"

static void add(struct program_names *names, const char *path)
{
  const char *name = basename(path);
  for (size_t i = 0; i < names->count; i++)
    if (strcmp(names->list[i], name) == 0)
      return;
  snprintf(names->list[names->count++], sizeof *names->list, "%s", name);
}

static bool is_known(const char *script)
{
  char line[POLICY_SCRIPT_LINE];
  struct policy_script_word words[POLICY_SCRIPT_WORDS];
  int fd = open(script, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  ssize_t n = fd >= 0 ? read(fd, line, sizeof line) : -1;
  if (fd >= 0)
    close(fd);
  return n > 0 && policy_script_words(line, (size_t)n, words);
}

/* The kernel knows the file executed, so a script's own; env(1) among what it executes forgets it. */
static const char *add_script(struct program_names *names, const struct words *files)
{
  const char *executed = files->list[0];
  for (size_t i = 1; i + 1 < files->count; i++)
    if (strcmp(basename(files->list[i]), "env") == 0)
      executed = files->list[i + 1];
  if (executed != files->list[0] && is_known(files->list[0]))
    add(names, files->list[0]);
  return executed;
}

void program_names_find(const char *program, struct program_names *names)
{
  char exe[PATH_MAX], *words[] = {strdup(program), NULL};
  struct judgement j;
  if (!words[0])
    abort();
  *names = (struct program_names){0};
  judge_command(words, "", &j);
  const struct words *files = &j.files;
  if (!files->count || j.verdict.error) {
    add(names, program);
  } else {
    add(names, add_script(names, files));
    if (realpath(files->list[files->count - 1], exe))
      add(names, exe);
  }
  judge_free(&j);
  free(words[0]);
}

bool program_names_any(const policy_image *p, struct policy_span programs,
                       const struct program_names *names)
{
  for (size_t i = 0; i < names->count; i++)
    if (policy_names_program(p, programs, names->list[i], ""))
      return true;
  return false;
}
