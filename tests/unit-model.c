// SPDX-License-Identifier: MIT
//
// kernel/model against choices that were computed independently, and one that was read off a
// debugged kernel.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/md5.h"
#include "kernel/model.h"

#define MOST_BUSY 8

struct vector {
  const struct model *model;
  uint16_t low, high;
  bool own_range, reuse;
  uint32_t step_width, mask;
  uint64_t offset;
  uint32_t state, draw;
  uint16_t held[MOST_BUSY], taken[MOST_BUSY]; /* up to the first 0 */
  uint16_t port;
  uint32_t after;
};

/* What a hash with this offset is since 5.18: the entry of the table is 0. */
#define HIGH(offset) ((uint64_t)(offset) << 32)
#define EVENS                                                                                      \
  {                                                                                                \
    40000, 40002, 40004, 40006                                                                     \
  }
#define ODDS                                                                                       \
  {                                                                                                \
    40001, 40003, 40005, 40007                                                                     \
  }

static const struct vector vectors[] = {
    /* Read off a running kernel by a debugger: hint 32, port_offset 266836801. */
    {&model_4_2, 32768, 60999, .offset = 266836801, .state = 32, .port = 48968, .after = 34},

    {&model_3_10, 40000, 40007, .offset = 5, .port = 40006, .after = 1},
    {&model_3_10, 40000, 40007, .offset = 5, .taken = {40006, 40007}, .port = 40000, .after = 3},
    {&model_4_2, 40000, 40007, .offset = 5, .port = 40004, .after = 2},
    {&model_4_2, 40000, 40007, .offset = 5, .taken = {40004}, .port = 40005, .after = 2},
    {&model_4_6, 40000, 40007, .offset = 5, .port = 40004, .after = 2},
    {&model_4_6, 40000, 40007, .offset = 5, .taken = {40004}, .port = 40006, .after = 4},
    {&model_4_6, 40000, 40007, .offset = 5, .taken = EVENS, .port = 40005, .after = 2},

    /* hash_32(5, 8) is 232, whose word of the table is the state. */
    {&model_5_12, 40000, 40007, .offset = 5, .draw = 1, .port = 40004, .after = 2},
    {&model_5_12, 40000, 40007, .offset = 5, .draw = 0, .port = 40004, .after = 4},
    {&model_5_12, 40000, 40007, .offset = 5, .taken = {40004}, .port = 40006, .after = 4},

    {&model_5_18, 40000, 40007, .offset = HIGH(5), .draw = 7, .port = 40004, .after = 16},
    {&model_5_18, 40000, 40007, .offset = HIGH(5), .held = {40004}, .port = 40006, .after = 4},
    {&model_5_18, 40001, 40008, .offset = HIGH(5), .port = 40005, .after = 2},
    {&model_6_8, 40000, 40007, true, .offset = HIGH(5), .draw = 3, .port = 40005, .after = 4},
    {&model_6_8, 40000, 40007, true, .offset = HIGH(5), .taken = {40005}, .port = 40006,
     .after = 2},
    {&model_6_8, 40000, 40007, .offset = HIGH(5), .draw = 7, .port = 40004, .after = 16},

    /* An odd number of ports: the last one of low's parity is never looked at. */
    {&model_5_18, 40000, 40004, .offset = HIGH(2), .taken = {40001, 40002, 40003, 40004},
     .port = 0},
    {&model_6_8, 40000, 40004, true, .offset = HIGH(2), .taken = {40001, 40002, 40003, 40004},
     .port = 40000, .after = 4},

    {&model_7_1, 40000, 40007, .step_width = 8, .draw = 2, .taken = {40000}, .port = 40006,
     .after = 6},
    {&model_7_1, 40000, 40007, .step_width = 8, .draw = 2, .taken = {40000, 40006}, .port = 40004,
     .after = 6},
    {&model_7_1, 40000, 40007, .draw = 2, .taken = {40000}, .port = 40002, .after = 6},

    {&model_bind, 40000, 40007, .draw = 2, .port = 40003},
    {&model_bind, 40000, 40007, .draw = 2, .held = ODDS, .port = 40002},
    {&model_bind, 40000, 40007, .reuse = true, .draw = 2, .held = {40000, 40001, 40002, 40003},
     .port = 40007},

    {&model_udp, 32768, 60999, .mask = 255, .draw = 0x80000000, .port = 46884},
    {&model_udp, 32768, 60999, .mask = 255, .draw = 0x80000000, .held = {46884}, .port = 47140},
    {&model_udp, 32768, 60999, .mask = 255, .draw = 0x12345678, .port = 34775},
    {&model_udp, 32768, 60999, .mask = 255, .draw = 0x12345678, .held = {34775}, .port = 58583},
};

