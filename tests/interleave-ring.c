// SPDX-License-Identifier: MIT
//
// interleave-ring [PREEMPTIONS]: every way in which the ring's writers and a reader can come into
// each other's way, with at most so many preemptions (default 2) and one kill. It is record/'s own
// code that runs: each access to what is shared is a step, before which another thread of the
// model may go on for good or until it is preempted itself.
//
// What this cannot show: the steps are seen by all in one order, so it says nothing of the memory
// orders. These rest on write.c's comment, and on stress-ring.c on machines that are not so strict.
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <ucontext.h>
#include <unistd.h>

#include "record/layout.h"

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#define UNDER_TSAN __has_feature(thread_sanitizer)
#else
#define UNDER_TSAN 0
#endif

static void step(void);
static void check_advance(uint64_t old, uint64_t new);

static uint32_t load32(const record_u32 *p)
{
  step();
  return *p;
}

static uint64_t load64(const record_u64 *p)
{
  step();
  return *p;
}

static void store32(record_u32 *p, uint32_t value)
{
  step();
  *p = value;
}

static void store64(record_u64 *p, uint64_t value)
{
  step();
  *p = value;
}

static uint64_t add64(record_u64 *p, uint64_t n)
{
  step();
  return atomic_fetch_add(p, n);
}

static uint32_t or32(record_u32 *p, uint32_t bits)
{
  step();
  return atomic_fetch_or(p, bits);
}

static uint64_t or64(record_u64 *p, uint64_t bits)
{
  step();
  return atomic_fetch_or(p, bits);
}

static bool cas64(record_u64 *p, uint64_t *old, uint64_t new)
{
  step();
  bool done = atomic_compare_exchange_strong(p, old, new);
  if (done)
    check_advance(*old, new);
  return done;
}

static ssize_t pread_step(int fd, void *to, size_t size, off_t at);

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_or_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak_explicit
#undef atomic_thread_fence
#define atomic_load_explicit(p, order)                                                             \
  _Generic((p), record_u32 *: load32, const record_u32 *: load32, record_u64 *: load64,            \
           const record_u64 *: load64)(p)
#define atomic_store_explicit(p, value, order)                                                     \
  _Generic((p), record_u32 * : store32, record_u64 * : store64)(p, value)
#define atomic_fetch_add_explicit(p, n, order) add64(p, n)
#define atomic_fetch_or_explicit(p, bits, order)                                                   \
  _Generic((p), record_u32 * : or32, record_u64 * : or64)(p, bits)
#define atomic_compare_exchange_strong_explicit(p, old, new, yes, no) cas64(p, old, new)
#define atomic_compare_exchange_weak_explicit(p, old, new, yes, no) cas64(p, old, new)
#define atomic_thread_fence(order) ((void)0)
#define pread pread_step
#include "record/read.c"
#include "record/write.c"
#undef pread

/* --- the recording -------------------------------------------------------------------------- */

#define CELLS 2
#define WRITERS 2
#define EVENTS 3 /* of a writer, at most */

static struct {
  struct record_header header;
  alignas(RECORD_HEADER_SIZE) unsigned char rows[WRITERS][RECORD_PROCESS_STRIDE];
  struct record_cell cells[CELLS];
} file;

static const struct record_map map = {.header = &file.header,
                                      .processes = file.rows[0],
                                      .cells = file.cells,
                                      .process_count = WRITERS,
                                      .event_count = CELLS};
static struct record_cell scratch[3 * RECORD_READ_MAX];
static struct record_reader reader;

/* As the kernel may copy: word by word. */
static ssize_t pread_step(int fd, void *to, size_t size, off_t at)
{
  const char *from = (const char *)&file + at;
  (void)fd;
  for (size_t i = 0; i < size; i += 8) {
    step();
    memcpy((char *)to + i, from + i, size - i < 8 ? size - i : 8);
  }
  return (ssize_t)size;
}

