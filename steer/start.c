// SPDX-License-Identifier: MIT
#include "steer/start.h"

#include <limits.h>
#include <string.h>

#include "policy/inline.h"
#include "record/clock.h"
#include "record/map.h"
#include "record/sys.h"
#include "record/text.h"
#include "steer/log.h"
#include "steer/place.h"
#include "steer/recorder.h"

static void warn(const char *variable, const char *value, const char *what)
{
  char line[256];
  struct text t = TEXT_INIT(line);
  text_string(&t, "berth: ");
  text_string(&t, variable);
  text_string(&t, ": ");
  text_name(&t, value, 100);
  text_string(&t, ": ");
  text_string(&t, what);
  text_string(&t, "\n");
  log_stderr(t.start, (size_t)(t.at - t.start));
}

/* A variable that is 1, or not. */
static bool is_on(const char *variable, const char *value)
{
  if (value && value[0] && !text_equal(value, "0") && !text_equal(value, "1"))
    warn(variable, value, "neither 1 nor 0");
  return value && text_equal(value, "1");
}

/* Copies, one after the other, so that a program that sets no variable has one page more. */
static char room[5 * PATH_MAX];
static size_t used;

static const char *policy_place; /* of one that was loaded */

/* The first `n` bytes, and a NUL; NULL where they do not fit. */
static const char *keep(const char *value, size_t n)
{
  char *to = room + used;
  if (n >= PATH_MAX || n >= sizeof room - used)
    return NULL;
  memcpy(to, value, n);
  to[n] = '\0';
  used += n + 1;
  return to;
}

/* A path, made absolute, since the program may change its folder before the first event; "" where
 * the variable is not set, or not to be honoured, which is said. */
static const char *keep_path(const char *variable, const char *value)
{
  if (!value || !value[0])
    return "";
  char *to = room + used;
  size_t left = sizeof room - used, size = left < PATH_MAX ? left : PATH_MAX;
  long n = value[0] == '/' ? 0 : SYS_CALL(SYS_getcwd, to, size);
  size_t length = text_length(value);
  if (n > 0 && to[0] != '/') { /* "(unreachable)/...": out of this root, or unmounted */
    warn(variable, value, "the current directory has no path");
    return "";
  }
  if (n == 2) /* the root: two slashes in front would mean something else */
    n = 1;
  if (n < 0 || (size_t)n + length >= size) {
    warn(variable, value, "the path is too long");
    return "";
  }
  if (n)
    to[n - 1] = '/'; /* in place of the NUL */
  memcpy(to + n, value, length + 1);
  used += (size_t)n + length + 1;
  return to;
}

/* To the kernel a link with a slash behind it is the directory that it leads to. */
static const char *without_slashes(const char *path)
{
  size_t n = text_length(path);
  while (n > 1 && path[n - 1] == '/')
    n--;
  room[path + n - room] = '\0';
  return path;
}

static void set_record(const char *value)
{
  recorder_config.record = "";
  if (value && text_equal(value, "off"))
    recorder_config.off = true;
  else
    recorder_config.record = keep_path("BERTH_RECORD", value);
  if (recorder_config.record[0])
    recorder_config.record = without_slashes(recorder_config.record);
  if (value && value[0] && !recorder_config.record[0])
    recorder_config.off = true;
}

/* A whole number in [low, high], or 0. */
static uint32_t number(const char *value, uint32_t low, uint32_t high)
{
  uint64_t n = 0;
  for (const char *at = value; *at; at++) {
    if (*at < '0' || *at > '9' || n > high)
      return 0;
    n = n * 10 + (uint64_t)(*at - '0');
  }
  return n >= low && n <= high ? (uint32_t)n : 0;
}

static void set_events(const char *value)
{
  struct record_shape shape = RECORD_SHAPE_PRIVATE;
  uint32_t n = value && value[0] ? number(value, RECORD_MIN_EVENTS, RECORD_MAX_EVENTS) : 0;
  recorder_config.events = n ? n : shape.events;
  recorder_config.events_asked = n != 0;
  if (value && value[0] && !n)
    warn("BERTH_EVENTS", value, "not a whole number from 16 to 16777216");
}

static void set_log(const char *value, const char *only)
{
  bool stderr_meant = value && text_equal(value, "stderr");
  recorder_config.log = stderr_meant ? "stderr" : keep_path("BERTH_LOG", value);
  if (!only || !only[0])
    return;
  if (text_equal(only, "failed"))
    recorder_config.log_only_failed = true;
  else
    warn("BERTH_LOG_ONLY", only, "not \"failed\"");
}

