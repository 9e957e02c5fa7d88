// SPDX-License-Identifier: MIT
#include "steer/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "record/clock.h"
#include "record/sys.h"
#include "record/text.h"
#include "record/write.h"
#include "steer/log.h"

struct recorder_config recorder_config;

/* --- who we are --------------------------------------------------------------------------
 *
 * A page that the kernel hands zeroed to the child of a fork or a raw clone, and shared to a
 * vfork's: so a process knows that it is new without asking for its pid at every event.
 */
struct self {
  _Atomic uint64_t claim; /* pid << 32 | row + 1; 0: not yet */
  _Atomic uint32_t pid;   /* of the image's start; 0 in the child of a fork, which asks */
};

#define LARGEST_PAGE 65536
static unsigned char page_room[2 * LARGEST_PAGE]; /* a whole page of any size lies in it */
static atomic_bool wipes;                         /* MADV_WIPEONFORK holds (Linux 4.14) */

static struct self *self(void)
{
  return (void *)(((uintptr_t)page_room + LARGEST_PAGE - 1) & ~(uintptr_t)(LARGEST_PAGE - 1));
}

static void wipe_on_fork(void)
{
  if (madvise(self(), getauxval(AT_PAGESZ), MADV_WIPEONFORK) == 0)
    atomic_store_explicit(&wipes, true, memory_order_relaxed);
}

/* A vfork child's is its parent's here: what it does is counted there. */
static uint32_t process_id(void)
{
  uint32_t pid = atomic_load_explicit(&self()->pid, memory_order_relaxed);
  return pid && atomic_load_explicit(&wipes, memory_order_relaxed) ? pid : sys_getpid();
}

static _Thread_local struct {
  uint32_t pid, tid;
} thread;

static uint32_t thread_id(uint32_t pid)
{
  if (thread.pid != pid) {
    thread.tid = sys_gettid();
    thread.pid = pid;
  }
  return thread.tid;
}

/* --- which recording --------------------------------------------------------------------- */

static struct record_map prepared;           /* attached before main() */
static _Atomic(struct record_map *) current; /* the one in use */
static atomic_bool given_up;                 /* there will be none */

static void complain(const char *what, const char *path, int error)
{
  char line[256];
  struct text t = TEXT_INIT(line);
  const char *name = errno_name((unsigned)error);
  text_string(&t, "berth: ");
  text_string(&t, what);
  text_string(&t, ": ");
  text_name(&t, path, 160);
  text_string(&t, ": ");
  text_string(&t, error == EINVAL ? "not a recording of this version" : name ? name : "?");
  text_string(&t, "\n");
  log_stderr(t.start, (size_t)(t.at - t.start));
}

static void give_up(int error)
{
  bool first = !atomic_exchange_explicit(&given_up, true, memory_order_relaxed);
  if (first && recorder_config.record[0])
    complain("BERTH_RECORD", recorder_config.record, error);
  else if (first && recorder_config.events_asked)
    complain("BERTH_EVENTS", "a recording of that size", error);
}

static void name_recording(char *name, size_t size, uint64_t unique)
{
  struct text t = {name, name, name + size, false};
  text_u64(&t, sys_getpid());
  text_char(&t, '-');
  text_hex(&t, unique);
  text_string(&t, RECORD_SUFFIX);
  text_end(&t);
}

/* pid and time of start are shared by all images of a process, and by a pid's next holder:
 * the time of now is not. */
static int create_in(int directory, char *name, size_t size, struct record_map *map)
{
  struct record_shape shape = RECORD_SHAPE_PRIVATE;
  int error = EEXIST;
  shape.events = recorder_config.events;
  if (!record_directory_has_room(directory, record_size(shape)))
    return EDQUOT;
  for (int tries = 0; tries < 8 && (error == EEXIST || error == EAGAIN); tries++) {
    name_recording(name, size, clock_ns(CLOCK_MONOTONIC));
    error = record_create(directory, name, shape, map);
  }
  return error;
}

