// SPDX-License-Identifier: MIT
#include "record/header.h"

#include <stdbool.h>
#include <string.h>

uint64_t record_magic(void)
{
  uint64_t magic;
  memcpy(&magic, RECORD_MAGIC, sizeof magic);
  return magic;
}

static const char *section_problem(const struct record_section *s, uint32_t stride, uint32_t max,
                                   uint64_t size)
{
  if (s->stride != stride || s->count < 2 || s->count > max || s->offset % 64 ||
      s->offset < RECORD_HEADER_SIZE)
    return "the description of a section is damaged";
  if (s->offset > size || (size - s->offset) / stride < s->count)
    return "truncated: a section lies beyond the end of the file";
  return NULL;
}

static bool is_power_of_two(uint32_t n)
{
  return !(n & (n - 1));
}

static const char *sections_problem(const struct record_header *h, uint64_t size)
{
  const char *problem = section_problem(&h->processes, RECORD_PROCESS_STRIDE, RECORD_MAX_PROCESSES,
                                        size);
  if (!problem)
    problem = section_problem(&h->destinations, RECORD_DESTINATION_STRIDE, RECORD_MAX_DESTINATIONS,
                              size);
  if (!problem)
    problem = section_problem(&h->events, RECORD_CELL_STRIDE, RECORD_MAX_EVENTS, size);
  if (!problem && !(is_power_of_two(h->events.count) && is_power_of_two(h->destinations.count)))
    problem = "the description of a section is damaged";
  return problem;
}

const char *record_header_problem(const struct record_header *h, uint64_t size)
{
  uint64_t magic = atomic_load_explicit(&h->magic, memory_order_acquire);
  if (magic == 0 && size >= RECORD_HEADER_SIZE)
    return "not a recording of berth, or one that was never finished";
  if (memcmp(&magic, RECORD_MAGIC, 5) != 0)
    return "not a recording of berth";
  if (magic != record_magic())
    return "a recording of another version of berth, which this one does not read";
  if (h->byte_order != RECORD_BYTE_ORDER)
    return "a recording of a machine of the other byte order";
  if (h->incompatible)
    return "a recording of a newer berth, with features that this one does not know";
  if (h->file_size != size)
    return "truncated, or grown: the file has not the size that its header tells";
  return sections_problem(h, size);
}
