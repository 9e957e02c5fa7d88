// SPDX-License-Identifier: MIT
#include "cli/recordings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/unfinished.h"
#include "record/text.h"

void default_directories(struct record_directories *d)
{
  static char runtime[PATH_MAX];
  const char *list = secure_getenv("RUNTIME_DIRECTORY"); /* systemd separates several by colons */
  if (list)
    snprintf(runtime, sizeof runtime, "%.*s", (int)strcspn(list, ":"), list);
  struct record_places places = {.runtime_directory = runtime,
                                 .xdg_runtime_dir = secure_getenv("XDG_RUNTIME_DIR"),
                                 .tmpdir = secure_getenv("TMPDIR")};
  record_directories(d, &places);
}

static void add(struct recordings *r, const char *path, bool is_entry)
{
  struct recording *more = realloc(r->list, (r->count + 1) * sizeof *more);
  char *copy = strdup(path);
  if (!more || !copy)
    abort();
  more[r->count] = (struct recording){.path = copy, .is_entry = is_entry, .directory = AT_FDCWD};
  r->list = more;
  r->count++;
}

struct search {
  struct recordings *found;
  const char *directory;
};

bool recording_has_name(const char *name)
{
  size_t n = strlen(name), m = strlen(RECORD_SUFFIX);
  return n > m && strcmp(name + n - m, RECORD_SUFFIX) == 0;
}

static bool add_entry(int directory, const char *name, void *context)
{
  struct search *s = context;
  char path[PATH_MAX];
  (void)directory;
  if (recording_has_name(name) &&
      snprintf(path, sizeof path, "%s/%s", s->directory, name) < (int)sizeof path)
    add(s->found, path, true);
  return true;
}

/* The time in the name that a recording was given: PID-TIME.berth. */
static unsigned long long time_in(const char *path)
{
  const char *dash = strrchr(path, '-');
  return dash ? strtoull(dash + 1, NULL, 16) : 0;
}

static int by_time_in_name(const void *a, const void *b)
{
  const struct recording *one = a, *other = b;
  unsigned long long x = time_in(one->path), y = time_in(other->path);
  return x < y ? -1 : x > y;
}

static void keep_directory(struct recordings *r, const char *path, int fd)
{
  struct recordings_directory *more = realloc(r->directories,
                                              (r->directory_count + 1) * sizeof *more);
  char *copy = strdup(path);
  if (!more || !copy)
    abort();
  more[r->directory_count++] = (struct recordings_directory){copy, fd};
  r->directories = more;
}

/* A directory's, the oldest first; `fd` becomes the recordings' own. */
static void add_directory(struct recordings *r, const char *path, int fd)
{
  struct search s = {r, path};
  size_t before = r->count;
  keep_directory(r, path, fd);
  record_directory_walk(fd, add_entry, &s);
  if (r->count > before)
    qsort(r->list + before, r->count - before, sizeof *r->list, by_time_in_name);
  for (size_t i = before; i < r->count; i++)
    r->list[i].directory = fd;
}

/* To the kernel a link with a slash behind it is what it leads to. */
static int open_operand(const char *path, bool follows)
{
  char plain[PATH_MAX];
  size_t n = strlen(path);
  while (n > 1 && path[n - 1] == '/')
    n--;
  snprintf(plain, sizeof plain, "%.*s", (int)n, path);
  return open(follows ? path : plain,
              O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (follows ? 0 : O_NOFOLLOW));
}

static void add_operand(struct recordings *r, const char *where, const char *path, bool follows)
{
  int fd = open_operand(path, follows);
  struct stat s;
  if (fd < 0 || fstat(fd, &s)) {
    complain(where, "%s: %s", path,
             errno == ELOOP ? "a symbolic link, which is not followed here" : strerror(errno));
    r->trouble = true;
  } else if (S_ISDIR(s.st_mode)) {
    add_directory(r, path, fd);
    return;
  } else {
    add(r, path, false);
  }
  if (fd >= 0)
    close(fd);
}

/* A default directory that exists, is this user's and nobody else's to write to, as the shim demands
 * it; its descriptor, or -1. */
static int open_default(const struct record_directories *d, int i, char path[PATH_MAX + 32])
{
  struct text t = {path, path, path + PATH_MAX + 32, false};
  struct stat s;
  record_directory_path(&t, d, i, geteuid());
  text_end(&t);
  if (!path[0])
    return -1;
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || (fstat(fd, &s) == 0 && s.st_uid == geteuid() && !(s.st_mode & 022)))
    return fd;
  close(fd);
  return -1;
}

