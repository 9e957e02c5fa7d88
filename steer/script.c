// SPDX-License-Identifier: MIT
#include "steer/script.h"

#include <string.h>

#include "policy/match.h"
#include "policy/script.h"
#include "record/sys.h"
#include "record/text.h"

static const char *base_of(const char *path, size_t length)
{
  while (length && path[length - 1] != '/')
    length--;
  return path + length;
}

/* As the kernel has it: what does not fit is not looked at. Each argument ends in NUL. */
static size_t read_arguments(char *to, size_t size)
{
  size_t used = 0;
  int fd = sys_open(AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0)
    return 0;
  for (long n; used < size && (n = sys_read(fd, to + used, size - used)) > 0;)
    used += (size_t)n;
  sys_close(fd);
  while (used && to[used - 1])
    used--;
  return used;
}

/* A FIFO is not opened: whoever waits to write into it would take this for the reader. */
static bool is_file(const char *path)
{
  struct statx s;
  int fd = sys_open(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
  bool is = fd >= 0 && sys_stat(fd, "", &s) == 0 && S_ISREG(s.stx_mode);
  if (fd >= 0)
    sys_close(fd);
  return is;
}

static size_t read_line(const char *path, char line[POLICY_SCRIPT_LINE])
{
  int fd = is_file(path) ? sys_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0)
                         : -1;
  long n = fd >= 0 ? sys_read(fd, line, POLICY_SCRIPT_LINE) : -1;
  if (fd >= 0)
    sys_close(fd);
  return n > 0 ? (size_t)n : 0;
}

static bool same(struct policy_script_word word, const char *argument)
{
  return text_length(argument) == word.length && memcmp(argument, word.at, word.length) == 0;
}

/* The interpreter by its base name: another program may have looked for it in PATH, too. */
static bool same_program(struct policy_script_word word, const char *argument)
{
  const char *base = base_of(word.at, word.length);
  word.length -= (size_t)(base - word.at);
  word.at = base;
  return same(word, base_of(argument, text_length(argument)));
}

/* Whether executing the script begins the command line with what comes before it there. */
static bool leads_to(const char *script, const char *arguments)
{
  char line[POLICY_SCRIPT_LINE];
  struct policy_script_word words[POLICY_SCRIPT_WORDS];
  size_t count = policy_script_words(line, read_line(script, line), words);
  if (!count || !same_program(words[0], arguments))
    return false;
  const char *at = arguments + text_length(arguments) + 1;
  size_t i = 1;
  for (; i < count && at < script && same(words[i], at); i++)
    at += text_length(at) + 1;
  return i == count && at == script;
}

static bool is_asked_for(const policy_image *p, const char *name)
{
  for (uint32_t i = 0; i < p->programs.count; i++)
    if (policy_glob(policy_program(p, i), name))
      return true;
  return false;
}

void script_find(const policy_image *p, char name[NAME_MAX + 1])
{
  char arguments[2048];
  name[0] = '\0';
  size_t size = p->programs.count ? read_arguments(arguments, sizeof arguments) : 0;
  const char *end = arguments + size, *at = arguments;
  for (int i = 0; i <= POLICY_SCRIPT_WORDS && at < end; i++, at += text_length(at) + 1) {
    size_t length = text_length(at);
    const char *base = base_of(at, length);
    if (i && length && at[0] != '-' && is_asked_for(p, base) && leads_to(at, arguments) &&
        text_length(base) <= NAME_MAX) {
      memcpy(name, base, text_length(base) + 1);
      return;
    }
  }
}
