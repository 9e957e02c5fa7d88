/* SPDX-License-Identifier: MIT
 *
 * The recording that this process writes to: attached to, or made. Signal-safe.
 */
#ifndef BERTH_STEER_PLACE_H
#define BERTH_STEER_PLACE_H

#include <stdbool.h>

struct record_map;
struct text;

/* Attaches to the recording that BERTH_RECORD names; complains where that fails. To be called
 * once, before there are threads. */
void place_attach(void);

/* The recording in use, made now if there was none; NULL if there can be none, which has been
 * complained of where a variable asked for it. errno may change. */
const struct record_map *place_recording(void);

/* The same, but none is made. */
const struct record_map *place_current(void);

/* Whether there is none and will be none. */
bool place_is_hopeless(void);

/* So many bytes of a path are said of a place, or of a policy. */
#define DESCRIBED_PATH 400

/* Appends where this process records, or why not, for people. */
void place_describe(struct text *t);

#endif
