// SPDX-License-Identifier: MIT
//
// matches IMAGE PROGRAM PORT...: what the shim's own policy_names_program(), asked of every rule as
// at a program's start, and then policy_match(), as at each connect, take with a compiled policy:
// for PROGRAM and TCP connections to 192.0.2.1:PORT. Prints how many rules are the program's and
// the nanoseconds of finding them, then a line for each port: the rule's number (none: -1), and the
// nanoseconds of one match. Both are medians of many.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/image.h"
#include "policy/match.h"

#define SAMPLES 1001
#define BATCH 20 /* matches between two looks at the clock */

static long now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
  long x = *(const long *)a, y = *(const long *)b;
  return x < y ? -1 : x > y;
}

static long median(long *samples)
{
  qsort(samples, SAMPLES, sizeof *samples, by_value);
  return samples[SAMPLES / 2];
}

static policy_image *load(const char *path)
{
  FILE *f = fopen(path, "rb");
  void *bytes = malloc(POLICY_MAX_IMAGE);
  size_t size = f && bytes ? fread(bytes, 1, POLICY_MAX_IMAGE, f) : 0;
  const char *problem = policy_image_problem(bytes, size);
  if (problem) {
    fprintf(stderr, "%s: %s\n", path, problem);
    exit(1);
  }
  fclose(f);
  return bytes;
}

static uint32_t find_rules(const policy_image *p, const char *program, uint32_t *numbers)
{
  uint32_t count = 0;
  for (uint32_t i = 0; i < policy_rule_count(p); i++)
    if (policy_names_program(p, policy_rule(p, i)->programs, program, "python3.11"))
      numbers[count++] = i;
  return count;
}

static void match(const policy_image *p, const uint32_t *numbers, uint32_t count, uint16_t port)
{
  static const uint8_t peer[16] = {[10] = 0xff, 0xff, 192, 0, 2, 1};
  struct policy_connection c = {.transport = POLICY_TCP, .port = port};
  static long took[SAMPLES];
  volatile uint32_t found = POLICY_NO_RULE; /* no match is left out */
  memcpy(c.address, peer, sizeof peer);
  for (int i = 0; i < SAMPLES; i++) {
    long start = now();
    for (int k = 0; k < BATCH; k++)
      found = policy_match(p, numbers, count, &c);
    took[i] = (now() - start) / BATCH;
  }
  printf("%d %ld\n", (int)found, median(took));
}

int main(int argc, char **argv)
{
  static long took[SAMPLES];
  uint32_t count = 0;
  if (argc < 4)
    return 2;
  policy_image *p = load(argv[1]);
  uint32_t *numbers = calloc(policy_rule_count(p) + 1, sizeof *numbers);
  for (int i = 0; i < SAMPLES; i++) {
    long start = now();
    count = find_rules(p, argv[2], numbers);
    took[i] = now() - start;
  }
  printf("%u %ld\n", count, median(took));
  for (int i = 3; i < argc; i++)
    match(p, numbers, count, (uint16_t)atoi(argv[i]));
  free(numbers);
  free(p);
  return 0;
}
