/* SPDX-License-Identifier: MIT
 *
 * How an input of fuzz-recording.c is written: the first byte chooses the command, then come
 * stores, each of
 *
 *   reads   1 byte: how many reads of the file come between the store before and this one
 *   length  1 byte: of what is stored; 0: the file is cut, or grows, to end at `at`
 *   at      4 bytes, little-endian: where, modulo RECORDING_MOST
 *   bytes   `length` of them, fewer at the input's end
 */
#ifndef BERTH_TESTS_RECORDING_INPUT_H
#define BERTH_TESTS_RECORDING_INPUT_H

#include <stdint.h>

#define RECORDING_MOST (UINT32_C(1) << 18) /* bytes of a file */
#define RECORDING_STORE_HEAD 6

/* Namespaces of processes that the seeds hold, which the target takes for its own. */
#define RECORDING_NET 1
#define RECORDING_PID 2

struct recording_store {
  uint8_t reads, length;
  uint32_t at;
  const uint8_t *bytes;
};

/* Returns where the next one begins. */
static inline const uint8_t *recording_take(const uint8_t *from, const uint8_t *end,
                                            struct recording_store *s)
{
  uint8_t head[RECORDING_STORE_HEAD] = {0};
  for (int i = 0; i < RECORDING_STORE_HEAD && from < end; i++)
    head[i] = *from++;
  s->reads = head[0];
  s->length = head[1];
  s->at = (uint32_t)head[2] | (uint32_t)head[3] << 8 | (uint32_t)head[4] << 16 |
          (uint32_t)head[5] << 24;
  s->bytes = from;
  if (s->length > end - from)
    s->length = (uint8_t)(end - from);
  return from + s->length;
}

#endif
