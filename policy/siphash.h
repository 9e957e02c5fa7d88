/* SPDX-License-Identifier: MIT
 *
 * SipHash-2-4 (Aumasson and Bernstein 2012) of 64-bit words: the keyed hash of RFC 6056's orders,
 * and their random numbers where the key is secret and the words are a counter. Pure.
 */
#ifndef BERTH_POLICY_SIPHASH_H
#define BERTH_POLICY_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* The hash of the message that the words are in little-endian order (8 * count bytes). */
uint64_t siphash(const uint64_t key[2], const uint64_t *words, size_t count);

/* Likewise, with up to seven bytes more, which are the low bytes of `tail`; the others are zero. */
uint64_t siphash_with_tail(const uint64_t key[2], const uint64_t *words, size_t count,
                           uint64_t tail, size_t tail_bytes);

#endif
