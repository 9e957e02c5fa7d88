/* SPDX-License-Identifier: MIT
 *
 * A rule's orders with all the memory that one may need, shared with children.
 */
#ifndef BERTH_TESTS_POLICY_ORDER_H
#define BERTH_TESTS_POLICY_ORDER_H

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy/order.h"

struct orders {
  struct order_state state;
  struct order_words words;
  struct order_table table;
  struct order_stamps stamps;
  policy_u32 given[65536]; /* for the tests: how often each number was */
};

static inline struct orders *orders_new(void)
{
  struct orders *o = mmap(NULL, sizeof *o, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                          0);
  assert_true(o != MAP_FAILED);
  o->state.words = &o->words;
  o->state.table = &o->table;
  o->state.stamps = &o->stamps;
  return o;
}

static inline void orders_free(struct orders *o)
{
  munmap(o, sizeof *o);
}

static inline uint64_t some_random(uint64_t *state)
{
  *state += UINT64_C(0x9e3779b97f4a7c15);
  uint64_t x = (*state ^ *state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

static inline void walk_begin(struct order_walk *w, enum policy_order order, struct orders *o,
                              uint32_t size, uint64_t random)
{
  struct order_input in = {.size = size,
                           .flow = random * 3,
                           .other_flow = random * 5,
                           .random = random,
                           .state = &o->state};
  order_begin(w, order, &in);
}

/* A call that takes the first number it is offered. */
static inline uint32_t one_call(enum policy_order order, struct orders *o, uint32_t size,
                                uint64_t random)
{
  struct order_walk w;
  uint32_t index = 0;
  walk_begin(&w, order, o, size, random);
  assert_true(order_next(&w, &index));
  assert_true(index < size);
  order_settle(&w, index);
  return index;
}

/* The rest of a walk, of which `seen` knows what was given so far: the others once each. */
static inline void walk_out(struct order_walk *w, uint32_t size, uint8_t *seen)
{
  uint32_t index;
  while (order_next(w, &index)) {
    assert_true(index < size);
    assert_false(seen[index]);
    seen[index] = 1;
  }
  for (uint32_t i = 0; i < size; i++)
    assert_true(seen[i]);
  assert_false(order_next(w, &index));
}

/* `count` children that make `calls` calls each at the same time, and count what they are given. */
static inline void calls_at_once(enum policy_order order, struct orders *o, uint32_t size,
                                 int count, int calls)
{
  policy_u32 *go = &o->given[65535];
  for (int child = 0; child < count; child++) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid)
      continue;
    uint64_t random = (uint64_t)child;
    while (!atomic_load(go))
      ;
    for (int i = 0; i < calls; i++)
      atomic_fetch_add(&o->given[one_call(order, o, size, some_random(&random))], 1);
    _exit(0);
  }
  atomic_store(go, 1);
  for (int child = 0; child < count; child++) {
    int status;
    assert_true(wait(&status) > 0);
    assert_int_equal(status, 0);
  }
}

static inline void given_at_most(const struct orders *o, uint32_t size, uint32_t most)
{
  for (uint32_t i = 0; i < size; i++)
    assert_true(atomic_load(&o->given[i]) <= most);
}

#endif
