// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "policy/nearest.h"

static const struct command *const commands[] = {
    &run_command,     &log_command,    &stats_command,    &check_command, &compile_command,
    &explain_command, &doctor_command, &simulate_command, &reach_command, &env_command};
#define COMMANDS ((int)(sizeof commands / sizeof *commands))

static void usage(FILE *out)
{
  fputs("Usage: berth COMMAND [OPTIONS] [ARGUMENTS]\n"
        "Sees and steers the source ports of programs that are not changed.\n\n"
        "Commands:\n",
        out);
  for (int i = 0; i < COMMANDS; i++)
    fprintf(out, "  %-10s%s\n", commands[i]->name, commands[i]->summary);
  fputs("\n`berth COMMAND -h` tells a command's options; berth(1) and berth-COMMAND(1) the\n"
        "rest.\n",
        out);
}

static const char *command_name(int i, const void *context)
{
  (void)context;
  return commands[i]->name;
}

static int unknown(const char *name)
{
  const char *near = policy_nearest(name + strspn(name, "-"), command_name, COMMANDS, NULL);
  if (near)
    complain(name, "no such command; the nearest is '%s'", near);
  else
    complain(name, "no such command; `berth -h` lists them");
  return EXIT_TROUBLE;
}

int main(int argc, char **argv)
{
  const char *word = argc > 1 ? argv[1] : "";
  if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
    usage(stdout);
    return EXIT_YES;
  }
  if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0) {
    puts("berth " PACKAGE_VERSION);
    return EXIT_YES;
  }
  if (!word[0]) {
    usage(stderr);
    return EXIT_TROUBLE;
  }
  for (int i = 0; i < COMMANDS; i++)
    if (strcmp(word, commands[i]->name) == 0)
      return commands[i]->main(argc - 1, argv + 1);
  return unknown(word);
}
