/* SPDX-License-Identifier: MIT
 *
 * Events as people and scripts read them.
 */
#ifndef BERTH_CLI_PRINT_H
#define BERTH_CLI_PRINT_H

#include <stdbool.h>
#include <stdio.h>

#include "cli/follow.h"
#include "cli/match.h"
#include "record/text.h"

struct printer {
  FILE *out;
  bool json;
  struct event_match match; /* what it leaves out */
  /* What is said of an event behind its line, "" for nothing; or NULL. */
  const char *(*reason)(const struct record_event *e, const struct event_origin *origin);
};

/* How addresses of events in a network namespace are written: an interface has its name in its own
 * alone. */
struct text_style print_style(uint64_t net_namespace);
void print_address(struct text *t, const uint8_t address[16], uint32_t scope,
                   const struct text_style *style);

/* A follow_event; `context` is the struct printer. */
void print_event(const struct record_event *e, const struct event_origin *origin, void *context);

#endif
