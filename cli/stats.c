// SPDX-License-Identifier: MIT
#include <stdio.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/process.h"
#include "cli/recordings.h"
#include "cli/summary.h"

static const char usage[] =
    "Usage: berth stats [--json] [RECORDING|DIRECTORY...]\n"
    "Prints the statistics of each process of recordings; without an operand, of\n"
    "those in the default directory.\n\n"
    "      --json      one JSON object a line\n"
    "  -h, --help      this text\n"
    "  -V, --version   the version\n";

static const struct option long_options[] = {
    {"json", no_argument, NULL, 'j'},
    COMMON_OPTIONS,
    {0},
};

static bool print_recording(const struct recording *recording, bool json)
{
  struct record_reader reader;
  const char *path = recording->path;
  enum recording_opened opened = recording_open("stats", recording, &reader);
  if (opened != RECORDING_OPEN)
    return opened == RECORDING_NOT_YET;
  bool ok = print_summary(stdout, &reader, json);
  if (!ok)
    complain("stats", "%s: out of memory", path);
  else if (reader.broken)
    complain("stats", "%s: " BROKEN, path);
  ok &= !reader.broken;
  record_close(&reader);
  return ok;
}

static int stats_main(int argc, char **argv)
{
  bool json = false;
  int c, status;
  while ((c = next_option(&stats_command, argc, argv, "+:" COMMON_SHORT, long_options, EXIT_TROUBLE,
                          &status)) != -1)
    if (c == OPTION_EXIT)
      return status;
    else
      json = true;
  recordings_tidy();
  struct recordings r = recordings_find("stats", argc - optind, argv + optind);
  bool trouble = r.trouble;
  recordings_say_none(&r, "stats", argc - optind, argv + optind);
  for (size_t i = 0; i < r.count; i++)
    trouble |= !print_recording(&r.list[i], json);
  recordings_free(&r);
  return trouble || fflush(stdout) ? EXIT_TROUBLE : EXIT_YES;
}

const struct command stats_command = {"stats", stats_main, "prints statistics a process", usage};
