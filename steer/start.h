/* SPDX-License-Identifier: MIT
 *
 * The environment of a program becomes the recorder's configuration, and its policy.
 */
#ifndef BERTH_STEER_START_H
#define BERTH_STEER_START_H

#include "record/directory.h"
#include "steer/rules.h"

/* Values of the variables, NULL where not set; what is needed later is copied. */
struct start_environment {
  const char *record, *events, *log, *log_only, *verbose, *policy, *strict; /* BERTH_... */
  const char *filters;                /* BERTH_FILTERS, in the environment itself */
  const char *container, *kubernetes; /* which say that the process is in a container */
  const struct rules_loader *loader;  /* for a policy that is JSON */
  struct record_places places;
  const char *executed; /* the file executed, as execve() was given it; may be NULL */
};

/* Called once, single-threaded. A variable that cannot be honoured is one line on stderr. */
void start_recording(const struct start_environment *e);

/* Nothing is recorded and no variable is honoured (AT_SECURE). */
void start_nothing(void);

#endif
