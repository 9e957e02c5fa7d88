// SPDX-License-Identifier: MIT
#include "policy/loader.h"

#include <stdio.h>
#include <stdlib.h>

#include "policy/parse.h"

#define EXPORTED __attribute__((visibility("default")))

EXPORTED void *berth_policy_load(const char *json, size_t size, size_t *image_size, char *problem,
                                 size_t problem_size)
{
  struct policy_problems problems;
  void *image = policy_parse(json, size, image_size, &problems);
  if (!image)
    snprintf(problem, problem_size, "%s", problems.count ? problems.lines[0] : " out of memory");
  policy_problems_free(&problems);
  return image;
}

EXPORTED void berth_policy_free(void *image)
{
  free(image);
}
