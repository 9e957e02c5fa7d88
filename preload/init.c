// SPDX-License-Identifier: MIT
#include "preload/init.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "gate/gate.h"
#include "gate/inherited.h"
#include "preload/loader.h"
#include "steer/self.h"
#include "steer/start.h"

/* What follows in `variable`, NAME=VALUE, if it begins so. */
static const char *value_of(const char *variable, const char *beginning)
{
  for (; *beginning; beginning++, variable++)
    if (*variable != *beginning)
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
      {"BERTH_FILTERS=", &e->filters},
      {"container=", &e->container},
      {"KUBERNETES_SERVICE_HOST=", &e->kubernetes},
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

/* As ld.so takes away the variables that are its own, for what this program executes: with all
 * identities root's that has no AT_SECURE, and the environment would still be somebody else's. */
static void drop_variables(void)
{
  char **to = environ;
  for (char **from = environ; from && *from; from++)
    if (!value_of(*from, "BERTH_"))
      *to++ = *from;
  if (to)
    *to = NULL;
}

static void start(void)
{
  struct start_environment e = {0};
  self_start(real()->pthread_getcpuclockid);
  if (getauxval(AT_SECURE)) {
    drop_variables();
    start_nothing();
    return;
  }
  for (char **v = environ; v && *v; v++)
    if (**v == 'B' || **v == 'R' || **v == 'X' || **v == 'T' || **v == 'K' || **v == 'c')
      read_variable(&e, *v);
  inherited_told((char *)(uintptr_t)e.filters, e.container || e.kubernetes);
  e.executed = (const char *)getauxval(AT_EXECFN);
  e.loader = &loader;
  start_recording(&e);
}

/* 0, then the thread that starts the shim, then STARTED. A constructor of another library may have
 * begun a thread that connects, so the first call can come while main() is about to be called. */
#define STARTED UINTPTR_MAX
static _Atomic uintptr_t progress;

/* A tenth of a second at most: who starts the shim may wait for a lock of ld.so that this thread
 * holds, or be left behind by fork(). Until it is done, calls pass through. */
static void wait_for_start(uintptr_t self)
{
  static atomic_bool in_vain;
  const struct timespec moment = {.tv_nsec = 1000000};
  for (int i = 0; i < 100 && !atomic_load_explicit(&in_vain, memory_order_relaxed); i++) {
    uintptr_t now = atomic_load_explicit(&progress, memory_order_acquire);
    if (now == STARTED ||
        now == self) /* a handler in the midst of it, or a library that it opens */
      return;
    GATE_CALL(SYS_nanosleep, &moment, NULL);
  }
  atomic_store_explicit(&in_vain, true, memory_order_relaxed);
}

static void start_once(void)
{
  static _Thread_local char own; /* its address tells a thread without a system call */
  uintptr_t none = 0, self = (uintptr_t)&own;
  if (!atomic_compare_exchange_strong_explicit(&progress, &none, self, memory_order_acq_rel,
                                               memory_order_acquire)) {
    wait_for_start(self);
    return;
  }
  start();
  atomic_store_explicit(&progress, STARTED, memory_order_release);
}

const struct real *init(void)
{
  const struct real *functions = real();
  if (atomic_load_explicit(&progress, memory_order_acquire) != STARTED) {
    int error = errno;
    start_once();
    errno = error;
  }
  return functions;
}

__attribute__((constructor)) static void constructor(void)
{
  init();
}
