// SPDX-License-Identifier: MIT
#include "preload/init.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include "preload/loader.h"
#include "steer/start.h"

/* The value, if `variable` is NAME=VALUE of this name (which ends in '='). */
static const char *value_of(const char *variable, const char *name)
{
  for (; *name; name++, variable++)
    if (*variable != *name)
      return NULL;
  return variable;
}

/* The first of a name counts, as for getenv(). */
static void read_variable(struct start_environment *e, const char *variable)
{
  const struct {
    const char *name;
    const char **value;
  } variables[] = {
      {"BERTH_RECORD=", &e->record},
      {"BERTH_EVENTS=", &e->events},
      {"BERTH_LOG=", &e->log},
      {"BERTH_LOG_ONLY=", &e->log_only},
      {"BERTH_VERBOSE=", &e->verbose},
      {"BERTH_POLICY=", &e->policy},
      {"BERTH_STRICT=", &e->strict},
      {"RUNTIME_DIRECTORY=", &e->places.runtime_directory},
      {"XDG_RUNTIME_DIR=", &e->places.xdg_runtime_dir},
      {"TMPDIR=", &e->places.tmpdir},
  };
  for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
    if (!*variables[i].value)
      *variables[i].value = value_of(variable, variables[i].name);
}

static void start(void)
{
  struct start_environment e = {0};
  if (getauxval(AT_SECURE)) {
    start_nothing();
    return;
  }
  for (char **v = environ; v && *v; v++)
    if (**v == 'B' || **v == 'R' || **v == 'X' || **v == 'T')
      read_variable(&e, *v);
  e.executed = (const char *)getauxval(AT_EXECFN);
  e.loader = &loader;
  start_recording(&e);
}

const struct real *init(void)
{
  static atomic_bool begun;
  const struct real *functions = real();
  if (!atomic_load_explicit(&begun, memory_order_relaxed) &&
      !atomic_exchange_explicit(&begun, true, memory_order_relaxed)) {
    int error = errno;
    start();
    errno = error;
  }
  return functions;
}

__attribute__((constructor)) static void constructor(void)
{
  init();
}
