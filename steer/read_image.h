/* SPDX-License-Identifier: MIT
 *
 * A policy into private memory, as an image that was checked whole. Allocates by mmap(2) alone.
 */
#ifndef BERTH_STEER_READ_IMAGE_H
#define BERTH_STEER_READ_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

struct rules_loader;

struct bytes {
  unsigned char *at;
  size_t size, room; /* `room`: as mapped */
};

bool bytes_get_room(struct bytes *b, size_t size);

/* Of a file that is named so the owner and the mode count: root's or the effective user's own, which
 * nobody else may write to. `berth run` names its own so. */
#define POLICY_PREPARED "//"

/* `policy`: the value of BERTH_POLICY, the path of a file or the image itself (policy/inline.h).
 * Returns NULL, or what is wrong, in words that last until the next call. */
const char *read_image(const char *policy, const struct rules_loader *loader, struct bytes *b);

/* "WHAT: ERRNO'S NAME", likewise. */
const char *problem_because(const char *what, int error);

#endif