void each_default_directory(void (*each)(const char *path, int fd, void *), void *context)
{
  struct record_directories d;
  char path[PATH_MAX + 32];
  default_directories(&d);
  for (int i = 0; i < RECORD_DIRECTORIES; i++) {
    int fd = open_default(&d, i, path);
    if (fd >= 0)
      each(path, fd, context);
  }
}

static void add_default(const char *path, int fd, void *context)
{
  add_directory(context, path, fd);
}

struct recordings recordings_find(const char *where, int count, char **operands, bool follows)
{
  struct recordings r = {0};
  for (int i = 0; i < count; i++)
    add_operand(&r, where, operands[i], follows);
  if (!count)
    each_default_directory(add_default, &r);
  return r;
}

bool is_directory(const char *path)
{
  struct stat s;
  return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static bool any_in(const struct recordings *r, const char *directory)
{
  size_t n = strlen(directory);
  for (size_t i = 0; i < r->count; i++) {
    const char *path = r->list[i].path;
    if (strncmp(path, directory, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/'))
      return true;
  }
  return false;
}

void recordings_say_none(const struct recordings *r, const char *where, int count, char **operands)
{
  if (!count && !r->count && !r->trouble)
    complain(where, "no recording in the default directories of user %u", (unsigned)geteuid());
  for (int i = 0; i < count; i++)
    if (is_directory(operands[i]) && !any_in(r, operands[i]))
      complain(where, "%s: no recording (*" RECORD_SUFFIX ") in this directory", operands[i]);
}

void recordings_say_unrecorded(const struct recordings *r, const char *where)
{
  for (size_t i = 0; i < r->directory_count; i++) {
    const struct recordings_directory *d = &r->directories[i];
    unsigned long long n = record_directory_unrecorded(d->fd);
    if (n)
      complain(where,
               "%s: %s%llu processes were not recorded: the directory held as much as it may, "
               "%llu MiB; `berth stats --tidy %s` makes room",
               d->path, n < RECORD_UNRECORDED_MOST ? "" : "more than ", n,
               (unsigned long long)record_directory_limit(d->fd) >> 20, d->path);
  }
}

void recordings_free(struct recordings *r)
{
  for (size_t i = 0; i < r->count; i++)
    free(r->list[i].path);
  for (size_t i = 0; i < r->directory_count; i++) {
    free(r->directories[i].path);
    close(r->directories[i].fd);
  }
  free(r->directories);
  free(r->list);
}

static const char *try_open(const struct recording *recording, struct record_reader *reader)
{
  return recording->is_entry ? record_open_entry(reader, AT_FDCWD, recording->path)
                             : record_open(reader, AT_FDCWD, recording->path);
}

static bool is_deleted(const char *path)
{
  struct stat s;
  return lstat(path, &s) && errno == ENOENT;
}

/* Of an operand the file itself is to be tidied, of an entry all of its directory. */
static void say_left(const char *where, const struct recording *recording, bool long_ago)
{
  const char *path = recording->path, *slash = recording->is_entry ? strrchr(path, '/') : NULL;
  complain(
      where,
      "%s: never finished: its process ended while it made this recording, and nothing is in it; "
      "`berth stats --tidy %.*s` deletes it%s",
      path, slash ? (int)(slash - path) : (int)strlen(path), path,
      long_ago ? "" : " once it is a minute old");
}

/* Of an entry that is no recording (yet) no harm is done: nothing was ever in it. */
static enum recording_opened open_unfinished(const char *where, struct recording *recording,
                                             enum unfinished what)
{
  if (what != UNFINISHED_BEING_MADE) {
    recording->was_left = true;
    say_left(where, recording, what == UNFINISHED_LEFT_LONG);
    return recording->is_entry ? RECORDING_NEVER : RECORDING_REFUSED;
  }
  if (recording->is_entry)
    return RECORDING_NOT_YET;
  complain(where,
           "%s: not finished: its process is making this recording, and nothing is in it yet",
           recording->path);
  return RECORDING_REFUSED;
}

enum recording_opened recording_open(const char *where, struct recording *recording,
                                     struct record_reader *reader)
{
  const char *problem = try_open(recording, reader);
  if (!problem)
    return RECORDING_OPEN;
  if (recording->is_entry && is_deleted(recording->path))
    return RECORDING_NOT_YET;
  enum unfinished what = unfinished_look(AT_FDCWD, recording->path);
  if (what != UNFINISHED_NOT)
    return open_unfinished(where, recording, what);
  problem = try_open(recording, reader); /* it may have been finished just now */
  if (problem)
    complain(where, "%s: %s", recording->path, problem);
  return problem ? RECORDING_REFUSED : RECORDING_OPEN;
}
