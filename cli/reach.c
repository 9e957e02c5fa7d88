// SPDX-License-Identifier: MIT
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/judge.h"
#include "cli/preload.h"
#include "cli/running.h"
#include "policy/plain.h"

static const char usage[] =
    "Usage: berth reach [--json] [--] COMMAND [ARGUMENT...]\n"
    "       berth reach [--json] -p PID\n"
    "Says whether libberth.so would reach COMMAND, or did reach a process, and if not\n"
    "why.\n\n"
    "  -p, --pid PID       a process that runs\n"
    "      --json          one JSON object\n"
    "  -h, --help          this text\n"
    "  -V, --version       the version\n\n"
    "Exits with 0 if it is reached, 1 if it is not, 2 if that cannot be told.\n";

static const struct option long_options[] = {
    {"pid", required_argument, NULL, 'p'},
    {"json", no_argument, NULL, 'j'},
    COMMON_OPTIONS,
    {0},
};

static const char *const answers[] = {
    [REACHED] = "reached", [UNKNOWN] = "unknown", [NOT_REACHED] = "not reached"};

static void print_line(const char *word, const char *text)
{
  char line[PATH_MAX];
  snprintf(line, sizeof line, "%s", text);
  policy_make_plain(line); /* a file's name is anybody's */
  printf("  %-14s %s\n", word, line);
}

static void print_text(const struct judgement *j, const char *name)
{
  char line[PATH_MAX];
  snprintf(line, sizeof line, "%s", name);
  policy_make_plain(line);
  printf("%s: %s\n", line, answers[j->verdict.answer]);
  for (size_t i = 0; i < j->files.count; i++)
    print_line("executes", j->files.list[i]);
  for (size_t i = 0; i < j->verdict.count; i++)
    print_line(j->verdict.reasons[i].word, j->verdict.reasons[i].text);
  if (j->library[0] && j->verdict.answer == REACHED)
    print_line("library", j->library);
  if (j->asan)
    print_line("asan", "it is linked to ASan's library: berth run sets ASAN_OPTIONS=" PRELOAD_ASAN);
}

static json_t *json_answer(enum answer answer)
{
  return answer == UNKNOWN ? json_null() : json_boolean(answer == REACHED);
}

static void print_json(const struct judgement *j, const char *name, pid_t pid)
{
  json_t *o = json_object(), *files = json_array(), *reasons = json_array();
  for (size_t i = 0; i < j->files.count; i++)
    json_array_append_new(files, json_text(j->files.list[i]));
  for (size_t i = 0; i < j->verdict.count; i++)
    json_array_append_new(reasons, json_pack("{s:s, s:o}", "reason", j->verdict.reasons[i].word,
                                             "text", json_text(j->verdict.reasons[i].text)));
  json_object_set_new(o, "version", json_integer(1));
  if (pid)
    json_object_set_new(o, "process.pid", json_integer(pid));
  else
    json_object_set_new(o, "command", json_text(name));
  json_object_set_new(o, "reached", json_answer(j->verdict.answer));
  json_object_set_new(o, "executes", files);
  json_object_set_new(o, "reasons", reasons);
  json_object_set_new(o, "library", j->library[0] ? json_text(j->library) : json_null());
  json_object_set_new(o, "asan", json_boolean(j->asan));
  json_print(stdout, o);
}

static int tell(struct judgement *j, const char *name, pid_t pid, bool json)
{
  static const int statuses[] = {
      [REACHED] = EXIT_YES, [UNKNOWN] = EXIT_TROUBLE, [NOT_REACHED] = EXIT_NO};
  int status = statuses[j->verdict.answer];
  if (json)
    print_json(j, name, pid);
  else
    print_text(j, name);
  judge_free(j);
  return fflush(stdout) ? EXIT_TROUBLE : status;
}

static int tell_process(const char *name, const char *preload, bool json)
{
  struct running r;
  unsigned long pid;
  if (!parse_number(name, 1, INT_MAX, &pid)) {
    complain("reach", "-p: '%s' is no process id", name);
    return EXIT_TROUBLE;
  }
  if (!running_judge((pid_t)pid, preload, &r)) {
    complain("reach", "-p: %lu: no such process, or none that executes a file", pid);
    judge_free(&r.judgement);
    return EXIT_TROUBLE;
  }
  return tell(&r.judgement, name, (pid_t)pid, json);
}

static int reach_main(int argc, char **argv)
{
  const char *process = NULL;
  char preload[PATH_MAX];
  bool json = false;
  int c, status;
  while ((c = next_option(&reach_command, argc, argv, "+:p:" COMMON_SHORT, long_options,
                          EXIT_TROUBLE, &status)) != -1) {
    if (c == OPTION_EXIT)
      return status;
    if (c == 'p')
      process = optarg;
    else
      json = true;
  }
  if (!process == (optind == argc)) {
    complain("reach", "a COMMAND, or -p PID; `berth reach -h` tells how");
    return EXIT_TROUBLE;
  }
  if (!preload_library("reach", preload))
    return EXIT_TROUBLE;
  if (process)
    return tell_process(process, preload, json);
  struct judgement j;
  judge_command(argv + optind, preload, &j);
  return tell(&j, argv[optind], 0, json);
}

const struct command reach_command = {"reach", reach_main, "says whether a program can be reached",
                                      usage};