static uint32_t draw_given(void *data, uint32_t bound)
{
  uint32_t value = *(uint32_t *)data;
  assert_true(!bound || value < bound);
  return value;
}

static void add_all(struct model_ports *set, const uint16_t ports[MOST_BUSY])
{
  for (int i = 0; i < MOST_BUSY && ports[i]; i++)
    model_ports_add(set, ports[i]);
}

static void the_vectors_hold(void **state)
{
  (void)state;
  static uint32_t table[MODEL_TABLE_LARGEST];
  for (size_t i = 0; i < sizeof(vectors) / sizeof(*vectors); i++) {
    const struct vector *v = &vectors[i];
    struct model_ports held = {0}, taken = {0};
    uint32_t draw = v->draw;
    add_all(&held, v->held);
    add_all(&taken, v->taken);
    struct model_call call = {.low = v->low,
                              .high = v->high,
                              .own_range = v->own_range,
                              .reuse = v->reuse,
                              .step_width = v->step_width,
                              .mask = v->mask,
                              .held = &held,
                              .taken = &taken,
                              .offset = v->offset,
                              .draw = draw_given,
                              .draw_data = &draw};
    struct model_choice choice;
    for (uint32_t j = 0; j < v->model->table_size; j++)
      table[j] = v->state;
    v->model->choose(&call, table, &choice);
    if (choice.port != v->port || (v->port && choice.remembers != v->after))
      fail_msg("vector %zu, %s: port %u and %u for the next, expected %u and %u", i, v->model->name,
               choice.port, choice.remembers, v->port, v->after);
    if (v->model->table_size)
      assert_int_equal(table[choice.entry], choice.remembers);
  }
}

static const struct model *const models[] = {&model_3_10, &model_4_2, &model_4_6, &model_5_12,
                                             &model_5_18, &model_6_8, &model_7_1, &model_bind,
                                             &model_udp,  NULL};

/* A world at random, by a generator with a seed (Steele and others' SplitMix64). */
struct world {
  uint64_t seed;
  uint16_t looked_at_last;
  uint32_t looks;
};

