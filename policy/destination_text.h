/* SPDX-License-Identifier: MIT
 *
 * Destinations as text: "10.0.0.0/8:9042", "[fd00::]/8:9042", "fd00::1", "*:9142-9144". Pure.
 */
#ifndef BERTH_POLICY_DESTINATION_TEXT_H
#define BERTH_POLICY_DESTINATION_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/rule.h"

/* On failure returns false, with what is wrong in `problem`. */
bool policy_destination_parse(const char *text, struct policy_destination *destination,
                              char *problem, size_t size);

#define DESTINATION_TEXT 72 /* bytes at most, the NUL counted */

/* As it would be parsed again. */
void policy_destination_text(const struct policy_destination *d, char text[DESTINATION_TEXT]);

#endif
