// SPDX-License-Identifier: MIT
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "policy/nearest.h"
#include "policy/plain.h"

void complain(const char *where, const char *what, ...)
{
  char line[1024], place[2 * PATH_MAX];
  va_list list;
  va_start(list, what);
  vsnprintf(line, sizeof line, what, list);
  va_end(list);
  snprintf(place, sizeof place, "%s", where);
  policy_make_plain(line); /* it may hold a file's name, which is anybody's */
  policy_make_plain(place);
  fprintf(stderr, "berth: %s: %s\n", place, line);
}

void remark(const char *path, const char *what, ...)
{
  char line[2 * PATH_MAX];
  int n = snprintf(line, sizeof line, "%.*s:", PATH_MAX, path);
  va_list list;
  va_start(list, what);
  vsnprintf(line + n, sizeof line - (size_t)n, what, list);
  va_end(list);
  policy_make_plain(line);
  fflush(stdout);
  fprintf(stderr, "%s\n", line);
}

bool parse_number(const char *text, unsigned long low, unsigned long high, unsigned long *value)
{
  char *end;
  errno = 0;
  if (!isdigit((unsigned char)text[0]))
    return false;
  *value = strtoul(text, &end, 10);
  return !errno && !*end && *value >= low && *value <= high;
}

const char *list_with(const char *list, const char *more)
{
  char *both;
  if (!list || !list[0])
    return more;
  if (!more[0])
    return list;
  if (asprintf(&both, "%s,%s", list, more) < 0)
    abort();
  return both;
}

static const char *option_name(int i, const void *context)
{
  const struct option *options = context;
  return options[i].name;
}

static int count_options(const struct option *options)
{
  int n = 0;
  while (options[n].name)
    n++;
  return n;
}

/* The options that begin so, for a message; their number. */
static int list_beginning(const char *name, const struct option *options, char *text, size_t room)
{
  int found = 0;
  text[0] = '\0';
  for (const struct option *o = options; o->name; o++) {
    size_t used = strlen(text);
    if (strncmp(o->name, name, strlen(name)) == 0)
      snprintf(text + used, room - used, "%s--%s", found++ ? ", " : "", o->name);
  }
  return found;
}

static void unknown_long(const char *where, const char *text, const struct option *options)
{
  char name[64], beginning[512];
  snprintf(name, sizeof name, "%s", text + 2);
  name[strcspn(name, "=")] = '\0';
  const char *near = policy_nearest(name, option_name, count_options(options), options);
  if (list_beginning(name, options, beginning, sizeof beginning) > 1)
    complain(where, "ambiguous option --%s: %s", name, beginning);
  else if (near)
    complain(where, "unknown option --%s; the nearest is --%s", name, near);
  else
    complain(where, "unknown option --%s; -h lists them", name);
}

static void unknown_short(const char *where, int c, const char *known, const struct option *options)
{
  int other = isupper(c) ? tolower(c) : toupper(c);
  if (c != ':' && strchr(known, other)) {
    complain(where, "unknown option -%c; the nearest is -%c", c, other);
    return;
  }
  for (const struct option *o = options; o->name; o++)
    if (o->name[0] == tolower(c)) {
      complain(where, "unknown option -%c; the nearest is --%s", c, o->name);
      return;
    }
  complain(where, "unknown option -%c; -h lists them", c);
}

/* An option's name as the user would write it. */
static void say_missing(const char *where, int value, const struct option *options)
{
  for (const struct option *o = options; o->name; o++)
    if (o->val == value) {
      complain(where, "option --%s needs a value", o->name);
      return;
    }
  complain(where, "option -%c needs a value", value);
}

int next_option(const struct command *command, int argc, char **argv, const char *short_options,
                const struct option *long_options, int trouble, int *status)
{
  opterr = 0;
  int at = optind;
  int c = getopt_long(argc, argv, short_options, long_options, NULL);
  *status = EXIT_YES;
  if (c == 'h') {
    fputs(command->usage, stdout);
    return OPTION_EXIT;
  }
  if (c == 'V') {
    puts("berth " PACKAGE_VERSION);
    return OPTION_EXIT;
  }
  if (c != '?' && c != ':')
    return c;
  *status = trouble;
  const char *text = at < argc ? argv[at] : "";
  if (c == ':')
    say_missing(command->name, optopt, long_options);
  else if (strncmp(text, "--", 2) == 0 && optopt)
    complain(command->name, "option %.*s takes no value", (int)strcspn(text, "="), text);
  else if (strncmp(text, "--", 2) == 0)
    unknown_long(command->name, text, long_options);
  else
    unknown_short(command->name, optopt, short_options, long_options);
  return OPTION_EXIT;
}
