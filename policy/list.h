/* SPDX-License-Identifier: MIT
 *
 * A growing block of bytes: items of one type after one another.
 */
#ifndef BERTH_POLICY_LIST_H
#define BERTH_POLICY_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* Zeros at first. `bytes` is aligned for any type, and moves when something is added. */
struct list {
  void *bytes;
  size_t size, room;
  bool failed; /* memory ran out: something was not added */
};

#define LIST_COUNT(list, type) ((list)->size / sizeof(type))

void list_add(struct list *l, const void *bytes, size_t size);
void list_free(struct list *l);

#endif
