// SPDX-License-Identifier: MIT
//
// A policy as JSON: it has an image, which then has no problem and can be used, or problems.
#include "fuzz.h"

#include <string.h>

#include "policy/parse.h"

/* As it lies in a program: bytes of its own, and no more of them. */
static void check_image(const void *image, size_t size)
{
  void *copy = aligned_alloc(8, size);
  HOLDS(copy && size % 8 == 0);
  memcpy(copy, image, size);
  HOLDS(!policy_image_problem(copy, size));
  use_image(copy);
  free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct policy_problems problems;
  size_t image_size = 0;
  char *json = text_of(data, size);
  void *image = policy_parse(json, size, &image_size, &problems);
  HOLDS(!image == (problems.count > 0));
  for (size_t i = 0; i < problems.count; i++)
    check_line(problems.lines[i], 512);
  policy_problems_free(&problems);
  if (image)
    check_image(image, image_size);
  free(image);
  free(json);
  return 0;
}
