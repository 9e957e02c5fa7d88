// SPDX-License-Identifier: MIT
#include "cli/policy_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/inline.h"
#include "policy/parse.h"

/* Reads to the end, or until there is more than any policy has. */
static bool read_all(int fd, char **bytes, size_t *size)
{
  size_t room = 0;
  for (;;) {
    if (*size == room) {
      room = room ? 2 * room : 65536;
      char *grown = realloc(*bytes, room);
      if (!grown)
        return false;
      *bytes = grown;
    }
    ssize_t n = read(fd, *bytes + *size, room - *size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n == 0;
    *size += (size_t)n;
    if (*size > POLICY_MAX_IMAGE)
      return true;
  }
}

static policy_image *parse(const char *path, const char *json, size_t size)
{
  struct policy_problems problems;
  size_t image_size;
  policy_image *image = policy_parse(json, size, &image_size, &problems);
  for (size_t i = 0; i < problems.count; i++)
    remark(path, "%s", problems.lines[i]);
  if (!image && !problems.count)
    remark(path, " out of memory");
  policy_problems_free(&problems);
  return image;
}

enum exit_status policy_file_read(const char *where, const char *path, policy_image **image)
{
  char *bytes = NULL;
  size_t size = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0 || !read_all(fd, &bytes, &size)) {
    complain(where, "%s: %s", path, strerror(errno));
    if (fd >= 0)
      close(fd);
    free(bytes);
    return EXIT_TROUBLE;
  }
  close(fd);
  if (!policy_is_image(bytes, size)) {
    *image = parse(path, bytes, size);
    free(bytes);
    return *image ? EXIT_YES : EXIT_NO;
  }
  const char *problem = policy_image_problem(bytes, size);
  if (problem) {
    remark(path, " %s", problem);
    free(bytes);
    return EXIT_NO;
  }
  *image = (policy_image *)(void *)bytes;
  return EXIT_YES;
}

/* --- without a word -------------------------------------------------------------------------- */

static char *read_inline(const char *value, size_t *size)
{
  *size = policy_inline_read(value, NULL, 0);
  char *bytes = *size ? malloc(*size) : NULL;
  if (bytes)
    policy_inline_read(value, bytes, *size);
  return bytes;
}

/* As a program opens it: what is no file is neither waited for nor emptied. */
static char *read_file(const char *path, size_t *size)
{
  struct stat s;
  char *bytes = NULL;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0)
    return NULL;
  if (fstat(fd, &s) || !S_ISREG(s.st_mode) || !read_all(fd, &bytes, size)) {
    free(bytes);
    bytes = NULL;
  }
  close(fd);
  return bytes;
}

policy_image *policy_file_try(const char *policy)
{
  size_t size = 0, image_size;
  struct policy_problems problems = {0};
  char *bytes = policy_is_inline(policy) ? read_inline(policy, &size) : read_file(policy, &size);
  policy_image *image = (void *)bytes;
  if (!bytes || (policy_is_image(bytes, size) && !policy_image_problem(bytes, size)))
    return image;
  image = policy_is_image(bytes, size) ? NULL : policy_parse(bytes, size, &image_size, &problems);
  policy_problems_free(&problems);
  free(bytes);
  return image;
}

bool policy_file_write(int fd, const policy_image *image)
{
  const char *at = (const char *)image;
  for (size_t left = image->size; left;) {
    ssize_t n = write(fd, at, left);
    if (n < 0 && errno != EINTR)
      return false;
    at += n > 0 ? n : 0;
    left -= n > 0 ? (size_t)n : 0;
  }
  return true;
}
