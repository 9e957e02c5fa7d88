// SPDX-License-Identifier: MIT
#include "simulate/counts.h"

#include <stdlib.h>

#define LARGEST (1U << 20)

bool counts_begin(struct counts *c)
{
  *c = (struct counts){.of = calloc(LARGEST + 1, sizeof *c->of)};
  return c->of;
}

void counts_end(struct counts *c)
{
  free(c->of);
}

void counts_add(struct counts *c, uint32_t number)
{
  c->of[number < LARGEST ? number : LARGEST]++;
  c->total++;
  c->sum += number;
}

double counts_mean(const struct counts *c)
{
  return c->total ? (double)c->sum / (double)c->total : 0;
}

uint32_t counts_percentile(const struct counts *c, uint32_t percent)
{
  uint64_t wanted = (c->total * percent + 99) / 100, seen = 0;
  uint32_t number = 0;
  if (!c->total)
    return 0;
  for (; (seen += c->of[number]) < (wanted ? wanted : 1); number++)
    ;
  return number;
}
