/* SPDX-License-Identifier: MIT
 *
 * An image as text, for the value of an environment variable: it gets wherever LD_PRELOAD does, to
 * programs of other users and in other roots too, where a file does not.
 *
 * The text is POLICY_INLINE and, in the alphabet of RFC 4648 section 4 without padding, the image's
 * bytes, of which a run of 1 to 255 zeros is written as a 0 and its length. Pure; signal-safe.
 */
#ifndef BERTH_POLICY_INLINE_H
#define BERTH_POLICY_INLINE_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/image.h"

#define POLICY_INLINE "image:"

bool policy_is_inline(const char *value);

/* The most characters, NUL included, that the text of an image of `size` bytes has. */
size_t policy_inline_room(size_t size);

/* Writes the text, with a NUL; returns its length. */
size_t policy_inline_write(const policy_image *image, char *to);

/* How many bytes the text makes, of which the first `room` are written; 0 where it is no such text.
 * Whether they are an image is for policy_image_problem() to say. */
size_t policy_inline_read(const char *value, void *to, size_t room);

#endif
