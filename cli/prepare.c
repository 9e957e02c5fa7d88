// SPDX-License-Identifier: MIT
#include "cli/prepare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/recordings.h"
#include "cli/tidy.h"
#include "policy/state.h"
#include "record/clock.h"
#include "record/directory.h"
#include "record/layout.h"
#include "record/map.h"
#include "record/text.h"

/* Whoever tidies the directory takes a recording that nobody maps for unused. Until a process attaches
 * that is none, and a static program never does: so this process keeps it mapped, and no child. */
static struct record_map held;

void prepare_release(void)
{
  if (held.header)
    record_unmap(&held);
}

/* What is wanted of it. */
struct wish {
  uint32_t events;            /* 0: as many as there is room for, at most the usual */
  const policy_image *policy; /* NULL for none: whose state the recording is to hold */
};

static int create(int directory, const char *name, struct record_shape shape, struct wish wish)
{
  uint64_t key[2] = {0};
  int error = record_create(directory, name, shape, &held);
  if (error)
    return error;
  madvise(held.header, held.size, MADV_DONTFORK);
  record_locate(directory, name, &held);
  if (wish.policy && getrandom(key, sizeof key, 0) == sizeof key)
    policy_state_begin(held.state, wish.policy, key);
  return 0;
}

static struct record_shape shape_for(struct wish wish)
{
  struct record_shape shape = RECORD_SHAPE_TREE;
  if (wish.events)
    shape.events = wish.events;
  if (wish.policy)
    shape.state = (uint32_t)policy_state_size(wish.policy);
  return shape;
}

/* Half of it, or of what was not asked for, until it is as small as a shim's own. */
static bool make_smaller(struct record_shape *shape, uint32_t events)
{
  const struct record_shape smallest = RECORD_SHAPE_PRIVATE;
  if (shape->processes / 2 < smallest.processes)
    return false;
  shape->processes /= 2;
  shape->destinations /= 2;
  shape->rules /= 2;
  if (!events)
    shape->events /= 2;
  return true;
}

/* A path that exists is replaced if it is a recording and no process maps it. What lies beside it
 * may be the user's own. */
static bool make_way(const char *file)
{
  struct stat s;
  if (lstat(file, &s) || (recording_is_unused(AT_FDCWD, file) && unlink(file) == 0))
    return true;
  complain("run", "--record: %s: exists, and is no recording or one still in use", file);
  return false;
}

static const char *why(int error)
{
  return error == EOPNOTSUPP ? "not on a file system that copies on write" : strerror(error);
}

static int prepare_file(const char *file, struct wish wish, char path[PATH_MAX])
{
  if (!make_way(file))
    return EEXIST;
  int error = create(AT_FDCWD, file, shape_for(wish), wish);
  if (!error && !realpath(file, path))
    error = errno;
  if (error)
    complain("run", "--record: %s: %s", file, why(error));
  return error;
}

/* `directory` is a descriptor, closed here, or -1 with errno. */
static int create_in(int directory, const char *directory_path, struct wish wish,
                     char path[PATH_MAX])
{
  char name[64];
  if (directory < 0)
    return errno;
  snprintf(name, sizeof name, "%d-%llx" RECORD_SUFFIX, (int)getpid(),
           (unsigned long long)clock_ns(CLOCK_MONOTONIC));
  struct record_shape shape = shape_for(wish);
  int error;
  do
    error = record_directory_has_room(directory, record_size(shape))
                ? create(directory, name, shape, wish)
                : EDQUOT;
  while ((error == EDQUOT || error == ENOSPC) && make_smaller(&shape, wish.events));
  close(directory);
  int n = snprintf(path, PATH_MAX, "%s/%s", directory_path, name);
  return error ? error : n < PATH_MAX ? 0 : ENAMETOOLONG;
}

static int prepare_in(const char *named, struct wish wish, char path[PATH_MAX])
{
  char absolute[PATH_MAX], directory[PATH_MAX];
  size_t length = strlen(named);
  while (length > 1 && named[length - 1] == '/')
    length--; /* a link with a slash behind it would be followed */
  snprintf(directory, sizeof directory, "%.*s", (int)length, named);
  errno = ENAMETOOLONG;
  int fd = length < sizeof directory ? record_directory_open(directory) : -1;
  int error = fd < 0 ? errno : 0;
  if (!error)
    error = create_in(fd, realpath(directory, absolute) ? absolute : directory, wish, path);
  if (error == EACCES)
    complain("run", "BERTH_RECORD: %s: not yours alone to write to", directory);
  else if (error)
    complain("run", "BERTH_RECORD: %s: %s", directory, why(error));
  return error;
}

static int prepare_by_default(struct wish wish, char path[PATH_MAX])
{
  struct record_directories d;
  int error = ENOENT;
  default_directories(&d);
  for (int i = 0; i < RECORD_DIRECTORIES && error && error != EDQUOT; i++) {
    char directory[PATH_MAX + 32];
    struct text t = TEXT_INIT(directory);
    record_directory_path(&t, &d, i, geteuid());
    if (!t.full)
      error = create_in(record_directory_default(&d, i), text_end(&t), wish, path);
  }
  if (error == EDQUOT)
    complain(
        "run",
        "no room: recordings in the default directory would take more than they may, a quarter "
        "of its file system at most");
  else if (error)
    complain("run", "no directory for a recording: %s", why(error));
  return error;
}

int prepare_recording(const char *file, uint32_t events, const policy_image *policy, bool quiet,
                      char path[PATH_MAX])
{
  struct wish wish = {events, policy};
  const char *place = secure_getenv("BERTH_RECORD");
  struct stat s;
  if (file)
    return prepare_file(file, wish, path);
  tidy_defaults(quiet ? NULL : "run");
  bool is_file = place && (strncmp(place, RECORD_PREPARED, sizeof RECORD_PREPARED - 1) == 0 ||
                           (stat(place, &s) == 0 && !S_ISDIR(s.st_mode)));
  if (place && place[0] && strcmp(place, "off") != 0 && !is_file)
    return prepare_in(place, wish, path);
  return prepare_by_default(wish, path);
}
