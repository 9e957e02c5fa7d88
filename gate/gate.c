// SPDX-License-Identifier: MIT
#include "gate/gate.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gate/calls.h"
#include "gate/clock.h"
#include "gate/filter.h"
#include "gate/inherited.h"

#if (defined __x86_64__ && !defined __ILP32__) || defined __i386__ || defined __aarch64__
long gate_raw(long number, long a, long b, long c, long d, long e, long f)
    __attribute__((visibility("hidden")));
#else
static long gate_raw(long number, long a, long b, long c, long d, long e, long f)
{
  long result = syscall(number, a, b, c, d, e, f);
  return result == -1 ? -errno : result;
}
#endif

/* --- what is known of filters ------------------------------------------------------------------ */

enum filter_state { FILTER_DROPPED, FILTER_CHANGING, FILTER_LIVE };

struct gate_filter {
  struct gate_filter *next;
  atomic_int state;  /* enum filter_state */
  uint32_t room;     /* instructions that fit */
  uint32_t length;   /* with none, nothing passes */
  const void *guest; /* the thread that lent its memory to a vfork child, of which it is; or NULL */
  struct sock_filter program[];
};

static bool is_live(const struct gate_filter *f)
{
  return atomic_load_explicit(&f->state, memory_order_acquire) == FILTER_LIVE;
}

enum posture {
  UNASKED, /* whether there are filters from before the start */
  OPEN,    /* there are none */
  FILTERED,
};
static atomic_int posture; /* enum posture */

static _Atomic(struct gate_filter *) filters; /* those that were seen to come down */
static _Atomic uint64_t refused_before;       /* by those that were there before, a map */
static atomic_uint count_before;              /* how many those are */
static atomic_uint unknown;                   /* how many more there are */
static _Atomic(_Atomic uint32_t *) watched;

static int stance(void)
{
  return atomic_load_explicit(&posture, memory_order_seq_cst); /* see gate_wait() */
}

/* More than once does no harm: each time the answer is the same. */
static void ask_before(void)
{
  struct inherited i = inherited_ask();
  int unasked = UNASKED;
  atomic_store_explicit(&refused_before, i.refused, memory_order_relaxed);
  atomic_store_explicit(&count_before, i.count, memory_order_relaxed);
  if (i.unknown)
    atomic_store_explicit(&unknown, 1, memory_order_relaxed);
  int now = i.unknown || i.count ? FILTERED : OPEN;
  atomic_compare_exchange_strong_explicit(&posture, &unasked, now, memory_order_release,
                                          memory_order_relaxed);
}

static uint32_t ask_filters(const struct seccomp_data *call)
{
  uint32_t answer = SECCOMP_RET_ALLOW;
  const struct gate_filter *f = atomic_load_explicit(&filters, memory_order_acquire);
  for (; f; f = f->next)
    if (is_live(f))
      answer = filter_worse(answer, filter_run(f->program, f->length, call));
  return answer;
}

static bool is_refused_by_those_before(const struct seccomp_data *call)
{
  uint64_t map = atomic_load_explicit(&refused_before, memory_order_relaxed);
  if (map && calls_refused(map, call))
    return true;
  return atomic_load_explicit(&unknown, memory_order_relaxed) &&
         !(calls_flags_of(call->nr) & CALL_LEAST);
}

static bool would_pass(const struct seccomp_data *call)
{
  return !is_refused_by_those_before(call) && filter_passes(ask_filters(call));
}

/* --- calls that are being made ----------------------------------------------------------------- */

/* A thread may install a filter for all threads (SECCOMP_FILTER_FLAG_TSYNC) between another's question
 * and its call: it waits first, for the calls that are counted here. Threads are told apart by the
 * addresses of their stacks; two may share a counter. */
#define UNDER_WAY 16
static struct {
  _Alignas(64) atomic_uint calls; /* a cache line each */
} under_way[UNDER_WAY];

