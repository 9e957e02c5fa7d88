// SPDX-License-Identifier: MIT
//
// scribble FILE FIRST: maps the file, says "scribbling", and writes nonsense into it from byte FIRST
// on, as somebody hostile who shares it could: until it is killed.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t draw(void)
{
  static uint64_t x = 0x9e3779b97f4a7c15;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return x;
}

/* A word in one of the ways that are hard on its reader. */
static uint64_t nonsense(const volatile uint64_t *words, size_t count, size_t at)
{
  switch (draw() % 8) {
  case 0: return 0;
  case 1: return UINT64_MAX;
  case 2: return words[draw() % count];
  case 3: return words[at] + 1;
  case 4: return words[at] - 1;
  case 5: return words[at] ^ UINT64_C(1) << draw() % 64;
  case 6: return draw() % 65536;
  default: return draw();
  }
}

static void scribble(volatile uint64_t *words, size_t count)
{
  size_t length = draw() % 4 ? 1 : draw() % 512, at = draw() % count;
  if (draw() % 8 == 0)
    at = draw() % 1024; /* the header and the first row, which most look at */
  for (size_t i = 0; i < length && at + i < count; i++)
    words[at + i] = nonsense(words, count, at + i);
}

int main(int argc, char **argv)
{
  int fd = argc == 3 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
  struct stat s;
  if (fd < 0 || fstat(fd, &s))
    return 2;
  size_t first = strtoul(argv[2], NULL, 10) / 8;
  volatile uint64_t *words = mmap(NULL, (size_t)s.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                                  0);
  if (words == MAP_FAILED)
    return 2;
  puts("scribbling");
  fflush(stdout);
  for (;;)
    scribble(words + first, (size_t)s.st_size / 8 - first);
}
