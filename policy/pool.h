/* SPDX-License-Identifier: MIT
 *
 * A rule's source addresses of one family, as numbers from 0 to size - 1 in the order in which the
 * policy names them. Pure; signal-safe.
 */
#ifndef BERTH_POLICY_POOL_H
#define BERTH_POLICY_POOL_H

#include <stdint.h>

#include "policy/image.h"

uint32_t policy_pool_size(const policy_image *p, struct policy_span pool);

/* The n-th address, n < size. */
void policy_pool_address(const policy_image *p, struct policy_span pool, uint32_t n,
                         uint8_t address[16]);

#endif