static void clear(void)
{
  memset(&file.header, 0, sizeof file.header);
  memset(file.cells, 0, sizeof file.cells);
  for (uint32_t i = 0; i < WRITERS; i++) {
    struct record_process *row = record_row(&map, i);
    row->events_written = row->events_overwritten = row->events_lost = 0;
  }
}

static struct record_event event_of(uint32_t writer, uint32_t n)
{
  struct record_event e;
  memset(&e, (int)(1 + writer * EVENTS + n), sizeof e);
  return e;
}

static bool is_event(const struct record_read_event *r)
{
  const unsigned char *bytes = (const void *)&r->event;
  for (size_t i = 1; i < sizeof r->event; i++)
    if (bytes[i] != bytes[0])
      return false;
  return bytes[0] >= 1 && (bytes[0] - 1u) / EVENTS == r->process;
}

/* --- what runs ------------------------------------------------------------------------------ */

struct scene {
  const char *what;
  unsigned events[WRITERS]; /* that each writer writes */
  unsigned reads;           /* that the reader makes of the whole ring */
  unsigned preemptions;     /* more or fewer than asked for */
};

#define THREADS (WRITERS + 1)
#define STACK 65536

static const struct scene *scene;
static ucontext_t scheduler, contexts[THREADS];
static unsigned steps, wrong;
static const char *problem;

static void finding(const char *what)
{
  wrong++;
  problem = what;
}

/* A cell is taken by an event that is later than what it holds. */
static void check_advance(uint64_t old, uint64_t new)
{
  if ((new &RECORD_SEQ_MASK) <= (old & RECORD_SEQ_MASK))
    finding("an event replaced a later one");
}

static void write_events(uint32_t writer)
{
  for (uint32_t n = 0; n < scene->events[writer]; n++) {
    struct record_event e = event_of(writer, n);
    ring_put(&map, writer, &e);
  }
}

static void read_events(void)
{
  struct record_read_event out[CELLS];
  for (unsigned n = 0; n < scene->reads; n++) {
    uint64_t head = record_head(&reader), next = record_oldest(&reader, head);
    for (size_t got; next < head; next += got) {
      got = record_read_events(&reader, next, CELLS, out);
      for (size_t i = 0; i < got; i++)
        if (out[i].fate == RECORD_WHOLE && !is_event(&out[i]))
          finding("a torn event was read as a whole one");
    }
  }
}

/* --- the schedule --------------------------------------------------------------------------- */

/* Before step number `at`, `thread` goes on; the one that ran until then is killed, or not. */
struct decision {
  unsigned at, thread;
  bool kills;
};

#define MOST 8
static struct decision plan[MOST];
static unsigned planned, next_decision, running;
static unsigned ended[THREADS]; /* the step before which it ended or was killed; UINT32_MAX: not */
static bool killed;
static unsigned char ran[4096]; /* who took each step */

static void step(void)
{
  if (running == THREADS) /* what is looked at afterwards */
    return;
  while (next_decision < planned && plan[next_decision].at == steps)
    swapcontext(&contexts[running], &scheduler);
  if (steps == sizeof ran)
    abort();
  ran[steps++] = (unsigned char)running;
}

static void body(int thread)
{
  if (thread == WRITERS)
    read_events();
  else
    write_events((uint32_t)thread);
  ended[thread] = steps;
  setcontext(&scheduler);
}

static void prepare_thread(int thread)
{
  static char stacks[THREADS][STACK];
  ucontext_t *context = &contexts[thread];
  getcontext(context);
  context->uc_stack.ss_sp = stacks[thread];
  context->uc_stack.ss_size = STACK;
  makecontext(context, (void (*)(void))(void *)body, 1, thread);
  ended[thread] = UINT32_MAX;
}

static void prepare(void)
{
  for (int i = 0; i < THREADS; i++)
    prepare_thread(i);
  clear();
  steps = next_decision = 0;
  killed = false;
}

static void follow_decision(void)
{
  const struct decision *d = &plan[next_decision++];
  if (d->kills) {
    ended[running] = steps;
    killed = true;
  }
  running = d->thread;
}

