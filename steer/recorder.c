// SPDX-License-Identifier: MIT
#include "steer/recorder.h"

#include <pthread.h>
#include <stdatomic.h>

#include "gate/gate.h"
#include "record/sys.h"
#include "record/text.h"
#include "record/write.h"
#include "steer/identity.h"
#include "steer/log.h"
#include "steer/place.h"
#include "steer/self.h"
#include "steer/stray.h"

struct recorder_config recorder_config;

/* A process's claim to its row: pid << 32 | row + 1, kept in the word that a fork wipes. */
static uint64_t pack(uint32_t pid, uint32_t row)
{
  return (uint64_t)pid << 32 | (row + 1);
}

static uint32_t pid_of(uint64_t claim)
{
  return (uint32_t)(claim >> 32);
}

static uint32_t row_of(uint64_t claim)
{
  return (uint32_t)claim - 1;
}

/* Takes a row. A signal handler or a thread may be faster: then it is that one's. */
static uint64_t take_row(const struct record_map *map)
{
  struct record_identity who;
  identity_tell(&who);
  uint32_t row = record_reserve(map);
  uint64_t mine = pack(who.pid, row), none = 0;
  record_describe(map, row, &who);
  if (!atomic_compare_exchange_strong_explicit(self_word(), &none, mine, memory_order_acq_rel,
                                               memory_order_acquire)) {
    record_unreserve(map, row);
    return none;
  }
  record_mark(map, row, RECORD_RUNNING);
  gate_watch(record_is_shared_row(map, row) ? NULL : &record_row(map, row)->in_call);
  return mine;
}

/* The claim of this process, made now if it has none. */
static uint64_t claim(const struct record_map *map)
{
  uint64_t c = atomic_load_explicit(self_word(), memory_order_acquire);
  if (c && self_word_is_inherited() && pid_of(c) != self_pid()) {
    atomic_compare_exchange_strong_explicit(self_word(), &c, 0, memory_order_relaxed,
                                            memory_order_relaxed);
    c = 0;
  }
  return c ? c : take_row(map);
}

/* The configuration is whole. */
static atomic_bool ready;

bool recorder_wanted(void)
{
  return atomic_load_explicit(&ready, memory_order_acquire) &&
         (!place_is_hopeless() || log_is_on());
}

void recorder_write(struct record_event *e, const struct record_steering *s)
{
  self_begin(false);
  const struct record_map *map = place_recording();
  uint64_t c = map ? claim(map) : 0;
  e->pid = map ? pid_of(c) : self_pid();
  e->tid = self_tid(e->pid);
  if (map)
    record_write(map, row_of(c), e, s);
  else
    record_steer(e, s);
  if (log_is_on() && !(recorder_config.log_only_failed && e->result != RECORD_FAILED))
    log_event(e, recorder_config.name, !s ? NULL : s->chooser ? s->chooser : s->rule);
}

void recorder_outside(const char *rule, uint32_t count)
{
  if (!recorder_wanted())
    return;
  self_begin(false);
  const struct record_map *map = place_recording();
  if (map)
    record_count_outside(map, row_of(claim(map)), rule, count);
}

void recorder_prepare(const struct sock_fprog *filter)
{
  if (!recorder_wanted())
    return;
  self_begin(false);
  bool forbids = !filter || !gate_lets_record(filter);
  const struct record_map *map = forbids ? place_recording() : place_current();
  if (!map || !forbids)
    return;
  identity_keep_now(map);
  claim(map);
}

void recorder_mark(enum record_state state)
{
  const struct record_map *map = place_current();
  uint64_t c = atomic_load_explicit(self_word(), memory_order_acquire);
  bool may_ask = state != RECORD_EXITED;
  if (map && c && !record_is_shared_row(map, row_of(c)) && !self_borrows(pid_of(c), may_ask))
    record_mark(map, row_of(c), state);
}

void recorder_moved(uint64_t network)
{
  const struct record_map *map = place_current();
  uint64_t c = atomic_load_explicit(self_word(), memory_order_acquire);
  if (map && c && pid_of(c) == self_pid() && !record_is_shared_row(map, row_of(c)))
    record_moved(map, row_of(c), network);
}

/* What glibc's pthread_atfork() calls, which programs link statically. musl has the other alone. Weak,
 * for either refuses a library that needs what it lacks. */
extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *)
    __attribute__((weak));
#pragma weak pthread_atfork

static void forked(void)
{
  gate_forked();
  gate_watch(NULL); /* the row is its parent's */
  self_forked();
  identity_forked();
  stray_forked();
}

static void watch_forks(void)
{
  if (__register_atfork)
    __register_atfork(identity_forking, NULL, forked, NULL);
  else if (pthread_atfork)
    pthread_atfork(identity_forking, NULL, forked);
}

/* Of a recording that is only made at the first event: the user named its place, or its size. */
static bool may_complain_later(void)
{
  return !place_current() && !place_is_hopeless() &&
         (recorder_config.record[0] || recorder_config.events_asked);
}

void recorder_start(void)
{
  /* Before main(), because afterwards the program may have locked itself in (seccomp, chroot,
   * another user). Any other place is looked at when there is something to record. */
  if (!recorder_config.off && text_begins(recorder_config.record, RECORD_PREPARED)) {
    place_attach();
    self_begin(true);
    if (place_current())
      identity_keep(place_current());
  }
  if (may_complain_later())
    log_keep_stderr();
  log_start(recorder_config.log);
  atomic_store_explicit(&ready, true, memory_order_release);
  if (recorder_wanted())
    watch_forks();
}
