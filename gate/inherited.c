// SPDX-License-Identifier: MIT
#include "gate/inherited.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

#include "gate/calls.h"
#include "gate/gate.h"

#define COUNT_DIGITS 2
#define MAP_DIGITS 16
#define TAG_DIGITS 8
#define LENGTH (sizeof INHERITED_NONE - 1)
#define MAP_AT (COUNT_DIGITS + 1)
#define TAG_AT (MAP_AT + MAP_DIGITS + 1)

static char *told; /* in the environment; NULL: nowhere */
static bool passes, in_container;

void inherited_told(char *value, bool container)
{
  in_container = container;
  passes = value && strncmp(value, "pass", sizeof "pass") == 0;
  told = value && !passes && strnlen(value, LENGTH + 1) == LENGTH ? value : NULL;
}

/* Programs write over the strings of their environment (setproctitle(3)). */
static bool is_there(void)
{
  static const char name[] = INHERITED_VARIABLE "=";
  return told && strncmp(told - (sizeof name - 1), name, sizeof name - 1) == 0 &&
         strnlen(told, LENGTH + 1) == LENGTH;
}

/* UINT64_MAX where they are no digits: no count is as large. */
static uint64_t read_digits(const char *at, unsigned count)
{
  uint64_t n = 0;
  for (unsigned i = 0; i < count; i++) {
    char c = at[i];
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
      return UINT64_MAX;
    n = n << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return n;
}

static void write_digits(char *at, unsigned count, uint64_t n)
{
  for (unsigned i = count; i-- > 0; n >>= 4)
    at[i] = "0123456789abcdef"[n & 15];
}

/* A number that follows `label` at the beginning of a line, as the text goes by. */
struct field {
  const char *label; /* with the newline before it */
  unsigned matched;
  bool inside, found;
  unsigned value;
};

static void feed(struct field *f, char c)
{
  if (f->inside && c >= '0' && c <= '9') {
    f->value = f->value * 10 + (unsigned)(c - '0');
    f->found = true;
    return;
  }
  f->inside = false;
  if (c != f->label[f->matched])
    f->matched = 0;
  if (c == f->label[f->matched])
    f->matched++;
  if (f->label[f->matched])
    return;
  f->inside = !f->found;
  f->matched = 0;
}

/* How many filters the thread of this file in /proc has; before Linux 5.9 (c818c03b661c) whether it
 * has any, as 1. -1: it cannot be asked. */
static int count_filters(const char *status)
{
  struct field count = {.label = "\nSeccomp_filters:\t"}, mode = {.label = "\nSeccomp:\t"};
  char text[1024];
  int fd = (int)GATE_CALL(SYS_openat, AT_FDCWD, status, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return -1;
  for (long n; !count.found && (n = GATE_CALL(SYS_read, fd, text, sizeof text)) > 0;)
    for (long i = 0; i < n; i++) {
      feed(&count, text[i]);
      feed(&mode, text[i]);
    }
  GATE_CALL(SYS_close, fd);
  if (count.found)
    return (int)count.value;
  return mode.found ? mode.value != 0 : 0; /* a kernel without seccomp says nothing of it */
}

/* What was told is of this library's table of calls, or of no filter. */
static void read_told(struct inherited *i)
{
  if (!is_there())
    return;
  uint64_t count = read_digits(told, COUNT_DIGITS);
  uint64_t refused = read_digits(told + MAP_AT, MAP_DIGITS);
  if (count > UINT8_MAX || (count && read_digits(told + TAG_AT, TAG_DIGITS) != calls_tag()))
    return;
  i->count = (unsigned)count;
  i->refused = count ? refused : 0;
}

static bool file_is_there(const char *path)
{
  int fd = (int)GATE_CALL(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC);
  if (fd >= 0)
    GATE_CALL(SYS_close, fd);
  return fd >= 0;
}

/* Whether so many are no more than those that a container's runtime has put before its first process.
 * The files are Docker's mark, and Podman's. */
static bool are_of_runtime(int count)
{
  if (!in_container && !file_is_there("/.dockerenv") && !file_is_there("/run/.containerenv"))
    return false;
  return count <= count_filters("/proc/1/status");
}

struct inherited inherited_ask(void)
{
  struct inherited i = {0};
  read_told(&i);
  int count = count_filters("/proc/thread-self/status");
  if (count < 0) /* before Linux 3.17 */
    count = count_filters("/proc/self/status");
  if (count >= 0 && (unsigned)count != i.count)
    i.unknown = !passes && !are_of_runtime(count);
  return i;
}

static _Atomic uint64_t last_refused;
static atomic_uint last_count; /* 0: nothing was told, or nothing is known */

/* Who reads it in the midst finds no count. */
static void write(char *to, unsigned count, uint64_t refused)
{
  memset(to, '-', COUNT_DIGITS);
  write_digits(to + MAP_AT, MAP_DIGITS, refused);
  write_digits(to + TAG_AT, TAG_DIGITS, calls_tag());
  if (count)
    write_digits(to, COUNT_DIGITS, count);
}

void inherited_tell(unsigned count, uint64_t refused, bool unknown)
{
  count = unknown || count > UINT8_MAX ? 0 : count;
  atomic_store_explicit(&last_refused, refused, memory_order_relaxed);
  atomic_store_explicit(&last_count, count, memory_order_relaxed);
  if (is_there())
    write(told, count, refused);
}

bool inherited_put(char *to)
{
  static const char empty[] = INHERITED_VARIABLE "=" INHERITED_NONE;
  unsigned count = atomic_load_explicit(&last_count, memory_order_relaxed);
  if (!count)
    return false;
  memcpy(to, empty, sizeof empty);
  write(to + sizeof INHERITED_VARIABLE, count,
        atomic_load_explicit(&last_refused, memory_order_relaxed));
  return true;
}
