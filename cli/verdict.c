// SPDX-License-Identifier: MIT
#include "cli/verdict.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void verdict_say(struct verdict *v, enum answer answer, const char *word, const char *format, ...)
{
  va_list list;
  if (answer > v->answer)
    v->answer = answer;
  if (v->count == MOST_REASONS)
    return;
  struct reason *r = &v->reasons[v->count++];
  r->word = word;
  va_start(list, format);
  vsnprintf(r->text, sizeof r->text, format, list);
  va_end(list);
}

void verdict_text(const struct verdict *v, char *text, size_t size)
{
  size_t used = 0;
  text[0] = '\0';
  for (size_t i = 0; i < v->count && used < size; i++)
    used += (size_t)snprintf(text + used, size - used, "%s%s", i ? "; " : "", v->reasons[i].text);
}
