// SPDX-License-Identifier: MIT
//
// starts COUNT PROGRAM: starts PROGRAM COUNT times, one after another, in the environment that
// it was given, and prints the median nanoseconds of one, from posix_spawn() to its end.
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

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

static long one(char *const *argv)
{
  pid_t pid;
  int status;
  long start = now();
  if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) || waitpid(pid, &status, 0) != pid ||
      status) {
    fprintf(stderr, "starts: %s failed\n", argv[0]);
    exit(1);
  }
  return now() - start;
}

int main(int argc, char **argv)
{
  if (argc < 3)
    return 2;
  int count = atoi(argv[1]);
  long *took = calloc((size_t)count, sizeof *took);
  for (int i = 0; i < count; i++)
    took[i] = one(argv + 2);
  qsort(took, (size_t)count, sizeof *took, by_value);
  printf("%ld\n", took[count / 2]);
  free(took);
  return 0;
}
