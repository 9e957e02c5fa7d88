/* SPDX-License-Identifier: MIT
 *
 * A policy's file into private memory, as an image that was checked whole. Allocates by mmap(2)
 * alone.
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

/* Returns NULL, or what is wrong, in words that last until the next call. */
const char *read_image(const char *path, const struct rules_loader *loader, struct bytes *b);

/* "WHAT: ERRNO'S NAME", likewise. */
const char *problem_because(const char *what, int error);

#endif
