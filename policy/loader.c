// SPDX-License-Identifier: MIT
#include "policy/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/parse.h"

#define EXPORTED __attribute__((visibility("default")))

/* Of "LINE:COLUMN: WHAT", up to WHAT. */
static int place_length(const char *line)
{
  const char *end = strchr(line, ' ');
  return end ? (int)(end - line) : 0;
}

EXPORTED void *berth_policy_load(const char *json, size_t size, size_t *image_size, char *problem,
                                 size_t problem_size)
{
  struct policy_problems problems;
  void *image = policy_parse(json, size, image_size, &problems);
  const char *first = problems.count ? problems.lines[0] : " out of memory";
  if (!image && problems.quotes)
    snprintf(problem, problem_size, "%.*s no JSON; `berth check` tells more", place_length(first),
             first);
  else if (!image)
    snprintf(problem, problem_size, "%s", first);
  policy_problems_free(&problems);
  return image;
}

EXPORTED void berth_policy_free(void *image)
{
  free(image);
}
