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

/* What a section must be. */
struct bounds {
  uint32_t stride, least, most;
  bool power_of_two;
};

static bool is_power_of_two(uint32_t n)
{
  return !(n & (n - 1));
}

static const char *section_problem(const struct record_section *s, const struct bounds *b,
                                   uint64_t size)
{
  if (s->stride != b->stride || s->count < b->least || s->count > b->most || s->offset % 64 ||
      s->offset < RECORD_HEADER_SIZE || (b->power_of_two && !is_power_of_two(s->count)))
    return "the description of a section is damaged";
  if (s->offset > size || (size - s->offset) / s->stride < s->count)
    return "truncated: a section lies beyond the end of the file";
  return NULL;
}

static const char *sections_problem(const struct record_header *h, uint64_t size)
{
  const struct {
    const struct record_section *section;
    struct bounds bounds;
  } all[] = {
      {&h->processes, {RECORD_PROCESS_STRIDE, 2, RECORD_MAX_PROCESSES, false}},
      {&h->destinations, {RECORD_DESTINATION_STRIDE, 2, RECORD_MAX_DESTINATIONS, true}},
      {&h->events, {RECORD_CELL_STRIDE, 2, RECORD_MAX_EVENTS, true}},
      {&h->rules, {RECORD_RULE_STRIDE, 2, RECORD_MAX_RULES, true}},
      {&h->state, {1, 0, RECORD_MAX_STATE, false}},
  };
  const char *problem = NULL;
  for (size_t i = 0; i < sizeof all / sizeof *all && !problem; i++)
    problem = section_problem(all[i].section, &all[i].bounds, size);
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
