// SPDX-License-Identifier: MIT
#include "cli/script.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void words_add(struct words *w, const char *word, size_t length)
{
  char **list = reallocarray(w->list, w->count + 2, sizeof *list);
  char *copy = strndup(word, length);
  if (!list || !copy)
    abort();
  w->list = list;
  w->list[w->count++] = copy;
  w->list[w->count] = NULL;
}

void words_free(struct words *w)
{
  for (size_t i = 0; i < w->count; i++)
    free(w->list[i]);
  free(w->list);
  *w = (struct words){0};
}

/* --- #! ------------------------------------------------------------------------------------ */

static bool is_blank(char c)
{
  return c == ' ' || c == '\t';
}

static void copy(char *to, const char *from, const char *end)
{
  size_t length = strnlen(from, (size_t)(end - from));
  memcpy(to, from, length);
  to[length] = '\0';
}

bool script_interpreter(const struct executable *e, char interpreter[EXECUTABLE_HEAD],
                        char argument[EXECUTABLE_HEAD])
{
  const char *at = e->head + 2, *limit = e->head + EXECUTABLE_HEAD - 1;
  const char *end = memchr(e->head, '\n', EXECUTABLE_HEAD);
  bool cut = !end; /* a line that is cut is taken where at least the path is whole */
  if (cut)
    end = limit;
  while (end > at && is_blank(end[-1]))
    end--;
  while (at < end && is_blank(*at))
    at++;
  const char *stop = at;
  while (stop < end && *stop && !is_blank(*stop))
    stop++;
  if (stop == at || (cut && stop == limit && *limit && !is_blank(*limit)))
    return false;
  copy(interpreter, at, stop);
  while (stop < end && is_blank(*stop))
    stop++;
  copy(argument, stop, end);
  return true;
}

/* --- env(1) -------------------------------------------------------------------------------- */

/* ${NAME} of -S. */
static const char *expand(struct words *w, const char *at)
{
  const char *end = at[1] == '{' ? strchr(at, '}') : NULL;
  if (!end)
    return at + 1;
  char *name = strndup(at + 2, (size_t)(end - at - 2));
  const char *value = name ? getenv(name) : NULL;
  if (value)
    words_add(w, value, strlen(value));
  free(name);
  return end + 1;
}

/* Joins the pieces of one word. */
static void end_word(struct words *to, struct words *pieces)
{
  char *word = NULL;
  size_t length = 0;
  for (size_t i = 0; i < pieces->count; i++) {
    size_t more = strlen(pieces->list[i]);
    word = realloc(word, length + more + 1);
    if (!word)
      abort();
    memcpy(word + length, pieces->list[i], more);
    length += more;
  }
  if (pieces->count)
    words_add(to, word ? word : "", length);
  free(word);
  words_free(pieces);
}

static const char *take_character(struct words *pieces, const char *text, char quote)
{
  bool escaped = *text == '\\' && text[1] && (quote != '\'' || strchr("'\\", text[1]));
  if (escaped)
    text++;
  words_add(pieces, escaped && *text == '_' ? " " : text, 1);
  return text + 1;
}

/* -S: blanks part words, quotes and backslashes keep them. */
static void split(const char *text, struct words *to)
{
  struct words pieces = {0};
  char quote = 0;
  while (*text) {
    if (quote ? *text == quote : *text == '\'' || *text == '"') {
      quote = quote ? 0 : *text;
      words_add(&pieces, "", 0);
      text++;
    } else if (!quote && isspace((unsigned char)*text)) {
      end_word(to, &pieces);
      text++;
    } else if (!quote && *text == '#' && !pieces.count) {
      break;
    } else if (*text == '$' && quote != '\'') {
      text = expand(&pieces, text);
    } else {
      text = take_character(&pieces, text, quote);
    }
  }
  end_word(to, &pieces);
}

struct cursor {
  struct words words;
  size_t at;
};

/* Puts the words of `text` in place of those before the cursor. */
static void insert(struct cursor *c, const char *text)
{
  struct words more = {0};
  split(text, &more);
  for (size_t i = c->at; i < c->words.count; i++)
    words_add(&more, c->words.list[i], strlen(c->words.list[i]));
  words_free(&c->words);
  *c = (struct cursor){.words = more};
}

static const char *keep(struct env_command *env, const char *text)
{
  words_add(&env->text, text, strlen(text));
  return env->text.list[env->text.count - 1];
}

static void unset(struct env_command *env, const char *name, const char *word)
{
  if (strcmp(name, "LD_PRELOAD") == 0)
    env->loses = keep(env, word);
}

/* The value of an option: the rest of its word, or the next one. */
static const char *value_of(struct cursor *c, const char *rest)
{
  if (*rest)
    return rest;
  return c->at < c->words.count ? c->words.list[c->at++] : "";
}

static void take_letters(struct env_command *env, struct cursor *c, const char *word)
{
  for (const char *letter = word + 1; *letter; letter++)
    switch (*letter) {
    case 'i': env->loses = "-i"; break;
    case '0':
    case 'v': break;
    case 'u': unset(env, value_of(c, letter + 1), "-u LD_PRELOAD"); return;
    case 'C': env->directory = keep(env, value_of(c, letter + 1)); return;
    case 'S': insert(c, keep(env, value_of(c, letter + 1))); return;
    default: env->unknown = keep(env, word); return;
    }
}

static const char *long_value(struct cursor *c, const char *word, const char *name)
{
  size_t n = strlen(name);
  if (strncmp(word, name, n) != 0 || (word[n] && word[n] != '='))
    return NULL;
  return value_of(c, word[n] ? word + n + 1 : "");
}

static void take_long(struct env_command *env, struct cursor *c, const char *word)
{
  const char *value;
  if (strcmp(word, "--ignore-environment") == 0)
    env->loses = "-i";
  else if ((value = long_value(c, word, "--unset")))
    unset(env, value, "-u LD_PRELOAD");
  else if ((value = long_value(c, word, "--chdir")))
    env->directory = keep(env, value);
  else if ((value = long_value(c, word, "--split-string")))
    insert(c, keep(env, value));
  else if (strcmp(word, "--debug") != 0 && strcmp(word, "--null") != 0 && !strstr(word, "-signal"))
    env->unknown = keep(env, word);
}

static void take_assignment(struct env_command *env, const char *word)
{
  if (strncmp(word, "LD_PRELOAD=", 11) == 0)
    env->loses = strstr(word, "libberth.so") ? NULL : keep(env, word);
  if (strncmp(word, "PATH=", 5) == 0)
    env->path = keep(env, word) + 5;
}

void env_parse(const struct words *words, struct env_command *env)
{
  struct cursor c = {.at = 0};
  *env = (struct env_command){0};
  for (size_t i = 1; i < words->count; i++)
    words_add(&c.words, words->list[i], strlen(words->list[i]));
  bool options = true;
  while (c.at < c.words.count) {
    const char *word = keep(env, c.words.list[c.at]);
    if (options && word[0] == '-') {
      c.at++;
      options = strcmp(word, "--") != 0;
      if (strcmp(word, "-") == 0)
        env->loses = "-";
      else if (options && word[1] == '-')
        take_long(env, &c, word);
      else if (options)
        take_letters(env, &c, word);
    } else if (strchr(word, '=')) {
      options = false;
      c.at++;
      take_assignment(env, word);
    } else {
      break;
    }
  }
  for (; c.at < c.words.count; c.at++)
    words_add(&env->command, c.words.list[c.at], strlen(c.words.list[c.at]));
  words_free(&c.words);
}
