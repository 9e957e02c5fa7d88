// SPDX-License-Identifier: MIT
#include "cli/judge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/binfmt.h"
#include "cli/privilege.h"

#define MOST_INTERPRETERS 5 /* exec_binprm(): one script more is ELOOP */
#define MOST_ENVS 8         /* programs that env(1) starts in turn, before it looks like a circle */
#define SHELL "/bin/sh"
#define DEFAULT_PATH "/bin:/usr/bin" /* confstr(_CS_PATH), where PATH is not set */

/* 0, or the errno of execve(2). */
static int check_file(const char *path, struct stat *s)
{
  if (stat(path, s))
    return errno;
  if (!S_ISREG(s->st_mode))
    return EACCES;
  return faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) ? errno : 0;
}

/* As execvp(3): a file that may not be executed does not end the search. */
static int search(const char *name, const char *places, char path[PATH_MAX])
{
  int error = ENOENT;
  struct stat s;
  for (const char *at = places;; at++) {
    int length = (int)strcspn(at, ":");
    int n = snprintf(path, PATH_MAX, "%.*s%s%s", length, at, length ? "/" : "", name);
    int wrong = n < PATH_MAX ? check_file(path, &s) : ENAMETOOLONG;
    if (!wrong)
      return 0;
    if (wrong == EACCES)
      error = EACCES;
    at += length;
    if (!*at)
      return error;
  }
}

static int find(const char *name, const char *places, char path[PATH_MAX])
{
  struct stat s;
  if (!name[0])
    return ENOENT;
  if (!strchr(name, '/'))
    return search(name, places, path);
  if (snprintf(path, PATH_MAX, "%s", name) >= PATH_MAX)
    return ENAMETOOLONG;
  return check_file(path, &s);
}

/* --- execve(2) ----------------------------------------------------------------------------- */

struct execution {
  const char *preload;
  struct judgement *j;
  struct words words; /* the command line, with what interpreters put before it */
  char path[PATH_MAX];
  struct executable file;
  char lost[128]; /* how LD_PRELOAD is lost on the way; "" */
};

static void cannot(struct execution *x, int error)
{
  x->j->verdict.error = error;
  verdict_say(&x->j->verdict, NOT_REACHED, "cannot-execute", "%s cannot be executed: %s", x->path,
              strerror(error));
}

/* Puts the interpreter, its argument and the script's path in place of the first word. */
static void put_before(struct execution *x, const char *interpreter, const char *argument)
{
  struct words more = {0};
  words_add(&more, interpreter, strlen(interpreter));
  if (argument[0])
    words_add(&more, argument, strlen(argument));
  words_add(&more, x->path, strlen(x->path));
  for (size_t i = 1; i < x->words.count; i++)
    words_add(&more, x->words.list[i], strlen(x->words.list[i]));
  words_free(&x->words);
  x->words = more;
  snprintf(x->path, sizeof x->path, "%s", interpreter);
}

static void judge_elf(struct execution *x, const struct stat *s, const char *problem)
{
  struct verdict *v = &x->j->verdict;
  if (problem) {
    verdict_say(v, UNKNOWN, "unsound", "%s", problem);
    return;
  }
  if (x->file.interpreter[0] && access(x->file.interpreter, F_OK)) {
    v->error = errno;
    verdict_say(v, NOT_REACHED, "cannot-execute", "its dynamic linker, %s, is not here",
                x->file.interpreter);
    return;
  }
  judge_program(&x->file, x->preload, v, x->j->library);
  if (x->file.interpreter[0])
    privilege_judge(x->path, s, v);
  x->j->asan = x->file.asan;
}

/* What is read of the file at x->path. False where nothing more can be said of it. */
static bool read_file(struct execution *x, struct stat *s, const char **problem)
{
  char format[BINFMT_NAME];
  struct verdict *v = &x->j->verdict;
  int error = check_file(x->path, s);
  if (error) {
    cannot(x, error);
    return false;
  }
  words_add(&x->j->files, x->path, strlen(x->path));
  int fd = open(x->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0) {
    verdict_say(v, UNKNOWN, "unreadable", "it may be executed and not read: %s", strerror(errno));
    privilege_judge(x->path, s, v);
    return false;
  }
  *problem = executable_read(fd, &x->file);
  close(fd);
  if (!binfmt_takes(x->path, x->file.head, x->file.head_size, format))
    return true;
  verdict_say(v, UNKNOWN, "binfmt", "it is of a format registered with binfmt_misc, '%s'", format);
  return false;
}

/* Follows #! lines, as the kernel does, to a program, and judges that. Returns false where
 * execve(2) would fail with ENOEXEC. */
