// SPDX-License-Identifier: MIT
#include "policy/nearest.h"

#include <stddef.h>
#include <string.h>

#define LONGEST 31 /* letters */

/* Levenshtein's distance; a known word that is longer than LONGEST counts as far. */
static int distance(const char *a, const char *b)
{
  int row[LONGEST + 1];
  int n = (int)strlen(b);
  if (n > LONGEST)
    return 99;
  for (int j = 0; j <= n; j++)
    row[j] = j;
  for (int i = 1; *a; a++, i++) {
    int diagonal = row[0];
    row[0] = i;
    for (int j = 1; j <= n; j++) {
      int change = diagonal + (*a != b[j - 1]);
      diagonal = row[j];
      int insert = row[j - 1] + 1, erase = row[j] + 1;
      row[j] = change < insert ? change : insert;
      row[j] = row[j] < erase ? row[j] : erase;
    }
  }
  return row[n];
}

const char *policy_nearest(const char *word, const char *(*get)(int i, const void *), int count,
                           const void *context)
{
  const char *best = NULL;
  size_t length = strnlen(word, 2 * LONGEST + 1);
  if (length > 2 * LONGEST) /* nearest to nothing, however long it is */
    return NULL;
  int least = (int)length / 2 + 2;
  for (int i = 0; i < count; i++) {
    int d = distance(word, get(i, context));
    if (d < least) {
      least = d;
      best = get(i, context);
    }
  }
  return best;
}
