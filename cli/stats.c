// SPDX-License-Identifier: MIT
#include <stdio.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/process.h"
#include "cli/recordings.h"
#include "cli/summary.h"
#include "cli/tidy.h"

static const char usage[] =
    "Usage: berth stats [--json] [--tidy] [RECORDING|DIRECTORY...]\n"
    "Prints the statistics of each process of recordings; without an operand, of\n"
    "those in the default directory.\n\n"
    "      --json      one JSON object a line\n"
    "      --tidy      then delete the recordings that no process writes to any more\n"
    "  -h, --help      this text\n"
    "  -V, --version   the version\n";

static const struct option long_options[] = {
    {"json", no_argument, NULL, 'j'},
    {"tidy", no_argument, NULL, 't'},
    COMMON_OPTIONS,
    {0},
};

static bool print_recording(struct recording *recording, bool json)
{
  struct record_reader reader;
  const char *path = recording->path;
  enum recording_opened opened = recording_open("stats", recording, &reader);
  if (opened != RECORDING_OPEN)
    return opened != RECORDING_REFUSED;
  bool ok = print_summary(stdout, &reader, json);
  if (!ok)
    complain("stats", "%s: out of memory", path);
  else if (reader.broken)
    complain("stats", "%s: " BROKEN, path);
  ok &= !reader.broken;
  recording->was_read = ok;
  record_close(&reader);
  return ok;
}

static int stats_main(int argc, char **argv)
{
  bool json = false, tidies = false;
  int c, status;
  while ((c = next_option(&stats_command, argc, argv, "+:" COMMON_SHORT, long_options, EXIT_TROUBLE,
                          &status)) != -1)
    if (c == OPTION_EXIT)
      return status;
    else if (c == 't')
      tidies = true;
    else
      json = true;
  struct recordings r = recordings_find("stats", argc - optind, argv + optind, !tidies);
  bool trouble = r.trouble;
  recordings_say_none(&r, "stats", argc - optind, argv + optind);
  for (size_t i = 0; i < r.count; i++)
    trouble |= !print_recording(&r.list[i], json);
  recordings_say_unrecorded(&r, "stats");
  bool written = !fflush(stdout) && !ferror(stdout);
  if (tidies && written)
    tidy_read(&r, "stats");
  recordings_free(&r);
  return trouble || !written ? EXIT_TROUBLE : EXIT_YES;
}

const struct command stats_command = {"stats", stats_main, "prints statistics a process", usage};
