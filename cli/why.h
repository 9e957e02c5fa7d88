/* SPDX-License-Identifier: MIT
 *
 * Why a call got its port, or none: from the event, and from what this network namespace looks like
 * now. An event of another namespace is not judged by this one.
 */
#ifndef BERTH_CLI_WHY_H
#define BERTH_CLI_WHY_H

#include "cli/follow.h"

/* The reason, in a sentence without a full stop; "" for none. Valid until the next call. */
const char *why(const struct record_event *e, const struct event_origin *origin);

/* Likewise, of calls alone that found no port: EADDRNOTAVAIL, EADDRINUSE. */
const char *why_shortage(const struct record_event *e, const struct event_origin *origin);

#endif