static size_t up_to_colon(const char *list)
{
  size_t n = 0;
  while (list[n] && list[n] != ':')
    n++;
  return n;
}

/* Where recordings go by default: of the values, what of them counts. */
static void set_places(const struct record_places *told)
{
  struct record_places places = {0};
  if (told->runtime_directory) /* systemd separates several by colons */
    places.runtime_directory = keep(told->runtime_directory, up_to_colon(told->runtime_directory));
  if (told->xdg_runtime_dir)
    places.xdg_runtime_dir = keep(told->xdg_runtime_dir, text_length(told->xdg_runtime_dir));
  if (told->tmpdir)
    places.tmpdir = keep(told->tmpdir, text_length(told->tmpdir));
  record_directories(&recorder_config.defaults, &places);
}

static const char *base_name(const char *path)
{
  const char *base = path;
  for (; *path; path++)
    if (*path == '/')
      base = path + 1;
  return base;
}

/* A script's own name, where a script was executed: that is what the kernel was given.
 * fexecve() gives it /dev/fd/N, which says nothing. */
static void set_name(const char *executed)
{
  char link[2048];
  if (!executed || !executed[0] || text_begins(executed, "/dev/fd/")) {
    long n = sys_readlink("/proc/self/exe", link, sizeof link - 1);
    link[n > 0 ? n : 0] = '\0';
    executed = link;
  }
  const char *name = base_name(executed);
  size_t n = text_length(name);
  name = keep(name, n < NAME_MAX ? n : NAME_MAX);
  recorder_config.name = name ? name : "?";
}

/* The policy, or why there is none: said once, and then every call that it might have steered
 * fails, or none is steered. */
static void set_policy(const struct start_environment *e)
{
  bool strict = is_on("BERTH_STRICT", e->strict);
  if (!e->policy || !e->policy[0])
    return;
  bool is_inline = policy_is_inline(e->policy);
  const char *policy = is_inline ? e->policy : keep_path("BERTH_POLICY", e->policy);
  const char *wrong = policy[0] ? rules_load(policy, recorder_config.name, e->loader) : "";
  if (wrong && wrong[0])
    warn("BERTH_POLICY", is_inline ? POLICY_INLINE "..." : e->policy, wrong);
  if (wrong && strict)
    rules_refuse();
  else if (strict)
    rules_be_strict();
  policy_place = wrong ? NULL : is_inline ? "in BERTH_POLICY" : policy;
}

static void describe_policy(struct text *t)
{
  text_string(t, "; ");
  if (rules_refused()) {
    text_string(t, "policy not loaded: calls are refused");
  } else if (!policy_place) {
    text_string(t, "no policy: observing only");
  } else {
    text_string(t, "policy ");
    text_name(t, policy_place, DESCRIBED_PATH);
    text_string(t, ", ");
    text_u64(t, rules_active());
    text_string(t, " of ");
    text_u64(t, rules_count());
    text_string(t, " rules are for this program, by ");
    text_string(t, rules_have_range() ? "range and bind" : "bind");
  }
}

static void say_hello(void)
{
  char line[2 * DESCRIBED_PATH + NAME_MAX + 200];
  struct text t = TEXT_INIT(line);
  text_string(&t, "berth " PACKAGE_VERSION ": ");
  text_name(&t, recorder_config.name, NAME_MAX);
  text_string(&t, ": ");
  place_describe(&t);
  describe_policy(&t);
  text_string(&t, "\n");
  log_stderr(t.start, (size_t)(t.at - t.start));
}

/* A recording that `berth run` made for the whole tree also holds what the rules remember. */
static void share_rules(void)
{
  const struct record_map *map = place_current();
  if (map && map->state_size)
    rules_share(map->state, map->state_size);
}

void start_recording(const struct start_environment *e)
{
  set_record(e->record);
  set_events(e->events);
  set_log(e->log, e->log_only);
  set_name(e->executed);
  recorder_config.started = clock_ns(CLOCK_REALTIME);
  set_places(&e->places);
  set_policy(e);
  bool verbose = is_on("BERTH_VERBOSE", e->verbose);
  if (verbose)
    log_keep_stderr();
  recorder_start();
  share_rules();
  rules_begin();
  if (verbose)
    say_hello();
}

void start_nothing(void)
{
  recorder_config.off = true;
}
