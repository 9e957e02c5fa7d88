// SPDX-License-Identifier: MIT
#include "policy/script.h"

#include <string.h>

/* Where the character is first; NULL where it is not: memchr(3) is no import of the shim's. */
static const char *find(const char *at, size_t size, char c)
{
  for (; size; at++, size--)
    if (*at == c)
      return at;
  return NULL;
}

static bool is_blank(char c)
{
  return c == ' ' || c == '\t';
}

/* What is left of the line. */
struct line {
  const char *at, *end;
};

static void skip_blanks(struct line *line)
{
  while (line->at < line->end && is_blank(*line->at))
    line->at++;
}

static struct policy_script_word next_word(struct line *line)
{
  skip_blanks(line);
  struct policy_script_word word = {.at = line->at};
  while (line->at < line->end && !is_blank(*line->at))
    line->at++;
  word.length = (size_t)(line->at - word.at);
  skip_blanks(line);
  return word;
}

static struct policy_script_word rest_of(const struct line *line)
{
  return (struct policy_script_word){line->at, (size_t)(line->end - line->at)};
}

static bool is_env(struct policy_script_word word)
{
  return (word.length == 3 || (word.length > 3 && word.at[word.length - 4] == '/')) &&
         memcmp(word.at + word.length - 3, "env", 3) == 0;
}

static bool has(struct policy_script_word word, char c)
{
  return find(word.at, word.length, c);
}

/* Past -S, or --split-string and what parts it from its value. */
static bool take_split(struct line *line)
{
  static const char *const options[] = {"-S", "--split-string=", "--split-string ", "-vS"};
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    size_t n = strlen(options[i]);
    if ((size_t)(line->end - line->at) > n && memcmp(line->at, options[i], n) == 0) {
      line->at += n;
      return true;
    }
  }
  return false;
}

static size_t words_of_env(struct line line, struct policy_script_word *words)
{
  size_t count = 0;
  bool split = take_split(&line);
  struct policy_script_word rest = rest_of(&line);
  if (split &&
      (has(rest, '"') || has(rest, '\'') || has(rest, '\\') || has(rest, '$') || has(rest, '#')))
    return 0;
  if (!split) /* one argument, blanks and all */
    words[count++] = rest;
  while (split && line.at < line.end) {
    struct policy_script_word word = next_word(&line);
    if (!count && has(word, '='))
      continue;
    if (count == POLICY_SCRIPT_WORDS)
      return 0;
    if (word.length)
      words[count++] = word;
  }
  return count && words[0].length && words[0].at[0] != '-' && !has(words[0], '=') ? count : 0;
}

size_t policy_script_words(const char *file, size_t size,
                           struct policy_script_word words[POLICY_SCRIPT_WORDS])
{
  if (size > POLICY_SCRIPT_LINE)
    size = POLICY_SCRIPT_LINE;
  const char *end = size > 2 && memcmp(file, "#!", 2) == 0 ? find(file, size, '\n') : NULL;
  if (!end || find(file, (size_t)(end - file), '\0'))
    return 0;
  struct line line = {file + 2, end};
  while (line.end > line.at && is_blank(line.end[-1]))
    line.end--;
  words[0] = next_word(&line);
  if (!words[0].length)
    return 0;
  if (is_env(words[0]))
    return words_of_env(line, words);
  words[1] = rest_of(&line);
  return words[1].length ? 2 : 1;
}
