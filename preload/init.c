// SPDX-License-Identifier: MIT
#include "preload/init.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include "steer/start.h"

extern char **environ;

static void start(void)
{
  struct start_environment e = {0};
  const struct {
    const char *name;
    const char **value;
  } variables[] = {
      {"BERTH_RECORD=", &e.record},
      {"BERTH_EVENTS=", &e.events},
      {"BERTH_LOG=", &e.log},
      {"BERTH_LOG_ONLY=", &e.log_only},
      {"BERTH_VERBOSE=", &e.verbose},
      {"BERTH_POLICY=", &e.policy},
      {"RUNTIME_DIRECTORY=", &e.places.runtime_directory},
      {"XDG_RUNTIME_DIR=", &e.places.xdg_runtime_dir},
      {"TMPDIR=", &e.places.tmpdir},
  };
  if (getauxval(AT_SECURE)) {
    start_nothing();
    return;
  }
  for (char **v = environ; v && *v; v++)
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
      size_t length = strlen(variables[i].name);
      if (!*variables[i].value && strncmp(*v, variables[i].name, length) == 0)
        *variables[i].value = *v + length;
    }
  e.executed = (const char *)getauxval(AT_EXECFN);
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
