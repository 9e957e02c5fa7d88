/* SPDX-License-Identifier: MIT
 *
 * How a parser of texts says no.
 */
#ifndef BERTH_POLICY_REFUSE_H
#define BERTH_POLICY_REFUSE_H

#include <stdbool.h>
#include <stddef.h>

/* A quoted text in what is said: it may be megabytes. */
#define REFUSE_QUOTE "'%.80s'"

/* What is wrong with a text, to `problem`. Returns false. */
__attribute__((format(printf, 3, 4))) bool refuse(char *problem, size_t size, const char *why, ...);

#endif