static bool execute(struct execution *x)
{
  struct stat s;
  const char *problem;
  for (int depth = 0; depth <= MOST_INTERPRETERS; depth++) {
    char interpreter[EXECUTABLE_HEAD], argument[EXECUTABLE_HEAD];
    if (!read_file(x, &s, &problem))
      return true;
    if (x->file.format == EXECUTABLE_ELF) {
      judge_elf(x, &s, problem);
      return true;
    }
    if (x->file.format == EXECUTABLE_OTHER || !script_interpreter(&x->file, interpreter, argument))
      return false;
    put_before(x, interpreter, argument);
  }
  cannot(x, ELOOP);
  return true;
}

/* execvp(3) hands to the shell what is no program. */
static void execute_or_shell(struct execution *x)
{
  char first[PATH_MAX];
  snprintf(first, sizeof first, "%s", x->path);
  struct words words = {0};
  for (size_t i = 0; i < x->words.count; i++)
    words_add(&words, x->words.list[i], strlen(x->words.list[i]));
  if (execute(x)) {
    words_free(&words);
    return;
  }
  words_free(&x->words);
  x->words = words;
  snprintf(x->path, sizeof x->path, "%s", first);
  put_before(x, SHELL, "");
  if (!execute(x))
    cannot(x, ENOEXEC);
}

/* --- env(1) -------------------------------------------------------------------------------- */

/* Whether env(1), which is to be executed, would execute another: then that is the command. */
static bool follow_env(struct execution *x, char **places, struct env_command *env)
{
  struct verdict *v = &x->j->verdict;
  if (strcmp(basename(x->path), "env") != 0 || v->error)
    return false;
  env_parse(&x->words, env);
  if (env->unknown && v->answer != NOT_REACHED)
    verdict_say(v, UNKNOWN, "environment", "what `env %s` does is not known here", env->unknown);
  if (env->loses)
    snprintf(x->lost, sizeof x->lost, "`env %s` takes LD_PRELOAD away", env->loses);
  if (!env->command.count || env->unknown)
    return false;
  for (size_t i = 0; i < v->count; i++)
    if (strncmp(v->reasons[i].word, "set", 3) == 0 || v->reasons[i].word[0] == 'c')
      return false; /* with AT_SECURE its dynamic linker drops LD_PRELOAD, too */
  if (env->path) {
    free(*places);
    *places = strdup(env->path);
  }
  return true;
}

static void take_command(struct execution *x, struct env_command *env)
{
  words_free(&x->words);
  x->words = env->command;
  env->command = (struct words){0};
  x->j->verdict = (struct verdict){0}; /* what env(1) itself is does not matter */
  x->j->asan = false;
}

/* The command of an env(1) that changes the directory. */
static void go_to(struct execution *x, const char *directory)
{
  char path[PATH_MAX];
  char *word = x->words.list[0];
  if (!directory || word[0] == '/' || !strchr(word, '/') ||
      snprintf(path, sizeof path, "%s/%s", directory, word) >= (int)sizeof path)
    return;
  free(word);
  x->words.list[0] = strdup(path);
  if (!x->words.list[0])
    abort();
}

/* Judges what the first word leads to. Returns whether that is an env(1) that executes another, which
 * is in its place then. */
static bool judge_step(struct execution *x, char **places)
{
  struct env_command env = {0};
  char *name = x->words.list[0];
  int error = find(name, *places, x->path);
  if (error) {
    snprintf(x->path, sizeof x->path, "%s", name);
    cannot(x, error);
    return false;
  }
  execute_or_shell(x);
  bool more = follow_env(x, places, &env);
  if (more) {
    take_command(x, &env);
    go_to(x, env.directory);
  }
  words_free(&env.command);
  words_free(&env.text);
  return more;
}

void judge_command(char *const *argv, const char *preload, struct judgement *j)
{
  static struct execution x;
  const char *path = getenv("PATH");
  char *places = strdup(path ? path : DEFAULT_PATH);
  *j = (struct judgement){0};
  x = (struct execution){.preload = preload, .j = j};
  for (char *const *word = argv; *word; word++)
    words_add(&x.words, *word, strlen(*word));
  int steps = 1;
  while (judge_step(&x, &places) && steps < MOST_ENVS)
    steps++;
  if (steps == MOST_ENVS)
    verdict_say(&j->verdict, UNKNOWN, "environment", "more than %d env(1) one after another",
                MOST_ENVS);
  if (x.lost[0])
    verdict_say(&j->verdict, NOT_REACHED, "environment", "%s", x.lost);
  free(places);
  words_free(&x.words);
}
