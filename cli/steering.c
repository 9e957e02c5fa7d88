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
#include "cli/running.h"
#include "policy/inline.h"
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

void steering_inherit(struct steering *s, const char *policy)
{
  if (!s->image && policy && policy[0])
    s->image = policy_file_try(policy);
}

void steering_free(struct steering *s)
{
  free(s->image);
  s->image = NULL;
}

/* --- the image, handed to programs -------------------------------------------------------------- */

/* A string of the environment may have 128 KiB (MAX_ARG_STRLEN), and all of it with the arguments a
 * quarter of the stack: programs that fill the rest are to notice nothing. */
static bool fits_environment(size_t length)
{
  const size_t most = 64 << 10;
  long all = sysconf(_SC_ARG_MAX);
  return length <= most && (all <= 0 || length <= (size_t)all / 32);
}

/* NULL where it is too long, or there is no memory. */
static char *inline_value(const policy_image *image)
{
  char *text = malloc(policy_inline_room(image->size));
  if (text && fits_environment(policy_inline_write(image, text)))
    return text;
  free(text);
  return NULL;
}

static bool write_image(const policy_image *image, const char *path)
{
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  bool written = fd >= 0 && policy_file_write(fd, image) && fchmod(fd, 0444) == 0;
  int error = errno;
  if (fd >= 0)
    close(fd);
  if (fd >= 0 && !written)
    unlink(path);
  errno = error;
  return written;
}

/* Where other users find a file of ours, and cannot put one of theirs in its place. */
static const char *const folders[] = {"/dev/shm", "/tmp"};
#define FOLDERS (sizeof folders / sizeof *folders)

static bool name_file(const char *folder, const char *name, char path[PATH_MAX])
{
  int n = snprintf(path, PATH_MAX, "/%s/berth-policy-%u-%s", folder, (unsigned)geteuid(), name);
  errno = ENAMETOOLONG;
  return n < PATH_MAX; /* it begins with POLICY_PREPARED */
}

static bool is_for_all(const char *folder)
{
  struct stat s;
  return stat(folder, &s) == 0 && S_ISDIR(s.st_mode) && (s.st_mode & S_IXOTH) &&
         (!(s.st_mode & (S_IWOTH | S_IWGRP)) || (s.st_mode & S_ISVTX));
}

static bool write_file(const policy_image *image, const char *name, char path[PATH_MAX])
{
  int error = ENOENT;
  for (size_t i = 0; i < FOLDERS; i++) {
    if (is_for_all(folders[i]) && name_file(folders[i], name, path) && write_image(image, path))
      return true;
    error = errno;
  }
  path[0] = '\0';
  errno = error;
  return false;
}

/* Named after the recording that berth named, with which it is tidied; else as nobody else would. */
static bool make_file(const policy_image *image, const char *recording, char path[PATH_MAX])
{
  char unique[48];
  snprintf(unique, sizeof unique, "%d-%llx", (int)getpid(),
           (unsigned long long)clock_ns(CLOCK_MONOTONIC));
  return (recording[0] && write_file(image, basename(recording), path)) ||
         write_file(image, unique, path);
}

bool steering_hand_over(const struct steering *s, const char *where, const char *recording,
                        struct handed_policy *h)
{
  *h = (struct handed_policy){0};
  if (!s->image)
    return true;
  h->value = inline_value(s->image);
  if (!h->value && make_file(s->image, recording, h->file))
    h->value = strdup(h->file);
  if (!h->value)
    complain(where, "the policy has nowhere to be: %s", strerror(errno));
  return h->value != NULL;
}

/* --- its end ------------------------------------------------------------------------------------ */

/* A file of ours that is an image. */
static bool is_ours(const char *path)
{
  char start[8];
  struct stat s;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  bool is = fd >= 0 && fstat(fd, &s) == 0 && s.st_uid == geteuid() &&
            read(fd, start, sizeof start) == (ssize_t)sizeof start &&
            policy_is_image(start, sizeof start);
  if (fd >= 0)
    close(fd);
  return is;
}

void steering_delete(const char *file)
{
  if (file[0] && is_ours(file))
    unlink(file);
}

bool steering_remove(const char *recording, const char *file)
{
  if (!file[0] || !is_ours(file))
    return true;
  if ((recording[0] && record_is_mapped(AT_FDCWD, recording)) ||
      running_any_with("BERTH_POLICY", file)) /* what it executes later will read it */
    return false;
  unlink(file);
  return true;
}

void steering_remove_of(const char *recording)
{
  char path[PATH_MAX];
  for (size_t i = 0; i < FOLDERS; i++)
    if (name_file(folders[i], basename(recording), path))
      steering_remove("", path);
}
