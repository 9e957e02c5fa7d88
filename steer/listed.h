/* SPDX-License-Identifier: MIT
 *
 * The TCP connections of this network namespace as /proc lists them: for where netlink is
 * forbidden. All of them are read for one question, so the answers are kept for a call.
 * Signal-safe; errno may change.
 */
#ifndef BERTH_STEER_LISTED_H
#define BERTH_STEER_LISTED_H

#include <stdbool.h>
#include <stdint.h>

#include "steer/endpoint.h"

struct listed_ports; /* of which a connection goes from one address to one peer */

/* NULL where /proc cannot be read. listed_free() takes NULL. */
struct listed_ports *listed_read(const uint8_t local[16], const struct endpoint *peer);
void listed_free(struct listed_ports *l);

bool listed_has(const struct listed_ports *l, uint16_t port);
bool listed_in_time_wait(const struct listed_ports *l, uint16_t port);

/* Whether they are of this address; the peer is the same in all questions of a call. */
bool listed_is_of(const struct listed_ports *l, const uint8_t local[16]);

#endif
