// SPDX-License-Identifier: MIT
#include "record/write.h"

#include <string.h>

#include "record/duration.h"
#include "record/hash.h"
#include "record/table.h"

static void add(record_u64 *counter, uint64_t n)
{
  atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void raise_to(record_u64 *maximum, uint64_t value)
{
  uint64_t old = atomic_load_explicit(maximum, memory_order_relaxed);
  while (old < value && !atomic_compare_exchange_weak_explicit(
                            maximum, &old, value, memory_order_relaxed, memory_order_relaxed))
    ;
}

/* --- the ring ---------------------------------------------------------------------------
 *
 * Event i goes to cell i % count. Its writer takes the cell by one CAS of `seq` from an even
 * (whole) value to its own odd one, stores the words, and releases the even value. There is no
 * loop: a cell that is odd is being written by somebody who may be the very thread that this
 * signal handler interrupted, or dead, so the event is dropped and counted as lost. A cell
 * with a newer event than i is left alone for the same reason.
 *
 * The fence after the CAS keeps the words from being seen before the odd value; a reader
 * has the other half (read.c). Each index ends as exactly one of whole, overwritten, lost
 * or torn, save one for a thread killed between two of the steps below.
 */
static void ring_put(const struct record_map *map, uint32_t process, const struct record_event *e)
{
  struct record_process *row = record_row(map, process);
  uint64_t i = atomic_fetch_add_explicit(&map->header->head, 1, memory_order_relaxed);
  struct record_cell *cell = &map->cells[i & (map->event_count - 1)];
  add(&row->events_written, 1);

  uint64_t old = atomic_load_explicit(&cell->seq, memory_order_relaxed);
  uint64_t old_value = old & RECORD_SEQ_MASK;
  uint64_t writing = record_seq(process, 2 * i + 1);
  if ((old_value & 1) || old_value > 2 * i ||
      !atomic_compare_exchange_strong_explicit(&cell->seq, &old, writing, memory_order_relaxed,
                                               memory_order_relaxed)) {
    add(&row->events_lost, 1);
    return;
  }
  atomic_thread_fence(memory_order_release);
  uint64_t old_process = old >> RECORD_SEQ_BITS;
  if (old_value && old_process < map->process_count)
    add(&record_row(map, (uint32_t)old_process)->events_overwritten, 1);

  uint64_t words[RECORD_EVENT_WORDS];
  memcpy(words, e, sizeof words);
  for (int w = 0; w < RECORD_EVENT_WORDS; w++)
    atomic_store_explicit(&cell->words[w], words[w], memory_order_relaxed);
  atomic_store_explicit(&cell->seq, record_seq(process, 2 * i + 2), memory_order_release);
}

/* --- destinations ------------------------------------------------------------------------ */

struct destination_key {
  uint64_t address[2];
  uint32_t scope, process, port, transport;
};

static struct destination_key key_of(uint32_t process, const struct record_event *e)
{
  struct destination_key key = {
      .scope = e->peer_scope, .process = process, .port = e->peer_port, .transport = e->transport};
  memcpy(key.address, e->peer, sizeof key.address);
  return key;
}

static uint64_t tag_of(const struct destination_key *key)
{
  uint64_t h = hash_mix(key->address[0]);
  h = hash_mix(h ^ key->address[1]);
  h = hash_mix(h ^ ((uint64_t)key->scope << 32 | key->process));
  h = hash_mix(h ^ ((uint64_t)key->transport << 32 | key->port));
  return h ? h : 1;
}

static void store_key(struct record_destination *row, const struct destination_key *key)
{
  atomic_store_explicit(&row->address[0], key->address[0], memory_order_relaxed);
  atomic_store_explicit(&row->address[1], key->address[1], memory_order_relaxed);
  atomic_store_explicit(&row->scope, key->scope, memory_order_relaxed);
  atomic_store_explicit(&row->process, key->process, memory_order_relaxed);
  atomic_store_explicit(&row->port, key->port, memory_order_relaxed);
  atomic_store_explicit(&row->transport, key->transport, memory_order_relaxed);
}

/* The row of this destination, or NULL where the table is full. */
static struct record_destination *find(const struct record_map *map,
                                       const struct destination_key *key)
{
  const struct record_table table = {map->destinations, RECORD_DESTINATION_STRIDE,
                                     map->destination_count, &map->header->destinations_used};
  struct record_destination *row = record_table_row(&table, tag_of(key));
  if (row)
    store_key(row, key);
  return row;
}

/* Most bits are there already, and a load does not take the line from other processors. */
static void or_into(record_u32 *word, uint32_t bits)
{
  if ((atomic_load_explicit(word, memory_order_relaxed) & bits) != bits)
    atomic_fetch_or_explicit(word, bits, memory_order_relaxed);
}

static void sketch_port(struct record_destination *row, uint16_t port)
{
  uint64_t h = hash_mix(port + UINT64_C(0x9e3779b97f4a7c15));
  uint32_t bitmap = h % RECORD_SKETCH_BITMAPS;
  uint32_t zeros = (uint32_t)__builtin_ctzll(h >> 7 | 1u << 15);
  uint32_t bit = (bitmap & 1 ? UINT32_C(0x10000) : 1) << zeros;
  or_into(&row->sketch[bitmap / 2], bit);
}

static void count_destination(const struct record_map *map, uint32_t process,
                              const struct record_event *e)
{
  struct destination_key key = key_of(process, e);
  struct record_destination *row = find(map, &key);
  if (!row) {
    add(&record_row(map, process)->destinations_merged, 1);
    return;
  }
  add(&row->connects, 1);
  if (e->result == RECORD_FAILED)
    add(&row->failed, 1);
  if (e->local_port)
    sketch_port(row, e->local_port);
}

/* --- rules ------------------------------------------------------------------------------- */

struct rule_key {
  uint64_t name[RECORD_RULE_NAME / 8];
  uint32_t process;
};

static struct rule_key rule_key_of(uint32_t process, const char *name)
{
  struct rule_key key = {.process = process};
  char padded[RECORD_RULE_NAME] = "";
  for (int i = 0; i < RECORD_RULE_NAME - 1 && name[i]; i++)
    padded[i] = name[i];
  memcpy(key.name, padded, sizeof key.name);
  return key;
}

static uint64_t rule_tag_of(const struct rule_key *key)
{
  uint64_t h = hash_mix(key->process + UINT64_C(1));
  for (int i = 0; i < RECORD_RULE_NAME / 8; i++)
    h = hash_mix(h ^ key->name[i]);
  return h ? h : 1;
}

/* It is there already but for the first time, and a load leaves the tag's line, in which no counter
 * lies, to all processors. */
static void store_rule_key(struct record_rule *row, const struct rule_key *key)
{
  if (atomic_load_explicit(&row->process, memory_order_relaxed) != key->process)
    atomic_store_explicit(&row->process, key->process, memory_order_relaxed);
  for (int i = 0; i < RECORD_RULE_NAME / 8; i++)
    if (atomic_load_explicit(&row->name[i], memory_order_relaxed) != key->name[i])
      atomic_store_explicit(&row->name[i], key->name[i], memory_order_relaxed);
}

static struct record_rule *find_rule(const struct record_map *map, uint32_t process,
                                     const char *name)
{
  const struct record_table table = {map->rules, RECORD_RULE_STRIDE, map->rule_count,
                                     &map->header->rules_used};
  const struct rule_key key = rule_key_of(process, name);
  struct record_rule *row = record_table_row(&table, rule_tag_of(&key));
  if (row)
    store_rule_key(row, &key);
  return row;
}

static void add_if(record_u64 *counter, bool raise)
{
  if (raise)
    add(counter, 1);
}

static uint32_t number_of(const struct record_map *map, const struct record_rule *row)
{
  return (uint32_t)(((const unsigned char *)row - map->rules) / RECORD_RULE_STRIDE) + 1;
}

/* Returns the row's number plus 1, or 0 where the table is full. */
static uint32_t count_rule(const struct record_map *map, uint32_t process,
                           const struct record_steering *s)
{
  struct record_rule *row = find_rule(map, process, s->rule);
  if (!row) {
    add(&record_row(map, process)->rules_merged, 1);
    return 0;
  }
  add(&row->matched, 1);
  add_if(&row->claimed, s->claimed);
  add_if(&row->exhausted, s->exhausted);
  add_if(&row->kernel, s->kernel);
  add_if(&row->outside, s->outside);
  add_if(&row->stuck, s->stuck);
  add_if(&row->forbidden, s->forbidden);
  if (s->tries)
    add(&row->tries, s->tries);
  return number_of(map, row);
}

void record_count_outside(const struct record_map *map, uint32_t process, const char *rule,
                          uint32_t count)
{
  struct record_rule *row = find_rule(map, process, rule);
  if (row)
    add(&row->outside, count);
}

/* The number of the row of a rule that was counted before; 0 without a name. */
static uint32_t row_of_rule(const struct record_map *map, uint32_t process, const char *name)
{
  const struct record_rule *row = name[0] ? find_rule(map, process, name) : NULL;
  return row ? number_of(map, row) : 0;
}

void record_steer(struct record_event *e, const struct record_steering *s)
{
  e->rule = 0;
  e->tries = s ? s->tries : 0;
  e->refused_low = s ? s->refused_low : 0;
  e->refused_high = s ? s->refused_high : 0;
  e->via = s ? s->via : RECORD_VIA_NONE;
  e->unsteered = s ? s->unsteered : RECORD_STEERED;
}

/* --- the counters ------------------------------------------------------------------------ */

static record_u64 *call_counter(struct record_process *row, unsigned call)
{
  switch (call) {
  case RECORD_CONNECT: return &row->calls_connect;
  case RECORD_BIND: return &row->calls_bind;
  case RECORD_LISTEN: return &row->calls_listen;
  default: return &row->calls_send;
  }
}

static void count(struct record_process *row, const struct record_event *e)
{
  record_u64 *const results[] = {&row->results_ok, &row->results_in_progress, &row->results_failed};
  record_u64 *const choosers[] = {&row->chosen_by_kernel, &row->chosen_by_program,
                                  &row->chosen_by_policy};
  add(call_counter(row, e->call), 1);
  add(results[e->result], 1);
  add(choosers[e->chosen_by], 1);
  if (e->result == RECORD_FAILED)
    add(&row->errors[e->error < RECORD_ERRNOS ? e->error : 0], 1);
  add(&row->durations[duration_bucket(e->duration)], 1);
  raise_to(&row->duration_max, e->duration);
}

static void count_port(struct record_process *row, uint16_t port)
{
  uint64_t bit = UINT64_C(1) << (port % 64);
  record_u64 *word = &row->ports[port / 64];
  if (!(atomic_load_explicit(word, memory_order_relaxed) & bit))
    atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
}

static bool has_destination(const struct record_event *e)
{
  return e->call != RECORD_BIND && e->call != RECORD_LISTEN;
}

void record_write(const struct record_map *map, uint32_t process, struct record_event *e,
                  const struct record_steering *s)
{
  struct record_process *row = record_row(map, process);
  record_steer(e, s);
  count(row, e);
  add_if(&row->forbidden_local_port, e->forbidden);
  add_if(&row->forbidden_steering, s && s->forbidden);
  if (s)
    e->rule = count_rule(map, process, s);
  if (s && s->chooser)
    e->rule = row_of_rule(map, process, s->chooser);
  if (has_destination(e)) {
    if (e->local_port)
      count_port(row, e->local_port);
    count_destination(map, process, e);
  }
  ring_put(map, process, e);
}