static atomic_uint *calls_of_this_thread(void)
{
  uintptr_t here = (uintptr_t)__builtin_frame_address(0);
  return &under_way[(here >> 16 ^ here >> 20 ^ here >> 24) % UNDER_WAY].calls;
}

static void pause_a_little(void)
{
#if defined __x86_64__ || defined __i386__
  __builtin_ia32_pause();
#else
  atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* A handler may have jumped out of a call, which then never ends. 2^21 pauses are 6 to 100 ms. */
void gate_wait(void)
{
  int patience = 1 << 21;
  atomic_thread_fence(memory_order_seq_cst);
  for (size_t i = 0; i < UNDER_WAY; i++)
    while (patience > 0 && atomic_load_explicit(&under_way[i].calls, memory_order_acquire)) {
      pause_a_little();
      patience--;
    }
}

void gate_forked(void)
{
  for (size_t i = 0; i < UNDER_WAY; i++)
    atomic_store_explicit(&under_way[i].calls, 0, memory_order_relaxed);
}

/* --- the call ---------------------------------------------------------------------------------- */

long gate_make(long number, long a, long b, long c, long d, long e, long f)
{
  long result = gate_raw(number, a, b, c, d, e, f);
  if (result >= 0 || result < -GATE_REFUSED)
    return result;
  errno = (int)-result;
  return -1;
}

static long make_watched(long number, long a, long b, long c, long d, long e, long f)
{
  _Atomic uint32_t *word = atomic_load_explicit(&watched, memory_order_acquire);
  if (word)
    atomic_store_explicit(word, (uint32_t)number, memory_order_relaxed);
  long result = gate_make(number, a, b, c, d, e, f);
  if (word)
    atomic_store_explicit(word, 0, memory_order_relaxed);
  return result;
}

static __attribute__((noinline)) long ask_and_make(long number, long a, long b, long c, long d,
                                                   long e, long f)
{
  if (stance() == UNASKED) {
    if (calls_flags_of(number) & CALL_LOADER)
      return gate_make(number, a, b, c, d, e, f);
    ask_before();
  }
  struct seccomp_data call = calls_data(number, a, b, c, d, e, f);
  atomic_thread_fence(memory_order_seq_cst); /* see gate_wait() */
  if (stance() != OPEN && !would_pass(&call)) {
    errno = GATE_REFUSED;
    return -1;
  }
  return make_watched(number, a, b, c, d, e, f);
}

long gate_call(long number, long a, long b, long c, long d, long e, long f)
{
  atomic_uint *calls = calls_of_this_thread();
  atomic_fetch_add_explicit(calls, 1, memory_order_seq_cst);
  long result = __builtin_expect(stance() == OPEN, 1) ? gate_make(number, a, b, c, d, e, f)
                                                      : ask_and_make(number, a, b, c, d, e, f);
  atomic_fetch_sub_explicit(calls, 1, memory_order_release);
  return result;
}

bool gate_lets(long number, long a, long b, long c, long d, long e, long f)
{
  if (gate_is_open())
    return true;
  struct seccomp_data call = calls_data(number, a, b, c, d, e, f);
  return would_pass(&call);
}

bool gate_has_asked(void)
{
  return stance() != UNASKED;
}

bool gate_is_open(void)
{
  if (stance() == UNASKED)
    ask_before();
  return stance() == OPEN;
}

void gate_watch(_Atomic uint32_t *word)
{
  atomic_store_explicit(&watched, word, memory_order_release);
}

/* --- a filter that comes down ------------------------------------------------------------------ */

bool gate_lets_record(const struct sock_fprog *filter)
{
  for (unsigned i = 0; i < calls_count(); i++) {
    struct seccomp_data call = calls_shape(i);
    if ((calls_flags(i) & CALL_RECORDS) &&
        !filter_passes(filter_run(filter->filter, filter->len, &call)))
      return false;
  }
  return true;
}

/* For what this process executes. */
static void tell(void)
{
  uint64_t map = 0;
  unsigned count = atomic_load_explicit(&count_before, memory_order_relaxed);
  const struct gate_filter *f = atomic_load_explicit(&filters, memory_order_acquire);
  for (; f; f = f->next)
    count += is_live(f);
  for (unsigned i = 0; i < calls_count(); i++) {
    struct seccomp_data call = calls_shape(i);
    if (!would_pass(&call))
      map |= UINT64_C(1) << i;
  }
  inherited_tell(count, map, atomic_load_explicit(&unknown, memory_order_relaxed) != 0);
}

static _Thread_local const void *lent;

static struct gate_filter *begin(struct gate_filter *f)
{
  f->guest = lent;
  atomic_store_explicit(&f->state, FILTER_LIVE, memory_order_release);
  atomic_store_explicit(&posture, FILTERED, memory_order_release);
  tell();
  return f;
}

static void add(struct gate_filter *f)
{
  f->next = atomic_load_explicit(&filters, memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(&filters, &f->next, f, memory_order_release,
                                                memory_order_relaxed))
    ;
}

/* Stands for each filter that could not be looked at. */
static struct gate_filter not_seen;

static void before_another(void)
{
  if (stance() == UNASKED)
    ask_before();
  gate_clock_note();
}

struct gate_filter *gate_keep_unknown(void)
{
  before_another();
  atomic_fetch_add_explicit(&unknown, 1, memory_order_relaxed);
  atomic_store_explicit(&posture, FILTERED, memory_order_release);
  tell();
  return &not_seen;
}

/* A program may try in vain again and again: the memory of one that was dropped serves the next. Who
 * runs it in another thread meanwhile has an answer of both, once. */
static struct gate_filter *reuse(uint32_t length)
{
  struct gate_filter *f = atomic_load_explicit(&filters, memory_order_acquire);
  for (; f; f = f->next) {
    int dropped = FILTER_DROPPED;
    if (f->room >= length &&
        atomic_compare_exchange_strong_explicit(&f->state, &dropped, FILTER_CHANGING,
                                                memory_order_acquire, memory_order_relaxed))
      return f;
  }
  return NULL;
}

static struct gate_filter *make_room(uint32_t length)
{
  struct gate_filter *f = reuse(length);
  if (f)
    return f;
  size_t size = sizeof *f + length * sizeof *f->program;
  f = (void *)GATE_CALL(CALL_mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                        -1);
  if (f == MAP_FAILED)
    return NULL;
  f->room = length;
  atomic_store_explicit(&f->state, FILTER_CHANGING, memory_order_relaxed);
  add(f);
  return f;
}

struct gate_filter *gate_keep(const struct sock_fprog *filter)
{
  before_another();
  struct gate_filter *f = make_room(filter->len);
  if (!f)
    return gate_keep_unknown();
  f->length = filter->len;
  memcpy(f->program, filter->filter, filter->len * sizeof *filter->filter);
  return begin(f);
}

struct gate_filter *gate_keep_strict(void)
{
  static struct gate_filter strict;
  static atomic_bool added;
  before_another();
  if (!atomic_exchange_explicit(&added, true, memory_order_relaxed))
    add(&strict);
  return begin(&strict);
}

void gate_drop(struct gate_filter *f)
{
  if (f == &not_seen)
    atomic_fetch_sub_explicit(&unknown, 1, memory_order_relaxed);
  else
    atomic_store_explicit(&f->state, FILTER_DROPPED, memory_order_release);
  tell();
}

void gate_lend(const void *thread)
{
  lent = thread;
}

void gate_take_back(const void *thread)
{
  bool any = false;
  struct gate_filter *f = atomic_load_explicit(&filters, memory_order_acquire);
  lent = NULL;
  for (; f; f = f->next)
    if (is_live(f) && f->guest == thread) {
      atomic_store_explicit(&f->state, FILTER_DROPPED, memory_order_release);
      any = true;
    }
  if (any)
    tell();
}
