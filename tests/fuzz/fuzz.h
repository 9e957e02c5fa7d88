/* SPDX-License-Identifier: MIT
 *
 * What the fuzz targets share. A target is one function; libFuzzer calls it (`make fuzz`), or
 * replay.c does, with files.
 */
#ifndef BERTH_TESTS_FUZZ_H
#define BERTH_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever the input: if not, it is a finding. */
#define HOLDS(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);               \
      abort();                                                                                     \
    }                                                                                              \
  } while (0)

/* Does with an image without a problem what a program under this policy would, and compares the
 * answers with simpler ways to find them. */
void use_image(const policy_image *p);

/* The bytes, NUL-terminated, in a block of exactly that size, so that a step beyond it is seen. */
char *text_of(const uint8_t *data, size_t size);

/* A line that may be shown: of plain characters alone. */
void check_line(const char *line, size_t most);

#endif
