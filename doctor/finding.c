// SPDX-License-Identifier: MIT
#include "doctor/finding.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void forget(struct finding *f)
{
  free(f->figure);
  free(f->remedy);
  free(f->policy);
}

void findings_add(struct findings *f, struct finding finding)
{
  if (f->count == f->room) {
    uint32_t room = f->room ? 2 * f->room : 16;
    struct finding *more = realloc(f->list, room * sizeof *more);
    if (!more) {
      f->failed = true;
      forget(&finding);
      return;
    }
    f->list = more;
    f->room = room;
  }
  if (!finding.figure || !finding.remedy)
    f->failed = true;
  f->list[f->count++] = finding;
}

void findings_free(struct findings *f)
{
  for (uint32_t i = 0; i < f->count; i++)
    forget(&f->list[i]);
  free(f->list);
}

char *finding_text(const char *format, ...)
{
  char *text;
  va_list list;
  va_start(list, format);
  if (vasprintf(&text, format, list) < 0)
    text = NULL;
  va_end(list);
  return text;
}

static int worse(const void *a, const void *b)
{
  const struct finding *f = a, *g = b;
  if (f->severity != g->severity)
    return f->severity < g->severity ? 1 : -1;
  return (f->weight < g->weight) - (f->weight > g->weight);
}

void findings_find(struct findings *f, const struct examination *e)
{
  find_destinations(f, e);
  find_binds(f, e);
  find_range(f, e);
  find_holds(f, e);
  find_settings(f, e);
  if (f->count)
    qsort(f->list, f->count, sizeof *f->list, worse);
}
