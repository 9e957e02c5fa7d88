// SPDX-License-Identifier: MIT
//
// A compiled policy from whoever: as it is, and again with the size and the checksum that its bytes
// would have, since few inputs would get beyond these.
#include "fuzz.h"

#include <string.h>

static void load(const void *bytes, size_t size)
{
  const char *problem = policy_image_problem(bytes, size);
  if (problem)
    check_line(problem, 200);
  else
    use_image(bytes);
}

static void mend(unsigned char *bytes, size_t size)
{
  struct policy_header h;
  memcpy(&h, bytes, sizeof h);
  memcpy(h.magic, POLICY_MAGIC, POLICY_MAGIC_SIZE);
  h.byte_order = POLICY_BYTE_ORDER;
  h.header_size = sizeof h;
  h.size = size;
  memcpy(bytes, &h, sizeof h);
  h.checksum = policy_image_checksum(bytes, size);
  memcpy(bytes, &h, sizeof h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  unsigned char *bytes = malloc(size ? size : 1); /* aligned to 16 */
  HOLDS(bytes);
  if (size)
    memcpy(bytes, data, size);
  load(bytes, size);
  if (size >= sizeof(struct policy_header)) {
    mend(bytes, size);
    load(bytes, size);
  }
  free(bytes);
  return 0;
}
