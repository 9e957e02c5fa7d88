// SPDX-License-Identifier: MIT
#include "policy/list.h"

#include <stdlib.h>
#include <string.h>

void list_add(struct list *l, const void *bytes, size_t size)
{
  if (!size)
    return;
  if (size > l->room - l->size) {
    size_t room = 2 * l->room + size + 64;
    void *grown = realloc(l->bytes, room);
    if (!grown) {
      l->failed = true;
      return;
    }
    l->bytes = grown;
    l->room = room;
  }
  memcpy((char *)l->bytes + l->size, bytes, size);
  l->size += size;
}

void list_free(struct list *l)
{
  free(l->bytes);
  *l = (struct list){0};
}
