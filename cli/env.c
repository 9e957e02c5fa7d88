// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/preload.h"
#include "cli/steering.h"
#include "record/layout.h"

static const char usage[] =
    "Usage: berth env [OPTIONS]\n"
    "Prints the variables that make a program berth's, a line each, for a unit's\n"
    "EnvironmentFile= or a container's --env-file.\n\n"
    "      --record PLACE   BERTH_RECORD: a directory for recordings, or a file\n"
    "      --events N       BERTH_EVENTS: events that a recording keeps\n"
    "      --log WHERE      BERTH_LOG: 'stderr' or a file\n"
    "  -Z, --failed-only    BERTH_LOG_ONLY: only failed calls\n"
    "  -P, --policy FILE    BERTH_POLICY: a policy, which is validated here\n"
    "      --strict         BERTH_STRICT: refuse calls without a policy that loads\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version\n";

static const struct option long_options[] = {
    {"record", required_argument, NULL, 'r'},
    {"events", required_argument, NULL, 'e'},
    {"log", required_argument, NULL, 'l'},
    {"failed-only", no_argument, NULL, 'Z'},
    {"policy", required_argument, NULL, 'P'},
    {"strict", no_argument, NULL, 's'},
    COMMON_OPTIONS,
    {0},
};

struct values {
  const char *record, *events, *log, *policy;
  bool failed_only, strict;
};

/* The policy's absolute path; "" without one. False where it is none. */
static bool find_policy(const char *file, char path[PATH_MAX])
{
  struct steering s = {.file = file};
  path[0] = '\0';
  if (!file)
    return true;
  if (!steering_load(&s, "env"))
    return false;
  steering_free(&s);
  return realpath(file, path);
}

/* A line a variable: a value of several lines would be several variables. */
static bool is_a_line(const char *what, const char *value)
{
  if (!value || !strchr(value, '\n'))
    return true;
  complain("env", "%s: its value has a newline, which a line of NAME=VALUE cannot hold", what);
  return false;
}

static int print_environment(const struct values *v)
{
  char library[PATH_MAX], policy[PATH_MAX];
  if (!preload_library("env", library) || !find_policy(v->policy, policy))
    return EXIT_TROUBLE;
  if (!is_a_line("the library's path", library) || !is_a_line("-P", policy) ||
      !is_a_line("--record", v->record) || !is_a_line("--log", v->log))
    return EXIT_TROUBLE;
  printf("LD_PRELOAD=%s\n", library);
  if (v->record)
    printf("BERTH_RECORD=%s\n", v->record);
  if (v->events)
    printf("BERTH_EVENTS=%s\n", v->events);
  if (v->log)
    printf("BERTH_LOG=%s\n", v->log);
  if (v->failed_only)
    puts("BERTH_LOG_ONLY=failed");
  if (policy[0])
    printf("BERTH_POLICY=%s\n", policy);
  if (v->strict)
    puts("BERTH_STRICT=1");
  return fflush(stdout) ? EXIT_TROUBLE : EXIT_YES;
}

static int env_main(int argc, char **argv)
{
  struct values v = {0};
  unsigned long n;
  int c, status;
  while ((c = next_option(&env_command, argc, argv, "+:ZP:" COMMON_SHORT, long_options,
                          EXIT_TROUBLE, &status)) != -1) {
    switch (c) {
    case OPTION_EXIT: return status;
    case 'r': v.record = optarg; break;
    case 'l': v.log = optarg; break;
    case 'Z': v.failed_only = true; break;
    case 'P': v.policy = optarg; break;
    case 's': v.strict = true; break;
    default: v.events = optarg; break;
    }
  }
  if (v.events && !parse_number(v.events, RECORD_MIN_EVENTS, RECORD_MAX_EVENTS, &n)) {
    complain("env", "--events: '%s' is not a whole number from %u to %u", v.events,
             RECORD_MIN_EVENTS, RECORD_MAX_EVENTS);
    return EXIT_TROUBLE;
  }
  if (optind < argc) {
    complain("env", "'%s': no operand is known here", argv[optind]);
    return EXIT_TROUBLE;
  }
  return print_environment(&v);
}

const struct command env_command = {"env", env_main, "prints the variables that `run` would set",
                                    usage};
