/* SPDX-License-Identifier: MIT
 *
 * Events and statistics as JSON: the keys of berth-log(1) and berth-stats(1).
 */
#ifndef BERTH_CLI_JSON_H
#define BERTH_CLI_JSON_H

#include <jansson.h>
#include <stdio.h>

#include "cli/follow.h"
#include "cli/process.h"
#include "record/layout.h"

struct text_style;

/* New references. */
json_t *json_event(const struct record_event *e, const struct event_origin *origin,
                   const struct text_style *style);
json_t *json_process(const struct process *p);

/* Somebody else's bytes: what is not UTF-8 becomes '?', byte by byte. */
json_t *json_text(const char *bytes);

/* One line; takes the reference. */
void json_print(FILE *out, json_t *object);

#endif
