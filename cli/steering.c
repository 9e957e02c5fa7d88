// SPDX-License-Identifier: MIT
#include "cli/steering.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/policy_file.h"
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

/* Whether it is a compiled policy, as the one that an earlier run left beside its recording: what
 * else somebody put there is not to be deleted. */
static bool is_image(const char *path)
{
  char start[8];
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  bool is = fd >= 0 && read(fd, start, sizeof start) == (ssize_t)sizeof start &&
            policy_is_image(start, sizeof start);
  if (fd >= 0)
    close(fd);
  return is;
}

/* Whether nothing is there any more. The policy given to this very run stays. */
static bool make_way(const struct steering *s, const char *path)
{
  struct stat there, given;
  if (lstat(path, &there))
    return true;
  bool is_given = s->file && stat(s->file, &given) == 0 && given.st_dev == there.st_dev &&
                  given.st_ino == there.st_ino;
  return !is_given && is_image(path) && unlink(path) == 0;
}

bool steering_install(const struct steering *s, const char *where, const char *recording,
                      char path[PATH_MAX])
{
  path[0] = '\0';
  if (!s->image)
    return true;
  if (!recording[0])
    return name_file(s, where, path);
  if (snprintf(path, PATH_MAX, "%s" STEERING_SUFFIX, recording) >= PATH_MAX) {
    complain(where, "%s: %s", recording, strerror(ENAMETOOLONG));
    return false;
  }
  if (!make_way(s, path)) {
    complain(where, "%s: exists, and would be replaced: name another recording", path);
    return false;
  }
  if (write_image(s, path))
    return true;
  complain(where, "%s: %s", path, strerror(errno));
  return false;
}

void steering_remove(const char *recording)
{
  char path[PATH_MAX];
  if (!record_is_mapped(AT_FDCWD, recording) &&
      snprintf(path, sizeof path, "%s" STEERING_SUFFIX, recording) < (int)sizeof path &&
      is_image(path))
    unlink(path);
}