/* Runs the threads by the plan, and where it says nothing the first that can. */
static void run(void)
{
  prepare();
  running = 0;
  for (;;) {
    if (next_decision < planned && plan[next_decision].at == steps)
      follow_decision();
    else
      for (running = 0; running < THREADS && ended[running] != UINT32_MAX;)
        running++;
    if (running == THREADS)
      return;
    swapcontext(&scheduler, &contexts[running]);
  }
}

/* --- what must hold afterwards --------------------------------------------------------------- */

static void account(void)
{
  struct record_read_event out[CELLS], *early;
  uint64_t head = record_head(&reader), oldest = record_oldest(&reader, head), told = 0;
  size_t n = record_read_survivors(&reader, oldest, &early);
  told += n;
  free(early);
  for (uint64_t at = oldest; at < head; at += n) {
    n = record_read_events(&reader, at, CELLS, out);
    for (size_t i = 0; i < n; i++)
      told += out[i].fate == RECORD_WHOLE;
  }
  for (int i = 0; i < CELLS; i++)
    told += file.cells[i].seq & 1; /* torn */
  for (uint32_t i = 0; i < WRITERS; i++)
    told += record_row(&map, i)->events_overwritten + record_row(&map, i)->events_lost;
  if (told > head || head - told > killed)
    finding("an index is told of twice, or not at all");
}

static unsigned long explore(unsigned preemptions, unsigned kills)
{
  unsigned from = planned ? plan[planned - 1].at + 1 : 0, total;
  unsigned char who[sizeof ran];
  unsigned end[THREADS];
  unsigned long runs = 1;
  run();
  running = THREADS;
  account();
  total = steps;
  memcpy(who, ran, total);
  memcpy(end, ended, sizeof end);
  for (unsigned at = from; at < total && planned < MOST && !wrong; at++)
    for (unsigned thread = 0; thread < THREADS && !wrong; thread++) {
      unsigned before = at ? who[at - 1] : 0;
      bool forced = !at || end[before] == at; /* somebody else had to run: whoever it is */
      if (thread == who[at] || end[thread] <= at || (!forced && !preemptions))
        continue;
      plan[planned++] = (struct decision){at, thread, false};
      runs += explore(preemptions - !forced, kills);
      if (kills && !forced && !wrong) {
        plan[planned - 1].kills = true;
        runs += explore(preemptions - 1, kills - 1);
      }
      planned -= !wrong;
    }
  return runs;
}

static void show_plan(void)
{
  printf("# %s\n", problem);
  for (unsigned i = 0; i < planned; i++)
    printf("#   before step %u thread %u goes on%s\n", plan[i].at, plan[i].thread,
           plan[i].kills ? ", the other is killed" : "");
}

int main(int argc, char **argv)
{
  static const struct scene scenes[] = {
      {"two writers that meet in a cell", {2, 2}, 0, 1},
      {"a writer that goes round the ring, and a reader", {3, 0}, 1, 0},
      {"two writers and a reader", {2, 1}, 1, 0},
  };
  const int count = sizeof scenes / sizeof *scenes;
  int preemptions = argc > 1 ? atoi(argv[1]) : 2, failed = 0;
  reader = (struct record_reader){.fd = -1, .scratch = scratch};
  reader.events = (struct record_section){offsetof(__typeof__(file), cells), RECORD_CELL_STRIDE,
                                          CELLS};
  if (UNDER_TSAN) {
    puts("1..0 # SKIP to TSan the threads of the model are none");
    return 0;
  }
  printf("1..%d\n", count);
  for (int i = 0; i < count; i++) {
    scene = &scenes[i];
    planned = wrong = 0;
    unsigned long runs = explore((unsigned)preemptions + scene->preemptions, 1);
    if (wrong)
      show_plan();
    printf("# %lu runs\n", runs);
    printf("%s %d - %s\n", wrong ? "not ok" : "ok", i + 1, scene->what);
    fflush(stdout);
    failed |= wrong != 0;
  }
  return failed;
}
