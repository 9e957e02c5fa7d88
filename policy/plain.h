/* SPDX-License-Identifier: MIT
 *
 * Text that may be shown: UTF-8 that moves no cursor and turns no direction of writing. Pure;
 * signal-safe.
 */
#ifndef BERTH_POLICY_PLAIN_H
#define BERTH_POLICY_PLAIN_H

#include <stddef.h>

/* Bytes of the character at `s`, or 0 where none begins: at the NUL, at a control character (C0,
 * DEL, C1), at what ends a line or turns its direction (U+200E, U+2028, U+202E...), at what is not
 * UTF-8. */
size_t policy_plain(const char *s);

/* What is not plain, or is cut in the middle of a character, becomes '?'. */
void policy_make_plain(char *line);

#endif