static uint64_t next_random(uint64_t *seed)
{
  uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

static uint32_t draw_random(void *data, uint32_t bound)
{
  struct world *w = data;
  uint32_t random = (uint32_t)(next_random(&w->seed) >> 32);
  return bound ? (uint32_t)((uint64_t)random * bound >> 32) : random;
}

static void note_look(void *data, uint16_t port, bool usable)
{
  struct world *w = data;
  (void)usable;
  w->looked_at_last = port;
  w->looks++;
}

/* Ports of the range that no call can have; with parities the one port more that a call over an odd
 * number leaves out. */
static bool may_fail(const struct model_call *c, const struct model *m)
{
  uint32_t usable = 0;
  for (uint32_t port = c->low; port <= c->high; port++)
    usable += !model_ports_has(c->held, (uint16_t)port) &&
              !model_ports_has(c->taken, (uint16_t)port);
  bool all_ports = m == &model_3_10 || m == &model_4_2 || m == &model_udp || c->own_range;
  bool odd = (c->high - c->low + 1) % 2;
  return usable <= (odd && !all_ports && c->high > c->low ? 1 : 0);
}

static void check_choice(const struct model *m, const struct model_call *c, const struct world *w,
                         const struct model_choice *choice)
{
  assert_int_equal(choice->looked_at, w->looks);
  if (!choice->port) {
    assert_true(may_fail(c, m));
    return;
  }
  assert_int_equal(choice->port, w->looked_at_last);
  assert_in_range(choice->port, c->low, c->high);
  assert_false(model_ports_has(c->held, choice->port) || model_ports_has(c->taken, choice->port));
}

static void a_choice_is_a_usable_port_of_the_range_and_fails_without_one(void **state)
{
  (void)state;
  static uint32_t table[MODEL_TABLE_LARGEST], same_table[MODEL_TABLE_LARGEST];
  uint64_t seed = 1;
  for (int round = 0; round < 400; round++)
    for (const struct model *const *m = models; *m; m++) {
      struct model_ports held = {0}, taken = {0};
      uint16_t low = (uint16_t)(1024 + next_random(&seed) % 60000);
      uint16_t high = (uint16_t)(low + next_random(&seed) % (round % 2 ? 16 : 4000));
      uint64_t busy = next_random(&seed) % 65; /* of 64 */
      for (uint32_t port = low; port <= high; port++)
        if (next_random(&seed) % 64 < busy)
          model_ports_add(next_random(&seed) % 2 ? &held : &taken, (uint16_t)port);
      struct model_call call = {.low = low,
                                .high = high,
                                .own_range = (*m)->own_range && *m != &model_5_18 && round % 3 == 0,
                                .reuse = round % 5 == 0,
                                .step_width = round % 7 == 0 ? 1 + round % 31 : 0,
                                .mask = 255,
                                .held = &held,
                                .taken = &taken,
                                .offset = next_random(&seed),
                                .draw = draw_random,
                                .look = note_look};
      struct model_choice choice, same;
      for (uint32_t i = 0; i < (*m)->table_size; i++)
        table[i] = same_table[i] = (uint32_t)next_random(&seed);
      struct world world = {.seed = next_random(&seed)}, same_world = world;
      call.draw_data = call.look_data = &world;
      (*m)->choose(&call, table, &choice);
      check_choice(*m, &call, &world, &choice);
      call.draw_data = call.look_data = &same_world;
      (*m)->choose(&call, same_table, &same);
      assert_memory_equal(&choice, &same, sizeof(choice));
      assert_memory_equal(table, same_table, (*m)->table_size * sizeof(*table));
    }
}

/* RFC 1321, A.5, for messages of one block. */
static void md5(const char *message, uint32_t digest[4])
{
  unsigned char bytes[64] = {0};
  size_t size = strlen(message);
  memcpy(bytes, message, size);
  bytes[size] = 0x80;
  bytes[56] = (unsigned char)(size * 8);
  bytes[57] = (unsigned char)(size * 8 >> 8);
  uint32_t block[16];
  for (int i = 0; i < 16; i++)
    block[i] = (uint32_t)bytes[4 * i] | (uint32_t)bytes[4 * i + 1] << 8 |
               (uint32_t)bytes[4 * i + 2] << 16 | (uint32_t)bytes[4 * i + 3] << 24;
  memcpy(digest, (uint32_t[]){0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}, 16);
  md5_transform(digest, block);
}

static void md5_is_that_of_rfc_1321(void **state)
{
  (void)state;
  static const struct {
    const char *message;
    uint32_t digest[4];
  } published[] = {
      {"", {0xd98c1dd4, 0x04b2008f, 0x980980e9, 0x7e42f8ec}},
      {"a", {0xb975c10c, 0xa8b6f1c0, 0xe299c331, 0x61267769}},
      {"abc", {0x98500190, 0xb04fd23c, 0x7d3f96d6, 0x727fe128}},
      {"message digest", {0x7d696bf9, 0x8d93b77c, 0x312f5a52, 0xd061f1aa}},
      {"abcdefghijklmnopqrstuvwxyz", {0xd7d3fcc3, 0x00e49261, 0x6c49fb7d, 0x3be167ca}},
  };
  for (size_t i = 0; i < sizeof(published) / sizeof(*published); i++) {
    uint32_t digest[4];
    md5(published[i].message, digest);
    assert_memory_equal(digest, published[i].digest, 16);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_vectors_hold),
      cmocka_unit_test(a_choice_is_a_usable_port_of_the_range_and_fails_without_one),
      cmocka_unit_test(md5_is_that_of_rfc_1321),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
