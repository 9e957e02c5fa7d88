// SPDX-License-Identifier: MIT
//
// Runs a fuzz target on files, without libFuzzer: seeds, and what was found once. Prints each name
// first, so that the last one is at fault.
#include <string.h>

#include "fuzz.h"

static int run(const char *path)
{
  static uint8_t data[1 << 20];
  FILE *f = fopen(path, "rb");
  if (!f) {
    perror(path);
    return 1;
  }
  size_t size = fread(data, 1, sizeof data, f);
  fclose(f);
  puts(path);
  fflush(stdout);
  return LLVMFuzzerTestOneInput(data, size);
}

int main(int argc, char **argv)
{
  int failed = argc < 2;
  for (int i = 1; i < argc; i++)
    failed |= run(argv[i]);
  return failed;
}
