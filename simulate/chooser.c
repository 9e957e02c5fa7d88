// SPDX-License-Identifier: MIT
#include "simulate/chooser.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "kernel/md5.h"
#include "kernel/model_scan.h"
#include "policy/siphash.h"

/* SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014. */
static uint64_t next_random(uint64_t *state)
{
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

uint32_t chooser_draw(struct chooser *ch, uint32_t bound)
{
  uint32_t random = (uint32_t)(next_random(&ch->random) >> 32);
  return bound ? (uint32_t)((uint64_t)random * bound >> 32) : random;
}

bool chooser_begin(struct chooser *ch, const struct algorithm *a, uint64_t seed)
{
  uint32_t words = a->model ? a->model->table_size : 0;
  *ch = (struct chooser){.algorithm = a, .random = seed};
  for (int i = 0; i < 2; i++)
    ch->key[i] = next_random(&ch->random);
  for (int i = 0; i < 16; i++)
    ch->secret[i] = chooser_draw(ch, 0);
  ch->table = calloc(words ? words : 1, sizeof *ch->table);
  ch->entries = calloc(1, sizeof *ch->entries);
  ch->stamps = a->order == POLICY_LEAST_RECENT ? calloc(1, sizeof *ch->stamps) : NULL;
  if (!ch->table || !ch->entries || (a->order == POLICY_LEAST_RECENT && !ch->stamps))
    return false;
  for (uint32_t i = 0; words > 1 && i < words; i++) /* a single hint begins with 0 */
    ch->table[i] = chooser_draw(ch, 0);
  return true;
}

void chooser_end(struct chooser *ch)
{
  free(ch->table);
  free(ch->entries);
  free(ch->stamps);
}

void chooser_remember(struct chooser *ch, uint32_t hint)
{
  for (uint32_t i = 0; ch->algorithm->model && i < ch->algorithm->model->table_size; i++)
    ch->table[i] = hint;
}

/* --- the hash of a connection ---------------------------------------------------------------- */

/* secure_ipv4_port_ephemeral() before 7cd23e5300c1 (4.11). */
static uint32_t hash_by_md5(const struct chooser *ch, const struct flow *f)
{
  uint32_t state[4] = {f->source, f->destination, htons(f->port) ^ ch->secret[14], ch->secret[15]};
  md5_transform(state, ch->secret);
  return state[0];
}

/* Since then, the low half of it; since 5.18 all of it, with the time in the last word. */
static uint64_t hash_by_siphash(const struct chooser *ch, const struct flow *f, double now)
{
  uint64_t words[2] = {(uint64_t)f->destination << 32 | f->source,
                       (uint64_t)(now / 10) << 32 | htons(f->port)};
  return siphash(ch->key, words, 2);
}

static uint32_t hash_of_three(const struct chooser *ch, const struct flow *f)
{
  uint64_t word = (uint64_t)f->destination << 32 | f->source;
  return (uint32_t)siphash_with_tail(ch->key, &word, 1, htons(f->port), 4);
}

uint64_t chooser_hash(const struct chooser *ch, const struct flow *f, double now)
{
  const struct model *m = ch->algorithm->model;
  switch (m ? m->hash : MODEL_SIPHASH) {
  case MODEL_MD5: return hash_by_md5(ch, f);
  case MODEL_SIPHASH: return m ? hash_of_three(ch, f) : hash_by_siphash(ch, f, 0);
  case MODEL_SIPHASH_10_SECONDS: return hash_by_siphash(ch, f, now);
  case MODEL_NO_HASH: break;
  }
  return 0;
}

/* --- a choice -------------------------------------------------------------------------------- */

/* As a rule of a policy offers its ports. */
static void choose_by_order(struct chooser *ch, const struct model_call *c,
                            struct model_choice *choice)
{
  struct order_state state = {&ch->words, ch->entries, ch->stamps};
  struct order_input in = {.size = model_range_size(c),
                           .flow = c->offset,
                           .other_flow = c->offset * UINT64_C(0x9e3779b97f4a7c15),
                           .random = next_random(&ch->random),
                           .state = &state};
  struct order_walk walk;
  uint32_t index;
  *choice = (struct model_choice){.passes = 1, .size = in.size};
  order_begin(&walk, ch->algorithm->order, &in);
  while (order_next(&walk, &index)) {
    if (choice->looked_at == 0)
      choice->start = index;
    if (model_try(c, c->low + index, choice)) {
      order_settle(&walk, index);
      return;
    }
  }
}

static uint32_t draw(void *data, uint32_t bound)
{
  return chooser_draw(data, bound);
}

void chooser_choose(struct chooser *ch, const struct model_call *c, struct model_choice *choice)
{
  if (!ch->algorithm->model) {
    choose_by_order(ch, c, choice);
    return;
  }
  struct model_call call = *c;
  call.draw = draw;
  call.draw_data = ch;
  ch->algorithm->model->choose(&call, ch->table, choice);
}
