// SPDX-License-Identifier: MIT
#include "policy/nearest.h"

#include <stddef.h>
#include <string.h>

#define LONGEST 31 /* letters */

static int least_of(int a, int b)
{
  return a < b ? a : b;
}

/* Letters inserted, left out, changed, or swapped with their neighbour (the optimal string alignment
 * distance); a known word that is longer than LONGEST counts as far. */
static int distance(const char *a, const char *b)
{
  int rows[3][LONGEST + 1];
  int n = (int)strlen(b);
  if (n > LONGEST)
    return 99;
  int *before = rows[0], *last = rows[1], *row = rows[2];
  for (int j = 0; j <= n; j++)
    last[j] = j;
  for (int i = 1; a[i - 1]; i++) {
    row[0] = i;
    for (int j = 1; j <= n; j++) {
      row[j] = last[j - 1] + (a[i - 1] != b[j - 1]);
      row[j] = least_of(row[j], least_of(row[j - 1], last[j]) + 1);
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = least_of(row[j], before[j - 2] + 1);
    }
    int *oldest = before;
    before = last;
    last = row;
    row = oldest;
  }
  return last[n];
}

/* The one word that begins so. */
static const char *only_beginning(const char *word, size_t length,
                                  const char *(*get)(int i, const void *), int count,
                                  const void *context)
{
  const char *found = NULL;
  for (int i = 0; i < count; i++)
    if (strncmp(word, get(i, context), length) == 0) {
      if (found)
        return NULL;
      found = get(i, context);
    }
  return found;
}

const char *policy_nearest(const char *word, const char *(*get)(int i, const void *), int count,
                           const void *context)
{
  const char *best = NULL;
  size_t length = strnlen(word, 2 * LONGEST + 1);
  if (length > 2 * LONGEST) /* nearest to nothing, however long it is */
    return NULL;
  /* One mistake in three letters: with more, `top` would be `log`, and `start` `stats`. */
  int least = (int)length / 3 + 1;
  for (int i = 0; i < count; i++) {
    int d = distance(word, get(i, context));
    if (d < least) {
      least = d;
      best = get(i, context);
    }
  }
  return best || length < 2 ? best : only_beginning(word, length, get, count, context);
}
