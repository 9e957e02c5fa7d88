/* SPDX-License-Identifier: MIT
 *
 * MD5's compression function (RFC 1321), by which Linux hashed connections until 4.10. No library
 * gives it without the padding that the kernel leaves away. Pure.
 */
#ifndef BERTH_KERNEL_MD5_H
#define BERTH_KERNEL_MD5_H

#include <stdint.h>

/* Takes a block of 64 bytes, as little-endian words, into the state. */
void md5_transform(uint32_t state[4], const uint32_t block[16]);

#endif
