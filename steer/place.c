// SPDX-License-Identifier: MIT
#include "steer/place.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "gate/gate.h"
#include "record/clock.h"
#include "record/map.h"
#include "record/sys.h"
#include "record/text.h"
#include "steer/log.h"
#include "steer/recorder.h"
#include "steer/self.h"

static struct record_map prepared;           /* attached before main() */
static _Atomic(struct record_map *) current; /* the one in use */
static atomic_bool given_up;                 /* there will be none */
static atomic_int full;                      /* the default directory that had no room */

static const char *why(int error)
{
  const char *name = errno_name((unsigned)error);
  switch (error) {
  case EINVAL: return "not a recording of this version";
  case SYS_FORBIDDEN: return "a seccomp filter forbids to make one";
  case EOPNOTSUPP: return "not on a file system that copies on write";
  default: return name ? name : "?";
  }
}

/* "berth: WHAT: " and, in somebody else's words, `path`, then the error's name. */
static void complain(const char *what, const char *path, int error)
{
  char line[256];
  struct text t = TEXT_INIT(line);
  text_string(&t, "berth: ");
  text_string(&t, what);
  text_string(&t, path[0] ? ": " : "");
  text_name(&t, path, 160);
  text_string(&t, ": ");
  text_string(&t, why(error));
  text_string(&t, "\n");
  log_stderr(t.start, (size_t)(t.at - t.start));
}

/* In the directory that had no room. */
static void count_unrecorded(void)
{
  int i = atomic_load_explicit(&full, memory_order_relaxed);
  const char *path = recorder_config.record;
  int directory = path[0] ? record_directory_open(path)
                          : record_directory_default(&recorder_config.defaults, i);
  if (directory < 0)
    return;
  record_directory_note_unrecorded(directory);
  sys_close(directory);
}

static bool is_prepared(void)
{
  return text_begins(recorder_config.record, RECORD_PREPARED);
}

static void give_up(int error)
{
  bool first = !atomic_exchange_explicit(&given_up, true, memory_order_relaxed);
  if (first && is_prepared() && !gate_is_open())
    return; /* the variable is not of whoever set up that sandbox */
  if (first && recorder_config.record[0])
    complain("BERTH_RECORD", recorder_config.record, error);
  else if (first && recorder_config.events_asked)
    complain("BERTH_EVENTS: a recording of that size", "", error);
  if (first && error == EDQUOT)
    count_unrecorded();
}

static void name_recording(char *name, size_t size, uint64_t unique)
{
  struct text t = {name, name, name + size, false};
  text_u64(&t, self_pid());
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
  struct record_map *mine = sys_map(sizeof *mine, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  struct record_map *none = NULL;
  if (mine == MAP_FAILED)
    return false;
  *mine = *map;
  if (atomic_compare_exchange_strong_explicit(&current, &none, mine, memory_order_acq_rel,
                                              memory_order_acquire))
    return true;
  sys_unmap(mine, sizeof *mine);
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
    if (error == EDQUOT)
      atomic_store_explicit(&full, i, memory_order_relaxed);
    if (error == 0 || error == EDQUOT)
      break; /* one that is full is not to be got round by filling the next */
  }
  return error;
}

const struct record_map *place_current(void)
{
  return atomic_load_explicit(&current, memory_order_acquire);
}

bool place_is_hopeless(void)
{
  bool none = recorder_config.off || atomic_load_explicit(&given_up, memory_order_relaxed);
  return none && !place_current();
}

/* Makes the recording, while no signal handler of this thread can want to do the same. */
static int make_recording(void)
{
  const uint64_t all = UINT64_MAX;
  uint64_t before = 0;
  atomic_uint *makers = self_makers();
  SYS_CALL(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
  atomic_fetch_add_explicit(makers, 1, memory_order_acq_rel);
  int error = recorder_config.record[0] ? attach_or_create(recorder_config.record)
                                        : create_by_default();
  atomic_fetch_sub_explicit(makers, 1, memory_order_acq_rel);
  SYS_CALL(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
  return error;
}

/* A thread that found no room may have met the file that another is just making: it waits for
 * that one, a tenth of a second at most. */
static void wait_for_makers(void)
{
  const struct timespec moment = {.tv_nsec = 1000000};
  for (int i = 0; i < 100 && !place_current(); i++) {
    if (!atomic_load_explicit(self_makers(), memory_order_acquire))
      return;
    SYS_CALL(SYS_nanosleep, &moment, NULL);
  }
}

const struct record_map *place_recording(void)
{
  const struct record_map *map = place_current();
  if (map || place_is_hopeless())
    return map;
  int error = make_recording();
  if (error)
    wait_for_makers();
  map = place_current();
  if (!map)
    give_up(error ? error : ENOMEM);
  return map;
}

void place_attach(void)
{
  int error = record_attach(recorder_config.record, &prepared);
  if (error)
    give_up(error);
  else
    atomic_store_explicit(&current, &prepared, memory_order_release);
}

/* Which default directory would take the recording: the directory is made, no file is. */
static void default_place(struct text *t)
{
  char path[DESCRIBED_PATH + 1];
  struct text p = TEXT_INIT(path);
  for (int i = 0; i < RECORD_DIRECTORIES; i++) {
    int directory = record_directory_default(&recorder_config.defaults, i);
    if (directory < 0)
      continue;
    sys_close(directory);
    record_directory_path(&p, &recorder_config.defaults, i, sys_geteuid());
    text_name(t, text_end(&p), DESCRIBED_PATH);
    return;
  }
  text_string(t, "no directory is usable");
}

/* Whether the place that the user named will do: a recording to attach to, or a directory. */
static bool is_usable(const char *path)
{
  if (place_current())
    return true;
  int directory = record_directory_open(path);
  if (directory < 0)
    return errno == ENOTDIR;
  sys_close(directory);
  return true;
}

void place_describe(struct text *t)
{
  const char *path = recorder_config.record;
  if (recorder_config.off) {
    text_string(t, "not recording: BERTH_RECORD=off");
  } else if (place_is_hopeless() || (path[0] && !is_usable(path))) {
    text_string(t, "not recording: BERTH_RECORD cannot be used");
  } else if (path[0]) {
    text_string(t, "recording to ");
    text_name(t, text_begins(path, RECORD_PREPARED) ? path + 1 : path, DESCRIBED_PATH);
  } else {
    text_string(t, "recording, from the first event on, to ");
    default_place(t);
  }
}
