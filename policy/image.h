/* SPDX-License-Identifier: MIT
 *
 * A compiled policy read: whether bytes are one, and what its spans hold.
 *
 * Nothing here allocates, and all of it may be called from a signal handler.
 */
#ifndef BERTH_POLICY_IMAGE_H
#define BERTH_POLICY_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/rule.h"

/* Whether the bytes mean to be an image (of whatever version) rather than JSON: the first five. */
bool policy_is_image(const void *bytes, size_t size);

/* NULL if `bytes` (aligned to 8) is an image of this version and machine of which every offset,
 * span, string and enum holds; else what is wrong, for people. The caller keeps the bytes from
 * being changed afterwards: they are private memory. */
const char *policy_image_problem(const void *bytes, size_t size);

/* FNV-1a of 64 bits over the whole image, the checksum itself taken for zeros. */
uint64_t policy_image_checksum(const void *bytes, size_t size);

/* Of an image without a problem: */
typedef struct policy_header policy_image;

uint32_t policy_rule_count(const policy_image *p);
const struct policy_rule *policy_rule(const policy_image *p, uint32_t rule);
const struct policy_destination *policy_destinations(const policy_image *p);
const struct policy_address *policy_addresses(const policy_image *p);
const struct policy_ports *policy_ports(const policy_image *p);
const char *policy_string(const policy_image *p, uint32_t offset);

/* The i-th glob of `programs`. */
const char *policy_program(const policy_image *p, uint32_t i);

#endif
