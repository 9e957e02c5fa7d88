// SPDX-License-Identifier: MIT
#include "cli/steering.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/policy_file.h"
#include "record/clock.h"
#include "record/map.h"

bool steering_load(struct steering *s, const char *where)
{
  bool options = one_rule_given(&s->rule);
  if (s->file && options) {
    complain(where, "-P and a rule of options: a policy is one or the other");
    return false;
  }
  if (s->file)
    return policy_file_read(where, s->file, &s->image) == EXIT_YES;
  if (options)
    s->image = one_rule_compile(&s->rule, where);
  return s->image || !options;
}

void steering_free(struct steering *s)
{
  free(s->image);
  s->image = NULL;
}

static bool write_image(const struct steering *s, const char *path)
{
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  bool written = fd >= 0 && policy_file_write(fd, s->image);
  int error = errno;
  if (fd >= 0)
    close(fd);
  if (fd >= 0 && !written)
    unlink(path);
  errno = error;
  return written;
}

static bool name_file(const struct steering *s, const char *where, char path[PATH_MAX])
{
  if (s->file && realpath(s->file, path))
    return true;
  complain(where, "the policy has nowhere to be: no directory takes a recording");
  return false;
}

/* The image's path: RECORDING.policy, or, where that is taken, one that nobody else thinks of. */
static bool name_image(const char *recording, bool taken, char path[PATH_MAX])
{
  char unique[48] = "";
  if (taken)
    snprintf(unique, sizeof unique, ".%d-%llx", (int)getpid(),
             (unsigned long long)clock_ns(CLOCK_MONOTONIC));
  int n = snprintf(path, PATH_MAX, "%s%s" STEERING_SUFFIX, recording, unique);
  errno = ENAMETOOLONG;
  return n < PATH_MAX;
}

/* A file that is there already is the user's own, whatever it holds. */
bool steering_install(const struct steering *s, const char *where, const char *recording,
                      char path[PATH_MAX])
{
  path[0] = '\0';
  if (!s->image)
    return true;
  if (!recording[0])
    return name_file(s, where, path);
  bool written = name_image(recording, false, path) && write_image(s, path);
  if (!written && errno == EEXIST)
    written = name_image(recording, true, path) && write_image(s, path);
  if (!written) {
    complain(where, "%s: %s", path, strerror(errno));
    path[0] = '\0';
  }
  return written;
}

/* --- its end ------------------------------------------------------------------------------------ */

static bool is_image(int directory, const char *path)
{
  char start[8];
  int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  bool is = fd >= 0 && read(fd, start, sizeof start) == (ssize_t)sizeof start &&
            policy_is_image(start, sizeof start);
  if (fd >= 0)
    close(fd);
  return is;
}

void steering_remove(const char *recording, const char *path)
{
  if (path[0] && !record_is_mapped(AT_FDCWD, recording) && is_image(AT_FDCWD, path))
    unlink(path);
}

void steering_remove_beside(int directory, const char *recording)
{
  char path[PATH_MAX];
  if (name_image(recording, false, path) && is_image(directory, path))
    unlinkat(directory, path, 0);
}
