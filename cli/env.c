// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/preload.h"
#include "record/layout.h"

static const char usage[] =
    "Usage: berth env [OPTIONS]\n"
    "Prints the variables that make a program berth's, a line each, for a unit's\n"
    "EnvironmentFile= or a container's --env-file.\n\n"
    "      --record PLACE   BERTH_RECORD: a directory for recordings, or a recording's file\n"
    "      --events N       BERTH_EVENTS: events that a recording keeps\n"
    "      --log WHERE      BERTH_LOG: 'stderr' or a file\n"
    "  -Z, --failed-only    BERTH_LOG_ONLY: only failed calls\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version\n";

static const struct option long_options[] = {
    {"record", required_argument, NULL, 'r'},
    {"events", required_argument, NULL, 'e'},
    {"log", required_argument, NULL, 'l'},
    {"failed-only", no_argument, NULL, 'Z'},
    COMMON_OPTIONS,
    {0},
};

static int print_environment(const char *record, const char *events, const char *log,
                             bool failed_only)
{
  char library[PATH_MAX];
  if (!preload_library("env", library))
    return EXIT_TROUBLE;
  printf("LD_PRELOAD=%s\n", library);
  if (record)
    printf("BERTH_RECORD=%s\n", record);
  if (events)
    printf("BERTH_EVENTS=%s\n", events);
  if (log)
    printf("BERTH_LOG=%s\n", log);
  if (failed_only)
    puts("BERTH_LOG_ONLY=failed");
  return fflush(stdout) ? EXIT_TROUBLE : EXIT_YES;
}

static int env_main(int argc, char **argv)
{
  const char *record = NULL, *events = NULL, *log = NULL;
  bool failed_only = false;
  unsigned long n;
  int c, status;
  while ((c = next_option(&env_command, argc, argv, "+:Z" COMMON_SHORT, long_options, EXIT_TROUBLE,
                          &status)) != -1) {
    switch (c) {
    case OPTION_EXIT: return status;
    case 'r': record = optarg; break;
    case 'l': log = optarg; break;
    case 'Z': failed_only = true; break;
    default: events = optarg; break;
    }
  }
  if (events && !parse_number(events, RECORD_MIN_EVENTS, RECORD_MAX_EVENTS, &n)) {
    complain("env", "--events: '%s' is not a whole number from %u to %u", events, RECORD_MIN_EVENTS,
             RECORD_MAX_EVENTS);
    return EXIT_TROUBLE;
  }
  if (optind < argc) {
    complain("env", "'%s': no operand is known here", argv[optind]);
    return EXIT_TROUBLE;
  }
  return print_environment(record, events, log, failed_only);
}

const struct command env_command = {"env", env_main, "prints the variables that `run` would set",
                                    usage};
