/* SPDX-License-Identifier: MIT
 *
 * What the commands share: how they report, exit and parse.
 */
#ifndef BERTH_CLI_CLI_H
#define BERTH_CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>

enum exit_status {
  EXIT_YES = 0,     /* done, or the answer is yes */
  EXIT_NO = 1,      /* the answer is no */
  EXIT_TROUBLE = 2, /* wrong usage, or a failure */
  EXIT_RUN_TROUBLE = 125,
  EXIT_CANNOT_EXECUTE = 126,
  EXIT_NOT_FOUND = 127,
};

/* A verb of berth. `main` gets the arguments from the verb on, as main() would. */
struct command {
  const char *name;
  int (*main)(int argc, char **argv);
  const char *summary;
  const char *usage; /* all of what -h prints */
};

extern const struct command check_command, compile_command, doctor_command, env_command,
    explain_command, log_command, reach_command, run_command, simulate_command, stats_command;

/* "berth: WHERE: WHAT" on stderr. */
__attribute__((format(printf, 2, 3))) void complain(const char *where, const char *what, ...);

/* Says on stderr something of a file, as compilers do: "PATH:" and what follows. */
__attribute__((format(printf, 2, 3))) void remark(const char *path, const char *what, ...);

/* What is said of a recording whose reader is `broken`. */
#define BROKEN "it shrank while it was read, or cannot be read any more"

/* The options that every command has. */
#define COMMON_OPTIONS                                                                             \
  {"help", no_argument, NULL, 'h'},                                                                \
  {                                                                                                \
    "version", no_argument, NULL, 'V'                                                              \
  }
#define COMMON_SHORT "hV"

/* getopt_long(), with what it finds wrong told to the user, the nearest known option named,
 * and -h and -V done. Returns the option, -1 at the end, or OPTION_EXIT with the status to
 * exit with in `*status`: 0, or `trouble`. */
#define OPTION_EXIT 0x10000
int next_option(const struct command *command, int argc, char **argv, const char *short_options,
                const struct option *long_options, int trouble, int *status);

/* A list by commas (NULL or "" for none) of which an option gives more: what is given twice is all
 * taken. The result lives as long as the command. */
const char *list_with(const char *list, const char *more);

/* Parses a whole decimal number in [low, high]. */
bool parse_number(const char *text, unsigned long low, unsigned long high, unsigned long *value);

#endif
