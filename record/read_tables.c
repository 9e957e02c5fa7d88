// SPDX-License-Identifier: MIT
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "record/read.h"

uint64_t record_sketch_estimate(const record_u32 sketch[RECORD_SKETCH_WORDS])
{
  const double m = RECORD_SKETCH_BITMAPS;
  double sum = 0, empty = 0;
  for (int i = 0; i < RECORD_SKETCH_BITMAPS; i++) {
    unsigned bitmap = sketch[i / 2] >> (i & 1 ? 16 : 0) & 0xffff;
    int rank = bitmap ? 32 - __builtin_clz(bitmap) : 0;
    sum += ldexp(1, -rank);
    empty += rank == 0;
  }
  /* HyperLogLog (Flajolet, Fusy, Gandouet, Meunier 2007), with linear counting below 2.5 m. */
  double estimate = 0.7213 / (1 + 1.079 / m) * m * m / sum;
  if (estimate <= 2.5 * m && empty > 0)
    estimate = m * log(m / empty);
  return estimate < 65535 ? (uint64_t)llround(estimate) : 65535;
}

static int by_row_then_connects(const void *a, const void *b)
{
  const struct record_read_destination *x = a, *y = b;
  if (x->process != y->process)
    return x->process < y->process ? -1 : 1;
  return x->connects > y->connects ? -1 : x->connects < y->connects;
}

static void copy_destination(const struct record_destination *row,
                             struct record_read_destination *d)
{
  uint64_t address[2] = {row->address[0], row->address[1]};
  memcpy(d->address, address, sizeof d->address);
  d->scope = row->scope;
  d->port = (uint16_t)row->port;
  d->transport = (uint16_t)row->transport;
  d->connects = row->connects;
  d->failed = row->failed;
  d->distinct_ports = record_sketch_estimate(row->sketch);
  if (d->distinct_ports > d->connects)
    d->distinct_ports = d->connects;
  d->process = row->process;
}

size_t record_read_destinations(struct record_reader *reader, struct record_read_destination **out)
{
  struct record_read_destination *all = NULL;
  size_t n = 0, room = 0;
  for (uint32_t i = 0; i < reader->destinations.count; i++) {
    struct record_destination row;
    if (!record_read_at(reader, &row, sizeof row,
                        reader->destinations.offset + (uint64_t)i * RECORD_DESTINATION_STRIDE))
      break;
    if (row.tag == 0 || row.connects == 0)
      continue;
    if (n == room) {
      size_t more = room ? 2 * room : 64;
      struct record_read_destination *grown = realloc(all, more * sizeof *all);
      if (!grown)
        break;
      all = grown;
      room = more;
    }
    copy_destination(&row, &all[n++]);
  }
  if (n)
    qsort(all, n, sizeof *all, by_row_then_connects);
  *out = all;
  return n;
}

static bool read_rule(struct record_reader *reader, uint32_t i, struct record_rule *row)
{
  uint64_t offset = reader->rules.offset + (uint64_t)i * RECORD_RULE_STRIDE;
  return i < reader->rules.count && record_read_at(reader, row, sizeof *row, offset);
}

static void copy_name(const struct record_rule *row, char name[RECORD_RULE_NAME])
{
  memcpy(name, (const void *)&row->name, RECORD_RULE_NAME);
  name[RECORD_RULE_NAME - 1] = '\0';
}

void record_rule_name(struct record_reader *reader, uint32_t row, char name[RECORD_RULE_NAME])
{
  struct record_rule rule;
  name[0] = '\0';
  if (read_rule(reader, row, &rule) && rule.tag)
    copy_name(&rule, name);
}

static int by_row_then_name(const void *a, const void *b)
{
  const struct record_read_rule *x = a, *y = b;
  if (x->process != y->process)
    return x->process < y->process ? -1 : 1;
  return strcmp(x->name, y->name);
}

size_t record_read_rules(struct record_reader *reader, struct record_read_rule **out)
{
  struct record_rule row;
  size_t n = 0;
  *out = calloc(reader->rules.count, sizeof **out); /* less than the section itself */
  for (uint32_t i = 0; *out && i < reader->rules.count && read_rule(reader, i, &row); i++) {
    if (row.tag == 0 || row.matched == 0)
      continue;
    struct record_read_rule *r = &(*out)[n++];
    copy_name(&row, r->name);
    r->process = row.process;
#define RULE_COUNTER(name, help) r->name = row.name;
#include "record/rule_counters.def"
#undef RULE_COUNTER
  }
  if (n)
    qsort(*out, n, sizeof **out, by_row_then_name);
  return n;
}
