// SPDX-License-Identifier: MIT
#include "steer/start.h"

#include <string.h>

#include "record/clock.h"
#include "record/map.h"
#include "record/sys.h"
#include "record/text.h"
#include "steer/log.h"
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

static bool copy(char *to, size_t size, const char *from)
{
  size_t n = strlen(from);
  if (n >= size)
    return false;
  memcpy(to, from, n + 1);
  return true;
}

/* The program may change its folder before the first event. */
static bool copy_absolute(char path[PATH_MAX], const char *value)
{
  long n = value[0] == '/' ? 0 : syscall(SYS_getcwd, path, PATH_MAX);
  if (n < 0 || n >= PATH_MAX)
    return false;
  if (n)
    path[n - 1] = '/'; /* in place of the NUL */
  return copy(path + n, PATH_MAX - (size_t)n, value);
}

static void set_record(const char *value)
{
  if (!value || !value[0])
    return;
  if (strcmp(value, "off") == 0)
    recorder_config.off = true;
  else if (!copy_absolute(recorder_config.record, value)) {
    recorder_config.off = true;
    warn("BERTH_RECORD", value, "the path is too long");
  }
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
  if (value && !copy(recorder_config.log, sizeof recorder_config.log, value))
    warn("BERTH_LOG", value, "the path is too long");
  if (!only || !only[0])
    return;
  if (strcmp(only, "failed") == 0)
    recorder_config.log_only_failed = true;
  else
    warn("BERTH_LOG_ONLY", only, "not \"failed\"");
}

static const char *base_name(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* A script's own name, where a script was executed: that is what the kernel was given.
 * fexecve() gives it /dev/fd/N, which says nothing. */
static void set_name(const char *executed)
{
  char link[2048];
  if (!executed || !executed[0] || strncmp(executed, "/dev/fd/", 8) == 0) {
    long n = sys_readlink("/proc/self/exe", link, sizeof link - 1);
    link[n > 0 ? n : 0] = '\0';
    executed = link;
  }
  const char *name = base_name(executed);
  size_t n = strnlen(name, sizeof recorder_config.name - 1);
  memcpy(recorder_config.name, name, n);
}

static void say_hello(void)
{
  char line[512];
  struct text t = TEXT_INIT(line);
  text_string(&t, "berth " PACKAGE_VERSION ": ");
  text_string(&t, recorder_config.name);
  text_string(&t, ": ");
  recorder_describe(&t);
  text_string(&t, "; no policy: observing only\n");
  log_stderr(t.start, (size_t)(t.at - t.start));
}

void start_recording(const struct start_environment *e)
{
  set_record(e->record);
  set_events(e->events);
  set_log(e->log, e->log_only);
  set_name(e->executed);
  recorder_config.started = clock_ns(CLOCK_REALTIME);
  record_directories(&recorder_config.defaults, &e->places);
  if (e->policy && e->policy[0])
    warn("BERTH_POLICY", e->policy, "this berth observes only: it does not steer yet");
  recorder_start();
  if (e->verbose && strcmp(e->verbose, "1") == 0)
    say_hello();
}

void start_nothing(void)
{
  recorder_config.off = true;
}