/* Takes a map into use. A signal handler, or another thread, may have been faster. */
static bool publish(const struct record_map *map)
{
  struct record_map *mine = mmap(NULL, sizeof *mine, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct record_map *none = NULL;
  if (mine == MAP_FAILED)
    return false;
  *mine = *map;
  if (atomic_compare_exchange_strong_explicit(&current, &none, mine, memory_order_acq_rel,
                                              memory_order_acquire))
    return true;
  munmap(mine, sizeof *mine);
  return false;
}

/* `directory` is a descriptor, closed here, or -1 with errno. */
static int create_at(int directory)
{
  char name[64];
  struct record_map map;
  if (directory < 0)
    return errno;
  int error = create_in(directory, name, sizeof name, &map);
  if (!error && !publish(&map)) {
    record_unmap(&map);
    sys_unlink(directory, name);
  }
  sys_close(directory);
  return error;
}

static int attach_or_create(const char *path)
{
  struct record_map map;
  int error = record_attach(path, &map);
  if (error == EISDIR || error == ENOENT)
    return create_at(record_directory_open(path));
  if (!error && !publish(&map))
    record_unmap(&map);
  return error;
}

static int create_by_default(void)
{
  int error = ENOENT;
  for (int i = 0; i < RECORD_DIRECTORIES; i++) {
    error = create_at(record_directory_default(&recorder_config.defaults, i));
    if (error == 0 || error == EDQUOT)
      break; /* one that is full is not to be got round by filling the next */
  }
  return error;
}

/* Where no constructor asked for it: at the first event. */
static void ask_pid(void)
{
  static atomic_bool asked;
  if (!atomic_exchange_explicit(&asked, true, memory_order_relaxed))
    atomic_store_explicit(&self()->pid, sys_getpid(), memory_order_relaxed);
}

/* The recording in use, made now if there was none; NULL if there can be none. */
static const struct record_map *recording(void)
{
  struct record_map *map = atomic_load_explicit(&current, memory_order_acquire);
  if (map || recorder_config.off || atomic_load_explicit(&given_up, memory_order_relaxed))
    return map;
  if (!atomic_load_explicit(&wipes, memory_order_relaxed))
    wipe_on_fork();
  ask_pid();
  int error = recorder_config.record[0] ? attach_or_create(recorder_config.record)
                                        : create_by_default();
  map = atomic_load_explicit(&current, memory_order_acquire);
  if (!map)
    give_up(error ? error : ENOMEM);
  return map;
}

/* --- our row ----------------------------------------------------------------------------- */

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

static void identify(struct record_identity *who)
{
  /* Whoever has the pid of the image's start is no forked child: it began when the image did. */
  bool forked = !atomic_load_explicit(&self()->pid, memory_order_relaxed);
  record_identify(who, recorder_config.name, forked ? 0 : recorder_config.started);
  who->pid = process_id();
}

/* Takes a row. A signal handler or a thread may be faster: then it is that one's. */
static uint64_t make_claim(const struct record_map *map)
{
  struct record_identity who = {.pid = process_id()};
  uint64_t none = 0;
  uint32_t row = 0;
  if (map) {
    identify(&who);
    row = record_reserve(map);
  }
  uint64_t mine = pack(who.pid, row);
  bool won = atomic_compare_exchange_strong_explicit(&self()->claim, &none, mine,
                                                     memory_order_acq_rel, memory_order_acquire);
  if (map && won)
    record_claim(map, row, &who);
  else if (map)
    record_unreserve(map, row);
  return won ? mine : none;
}

/* The claim of this process, taken now if it has none. Where the page does not wipe itself,
 * the pid must be asked each time. */
static uint64_t claim(const struct record_map *map)
{
  _Atomic uint64_t *word = &self()->claim;
  uint64_t c = atomic_load_explicit(word, memory_order_acquire);
  if (c && !atomic_load_explicit(&wipes, memory_order_relaxed) && pid_of(c) != sys_getpid()) {
    atomic_compare_exchange_strong_explicit(word, &c, 0, memory_order_relaxed,
                                            memory_order_relaxed);
    c = 0;
  }
  return c ? c : make_claim(map);
}

/* --- for the hooks ----------------------------------------------------------------------- */

bool recorder_wanted(void)
{
  bool hopeless = recorder_config.off || atomic_load_explicit(&given_up, memory_order_relaxed);
  return !hopeless || atomic_load_explicit(&current, memory_order_relaxed) || log_is_on();
}

void recorder_write(struct record_event *e)
{
  const struct record_map *map = recording();
  uint64_t c = claim(map);
  e->pid = pid_of(c);
  e->tid = thread_id(e->pid);
  if (map)
    record_write(map, row_of(c), e);
  if (log_is_on() && !(recorder_config.log_only_failed && e->result != RECORD_FAILED))
    log_event(e, recorder_config.name);
}

void recorder_mark(enum record_state state)
{
  const struct record_map *map = atomic_load_explicit(&current, memory_order_acquire);
  uint64_t c = atomic_load_explicit(&self()->claim, memory_order_acquire);
  if (map && c && pid_of(c) == sys_getpid() && !record_is_shared_row(map, row_of(c)))
    record_mark(map, row_of(c), state);
}

static void attach_prepared(void)
{
  int error = record_attach(recorder_config.record, &prepared);
  if (error) {
    give_up(error);
    return;
  }
  atomic_store_explicit(&current, &prepared, memory_order_release);
  wipe_on_fork();
  atomic_store_explicit(&self()->pid, sys_getpid(), memory_order_relaxed);
}

void recorder_start(void)
{
  /* Before main(), because afterwards the program may have locked itself in (seccomp, chroot,
   * another user). Any other place is looked at when there is something to record. */
  if (!recorder_config.off && strncmp(recorder_config.record, RECORD_PREPARED, 2) == 0)
    attach_prepared();
  log_start(recorder_config.log);
}

/* Which default directory would take the recording: the directory is made, no file is. */
static void default_place(struct text *t)
{
  for (int i = 0; i < RECORD_DIRECTORIES; i++) {
    int directory = record_directory_default(&recorder_config.defaults, i);
    if (directory < 0)
      continue;
    sys_close(directory);
    record_directory_path(t, &recorder_config.defaults, i, sys_geteuid());
    return;
  }
  text_string(t, "no directory is usable");
}

/* Whether the place that the user named will do: a recording to attach to, or a directory. */
static bool is_usable(const char *path)
{
  if (atomic_load_explicit(&current, memory_order_acquire))
    return true;
  int directory = record_directory_open(path);
  if (directory < 0)
    return errno == ENOTDIR;
  sys_close(directory);
  return true;
}

void recorder_describe(struct text *t)
{
  if (recorder_config.off) {
    text_string(t, "not recording: BERTH_RECORD=off");
  } else if (atomic_load_explicit(&given_up, memory_order_relaxed)) {
    text_string(t, "not recording: BERTH_RECORD cannot be used");
  } else if (recorder_config.record[0] && !is_usable(recorder_config.record)) {
    text_string(t, "not recording: BERTH_RECORD cannot be used");
  } else if (recorder_config.record[0]) {
    text_string(t, "recording to ");
    text_string(t, recorder_config.record);
  } else {
    text_string(t, "recording, from the first event on, to ");
    default_place(t);
  }
}
