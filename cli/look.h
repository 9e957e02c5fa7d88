/* SPDX-License-Identifier: MIT
 *
 * A look at the network namespace that the command is in.
 */
#ifndef BERTH_CLI_LOOK_H
#define BERTH_CLI_LOOK_H

#include "doctor/view.h"

/* Reads the sockets, sorted. 0 or an errno; to be freed with diag_free() all the same. */
int look_at_sockets(struct diag_sockets *list);

/* The range, the settings, the sockets, and what they hold: all of `v` but `before`. Likewise; the
 * sockets are to be freed with diag_free(). */
int look_here(struct doctor_view *v);

#endif
