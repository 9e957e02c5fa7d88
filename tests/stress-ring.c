// SPDX-License-Identifier: MIT
//
// stress-ring [SECONDS]: the ring of a recording, with more writers than processors, which are
// stopped, interrupted and killed anywhere, while readers read. Each event tells from one of its
// numbers what all its bytes must be, and each index must end as one of read, overwritten, lost or
// torn. Each test takes so many seconds (default 1), so that it can go on for hours, be it under
// TSan.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "record/clock.h"
#include "record/read.h"
#include "record/write.h"

#define THREADS 3 /* that write, of a process */

static struct record_map map;
static char path[64];
static double seconds = 1;
static int failures;

/* What the writers of all processes share. */
static struct {
  _Atomic int stop;
  record_u64 serial;
} * shared;

/* What a test adds up to. */
static struct {
  unsigned long recordings, written, read, overwritten, lost, torn, untold, kills, stops, signals;
  record_u64 checked; /* events that readers looked at, all along */
} sums;

#define WANT(condition)                                                                            \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      printf("# stress-ring.c:%d: does not hold: %s\n", __LINE__, #condition);                     \
      failures++;                                                                                  \
    }                                                                                              \
  } while (0)

static uint64_t some(uint64_t *state)
{
  *state += UINT64_C(0x9e3779b97f4a7c15);
  uint64_t x = (*state ^ *state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

static void stall(uint64_t nanoseconds)
{
  const struct timespec time = {.tv_nsec = (long)nanoseconds};
  nanosleep(&time, NULL);
}

/* --- events --------------------------------------------------------------------------------- */

/* All that record_write() leaves as it is, made of the serial number. */
static struct record_event event_of(uint64_t serial)
{
  struct record_event e = {.time = serial};
  uint64_t state = serial, words[4];
  for (int i = 0; i < 4; i++)
    words[i] = some(&state);
  memcpy(e.local, words, sizeof e.local);
  memcpy(e.peer, words + 2, sizeof e.peer);
  e.duration = words[0] >> 40;
  e.pid = (uint32_t)words[1];
  e.tid = (uint32_t)words[2];
  e.fd = (uint32_t)words[3];
  e.call = RECORD_BIND; /* has no destination: this is about the ring */
  e.transport = 6;
  e.local_port = (uint16_t)words[0];
  e.peer_port = (uint16_t)words[1];
  return e;
}

static void write_one(uint32_t row)
{
  struct record_event e = event_of(atomic_fetch_add(&shared->serial, 1));
  record_write(&map, row, &e, NULL);
}

static bool is_sound(const struct record_read_event *r)
{
  struct record_event e = event_of(r->event.time);
  return memcmp(&e, &r->event, sizeof e) == 0 && r->process < map.process_count;
}

/* Reads what there is and checks it; adds the events of each row to `rows`, unless NULL. */
static void read_all(struct record_reader *reader, uint64_t *rows)
{
  static __thread struct record_read_event batch[RECORD_READ_MAX];
  struct record_read_event *early;
  uint64_t head = record_head(reader), oldest = record_oldest(reader, head);
  size_t n = record_read_survivors(reader, oldest, &early);
  unsigned wrong = 0;
  for (size_t i = 0; i < n; i++) {
    wrong += !is_sound(&early[i]);
    if (rows && early[i].process < map.process_count)
      rows[early[i].process]++;
  }
  free(early);
  for (uint64_t at = oldest; at < head && (n = record_read_events(reader, at, head - at, batch));
       at += n)
    for (size_t i = 0; i < n; i++) {
      if (batch[i].fate != RECORD_WHOLE)
        continue;
      wrong += !is_sound(&batch[i]);
      atomic_fetch_add(&sums.checked, 1);
      if (rows && batch[i].process < map.process_count)
        rows[batch[i].process]++;
    }
  WANT(wrong == 0 && !reader->broken);
}

/* --- a recording and its account ------------------------------------------------------------ */

static void begin(uint32_t rows, uint32_t events)
{
  const struct record_shape shape = {rows + 1, 2, events, 2, 0};
  unlink(path);
  int error = record_create(AT_FDCWD, path, shape, &map);
  if (error) {
    printf("Bail out! %s: %s\n", path, strerror(error));
    exit(1);
  }
  atomic_store(&shared->stop, 0);
}

static uint32_t take_row(void)
{
  const struct record_identity who = {.pid = 1, .name = "stress"};
  uint32_t row = record_reserve(&map);
  record_describe(&map, row, &who);
  record_mark(&map, row, RECORD_RUNNING);
  return row;
}

/* Of the indices that the rows' writers took: what became of each. A killed thread leaves one at
 * most of which no row tells. */
static void account(uint32_t rows, unsigned killed)
{
  struct record_reader reader;
  uint64_t *read = calloc(map.process_count, sizeof *read), written = 0, untold;
  struct record_torn *torn = calloc(map.process_count, sizeof *torn);
  const char *problem = record_open(&reader, AT_FDCWD, path);
  WANT(read && torn && !problem);
  read_all(&reader, read);
  record_count_torn(&reader, torn, map.process_count);
  for (uint32_t i = 0; i < rows; i++) {
    struct record_process *row = record_row(&map, i);
    uint64_t told = read[i] + row->events_overwritten + row->events_lost + torn[i].torn;
    WANT(told == row->events_written && !torn[i].unsound);
    written += row->events_written;
    sums.read += read[i];
    sums.overwritten += row->events_overwritten;
    sums.lost += row->events_lost;
    sums.torn += torn[i].torn;
  }
  untold = record_head(&reader) - written; /* killed between the index and the counter */
  WANT(written <= record_head(&reader) && untold <= killed);
  sums.recordings++;
  sums.written += written;
  sums.untold += untold;
  record_close(&reader);
  free(read);
  free(torn);
  record_unmap(&map);
  unlink(path);
}

static void say(int number, const char *what, int failed_before)
{
  printf("# %lu recordings: %lu written = %lu read + %lu overwritten + %lu lost + %lu torn + %lu"
         " untold; %lu kills, %lu stops, %lu signals; %lu events checked\n",
         sums.recordings, sums.written, sums.read, sums.overwritten, sums.lost, sums.torn,
         sums.untold, sums.kills, sums.stops, sums.signals, (unsigned long)sums.checked);
  printf("%s %d - %s\n", failures == failed_before ? "ok" : "not ok", number, what);
  fflush(stdout);
  memset(&sums, 0, sizeof sums);
}

/* --- processes, stopped and killed ---------------------------------------------------------- */

#define PROCESSES 4
#define KILLS 8 /* a recording: each may cost a cell for ever */

static void *write_until_stopped(void *row)
{
  while (!atomic_load_explicit(&shared->stop, memory_order_relaxed))
    write_one(*(uint32_t *)row);
  return NULL;
}

static pid_t start_writers(void)
{
  uint32_t row = take_row();
  pid_t pid = fork();
  if (pid)
    return pid;
  pthread_t others[THREADS];
  for (int i = 1; i < THREADS; i++)
    if (pthread_create(&others[i], NULL, write_until_stopped, &row))
      _exit(1);
  write_until_stopped(&row);
  for (int i = 1; i < THREADS; i++)
    pthread_join(others[i], NULL);
  _exit(0);
}

/* Somewhere in what it does a process stands still, and the others go round the ring. */
static void stop_a_while(pid_t pid, uint64_t *random)
{
  int status;
  kill(pid, SIGSTOP);
  WANT(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
  stall(some(random) % 500000);
  kill(pid, SIGCONT);
  sums.stops++;
}

static pid_t replace(pid_t pid, uint64_t *random)
{
  int status;
  stall(some(random) % 1000000);
  kill(pid, SIGKILL);
  WANT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
  sums.kills++;
  return start_writers();
}

static void one_recording(uint64_t *random)
{
  struct record_reader reader;
  pid_t pids[PROCESSES];
  int status;
  begin(PROCESSES + KILLS, some(random) % 2 ? 16 : 256);
  for (int i = 0; i < PROCESSES; i++)
    pids[i] = start_writers();
  WANT(!record_open(&reader, AT_FDCWD, path));
  for (int kills = 0; kills < KILLS; kills++) {
    for (int i = 0; i < 3; i++) {
      stop_a_while(pids[some(random) % PROCESSES], random);
      read_all(&reader, NULL);
    }
    pid_t *victim = &pids[some(random) % PROCESSES];
    *victim = replace(*victim, random);
  }
  atomic_store(&shared->stop, 1);
  for (int i = 0; i < PROCESSES; i++)
    WANT(waitpid(pids[i], &status, 0) == pids[i] && status == 0);
  record_close(&reader);
  account(PROCESSES + KILLS, KILLS * THREADS);
}

static void test_processes(int number)
{
  uint64_t random = clock_ns(CLOCK_REALTIME), end = clock_ns(CLOCK_MONOTONIC);
  printf("# seed %lu\n", (unsigned long)random);
  fflush(stdout);
  end += (uint64_t)(seconds * 1e9);
  do
    one_recording(&random);
  while (clock_ns(CLOCK_MONOTONIC) < end);
  say(number, "processes that are stopped and killed anywhere", 0);
}

/* --- threads, interrupted ------------------------------------------------------------------- */

#define WRITERS 4
#define READERS 2

static __thread uint32_t own_row;
static __thread uint64_t own_random;

/* A handler that writes in the middle of a write, and takes its time. */
static void interrupt(int number)
{
  int saved = errno;
  (void)number;
  write_one(own_row);
  stall(some(&own_random) % 100000);
  write_one(own_row);
  errno = saved;
}

static void *write_interrupted(void *row)
{
  own_row = *(uint32_t *)row;
  own_random = own_row + 1;
  return write_until_stopped(row);
}

static void *read_until_stopped(void *unused)
{
  struct record_reader reader;
  if (record_open(&reader, AT_FDCWD, path))
    return unused;
  while (!atomic_load_explicit(&shared->stop, memory_order_relaxed))
    read_all(&reader, NULL);
  record_close(&reader);
  return unused;
}

static void one_process(uint64_t *random)
{
  pthread_t threads[WRITERS + READERS];
  uint32_t rows[2];
  begin(2, some(random) % 2 ? 16 : 64);
  for (int i = 0; i < 2; i++)
    rows[i] = take_row();
  for (int i = 0; i < WRITERS + READERS; i++)
    if (pthread_create(&threads[i], NULL, i < WRITERS ? write_interrupted : read_until_stopped,
                       &rows[i % 2]))
      exit(1);
  for (int i = 0; i < 1000; i++) {
    pthread_kill(threads[some(random) % WRITERS], SIGUSR1);
    stall(some(random) % 20000);
    sums.signals++;
  }
  atomic_store(&shared->stop, 1);
  for (int i = 0; i < WRITERS + READERS; i++)
    pthread_join(threads[i], NULL);
  account(2, 0);
}

static void test_threads(int number)
{
  uint64_t random = clock_ns(CLOCK_REALTIME), end = clock_ns(CLOCK_MONOTONIC);
  const struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART};
  int failed_before = failures;
  sigaction(SIGUSR1, &action, NULL);
  end += (uint64_t)(seconds * 1e9);
  do
    one_process(&random);
  while (clock_ns(CLOCK_MONOTONIC) < end);
  say(number, "threads that are interrupted anywhere by handlers that write too", failed_before);
}

int main(int argc, char **argv)
{
  if (argc > 1)
    seconds = strtod(argv[1], NULL);
  snprintf(path, sizeof path, "stress-ring-%d.berth", (int)getpid());
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED)
    return 1;
  puts("1..2");
  fflush(stdout);
  test_processes(1); /* first: it forks, and the other leaves threads' traces behind */
  test_threads(2);
  return failures != 0;
}
