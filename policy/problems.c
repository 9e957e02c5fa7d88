// SPDX-License-Identifier: MIT
#include "policy/problems.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/plain.h"

static bool add(struct policy_problems *p, const char *line)
{
  char *copy = strdup(line);
  char **lines = copy ? realloc(p->lines, (p->count + 1) * sizeof *lines) : NULL;
  if (!lines) {
    free(copy);
    return false;
  }
  lines[p->count++] = copy;
  p->lines = lines;
  return true;
}

__attribute__((format(printf, 3, 0))) static void note(struct problem_notes *n, const char *where,
                                                       const char *what, va_list list)
{
  if (n->lines->count >= PROBLEM_LINES) {
    n->beyond++;
    return;
  }
  char line[PROBLEM_LENGTH];
  int begun = snprintf(line, sizeof line, "%s", where);
  vsnprintf(line + begun, sizeof line - (size_t)begun, what, list);
  policy_make_plain(line);
  if (!add(n->lines, line)) /* a problem that has no memory is one all the same */
    n->beyond++;
}

void problem_note(struct problem_notes *n, const char *what, ...)
{
  char where[sizeof n->pointer + 4];
  snprintf(where, sizeof where, " %s: ", n->pointer);
  va_list list;
  va_start(list, what);
  note(n, where, what, list);
  va_end(list);
}

void problem_line(struct problem_notes *n, const char *line, ...)
{
  va_list list;
  va_start(list, line);
  note(n, "", line, list);
  va_end(list);
}

void problem_end(struct problem_notes *n)
{
  char line[64];
  if (!n->beyond)
    return;
  snprintf(line, sizeof line, " and %zu more", n->beyond);
  add(n->lines, line);
}

void policy_problems_free(struct policy_problems *problems)
{
  for (size_t i = 0; i < problems->count; i++)
    free(problems->lines[i]);
  free(problems->lines);
  *problems = (struct policy_problems){0};
}

/* --- the pointer ---------------------------------------------------------------------------- */

static void append(struct problem_notes *n, const char *text)
{
  size_t size = strlen(text);
  if (size >= sizeof n->pointer - n->length)
    return;
  memcpy(n->pointer + n->length, text, size + 1);
  n->length += size;
}

#define KEY_SHOWN 64 /* bytes: no key of ours is so long */

size_t problem_enter_key(struct problem_notes *n, const char *key)
{
  size_t back = n->length;
  append(n, "/");
  for (size_t i = 0; key[i] && i < KEY_SHOWN; i++) {
    const char one[] = {key[i], '\0'};
    append(n, key[i] == '~' ? "~0" : key[i] == '/' ? "~1" : one);
  }
  if (strnlen(key, KEY_SHOWN + 1) > KEY_SHOWN)
    append(n, "...");
  return back;
}

size_t problem_enter_index(struct problem_notes *n, size_t index)
{
  char text[24];
  size_t back = n->length;
  snprintf(text, sizeof text, "/%zu", index);
  append(n, text);
  return back;
}

void problem_leave(struct problem_notes *n, size_t back)
{
  n->length = back;
  n->pointer[back] = '\0';
}
