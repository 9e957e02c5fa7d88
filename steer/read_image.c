// SPDX-License-Identifier: MIT
#include "steer/read_image.h"

#include <errno.h>
#include <string.h>

#include "policy/image.h"
#include "policy/inline.h"
#include "record/map.h"
#include "record/sys.h"
#include "record/text.h"
#include "steer/rules.h"

static char problem[256];

const char *problem_because(const char *what, int error)
{
  struct text t = TEXT_INIT(problem);
  const char *name = errno_name((unsigned)error);
  text_string(&t, what);
  text_string(&t, ": ");
  text_string(&t, name ? name : "?");
  return text_end(&t);
}

bool bytes_get_room(struct bytes *b, size_t size)
{
  b->at = sys_map(size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  b->room = size;
  b->size = 0;
  return b->at != MAP_FAILED;
}

static void bytes_give_back(struct bytes *b)
{
  sys_unmap(b->at, b->room);
}

/* A copy: whoever writes into the file later does not write into the program. */
static const char *read_all(int fd, struct bytes *b)
{
  for (long n; (n = sys_read(fd, b->at + b->size, b->room - b->size)) != 0;) {
    if (n < 0 && errno != EINTR)
      return problem_because("read", errno);
    b->size += n > 0 ? (size_t)n : 0;
    if (b->size == b->room)
      return "larger than a policy may be";
  }
  return NULL;
}

/* Where `berth run` puts its file others may put one too, once that is deleted. */
static bool is_planted(const char *path, const struct statx *s)
{
  return text_begins(path, POLICY_PREPARED) && (!record_trusts(s->stx_uid) || s->stx_mode & 022);
}

/* A FIFO in its place must not hold the program up, nor a terminal become the session's. */
static const char *read_file(const char *path, struct bytes *b)
{
  struct statx s;
  int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  if (text_begins(path, POLICY_PREPARED))
    flags |= O_NOFOLLOW;
  int fd = sys_open(AT_FDCWD, path, flags, 0);
  if (fd < 0)
    return problem_because("open", errno);
  const char *wrong = NULL;
  if (sys_stat(fd, "", &s) || !S_ISREG(s.stx_mode))
    wrong = "not a regular file";
  else if (is_planted(path, &s))
    wrong = "another user's, who is not root, or others may write to it";
  else if (s.stx_size > POLICY_MAX_IMAGE)
    wrong = "larger than a policy may be";
  else if (!bytes_get_room(b, (size_t)s.stx_size + 1))
    wrong = problem_because("mmap", errno);
  else if ((wrong = read_all(fd, b)))
    bytes_give_back(b);
  sys_close(fd);
  return wrong;
}

/* In place of the JSON, the image that it makes. */
static const char *compile(struct bytes *b, const struct rules_loader *loader)
{
  size_t size = 0;
  struct bytes image = {0};
  void *compiled = loader->load((const char *)b->at, b->size, &size, problem, sizeof problem);
  if (!compiled)
    return problem;
  bool copied = bytes_get_room(&image, size);
  if (copied)
    memcpy(image.at, compiled, size);
  image.size = size;
  loader->free_image(compiled);
  if (!copied)
    return problem_because("mmap", ENOMEM);
  bytes_give_back(b);
  *b = image;
  return NULL;
}

static const char *read_inline(const char *value, struct bytes *b)
{
  size_t size = policy_inline_read(value, NULL, 0);
  if (!size)
    return "cut short, or no image";
  if (!bytes_get_room(b, size))
    return problem_because("mmap", errno);
  b->size = policy_inline_read(value, b->at, size);
  const char *wrong = policy_image_problem(b->at, b->size);
  if (wrong)
    bytes_give_back(b);
  return wrong;
}

const char *read_image(const char *policy, const struct rules_loader *loader, struct bytes *b)
{
  if (policy_is_inline(policy))
    return read_inline(policy, b);
  const char *wrong = read_file(policy, b);
  if (wrong)
    return wrong;
  if (!policy_is_image(b->at, b->size))
    wrong = compile(b, loader);
  if (!wrong)
    wrong = policy_image_problem(b->at, b->size);
  if (wrong)
    bytes_give_back(b);
  return wrong;
}
