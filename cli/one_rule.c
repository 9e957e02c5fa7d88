// SPDX-License-Identifier: MIT
#include "cli/one_rule.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "policy/parse.h"

static void add_to(struct one_rule *rule, const char *value)
{
  const char **more = reallocarray(rule->to, rule->to_count + 1, sizeof *more);
  if (!more)
    abort();
  rule->to = more;
  rule->to[rule->to_count++] = value;
}

bool one_rule_take(struct one_rule *rule, int option, const char *value)
{
  switch (option) {
  case 'L': rule->local_ports = list_with(rule->local_ports, value); return true;
  case 'A': rule->local_addresses = list_with(rule->local_addresses, value); return true;
  case ONE_RULE_EXCEPT: rule->except = list_with(rule->except, value); return true;
  case ONE_RULE_ORDER: rule->order = value; return true;
  case ONE_RULE_MOD: rule->mod = value; return true;
  case ONE_RULE_VIA: rule->via = value; return true;
  case ONE_RULE_TRIES: rule->tries = value; return true;
  case ONE_RULE_EXHAUSTED: rule->exhausted = value; return true;
  case ONE_RULE_TO: add_to(rule, value); return true;
  default: return false;
  }
}

bool one_rule_given(const struct one_rule *rule)
{
  return rule->local_ports || rule->local_addresses || rule->except || rule->mod || rule->order ||
         rule->via || rule->tries || rule->exhausted || rule->to_count;
}

/* --- to JSON: the parser that reads policies is the one judge of values ---------------------- */

/* A word as it would stand in a policy: a number where it looks like one. */
static json_t *word(const char *text, size_t length)
{
  char copy[32], *end;
  if (length && length < sizeof copy && strspn(text, "0123456789") >= length) {
    memcpy(copy, text, length);
    copy[length] = '\0';
    long long value = strtoll(copy, &end, 10);
    return json_integer(value);
  }
  return json_stringn(text, length);
}

static json_t *list(const char *text)
{
  json_t *items = json_array();
  for (;;) {
    size_t length = strcspn(text, ",");
    json_array_append_new(items, word(text, length));
    if (!text[length])
      return items;
    text += length + 1;
  }
}

static void set_list(json_t *o, const char *key, const char *text)
{
  if (text)
    json_object_set_new(o, key, list(text));
}

static void set_word(json_t *o, const char *key, const char *text)
{
  if (text)
    json_object_set_new(o, key, word(text, strlen(text)));
}

/* "8:3": the ports of which the remainder by 8 is 3. */
static void set_mod(json_t *o, const char *text)
{
  if (!text)
    return;
  size_t length = strcspn(text, ":");
  json_t *mod = json_object();
  json_object_set_new(mod, "of", word(text, length));
  if (text[length])
    json_object_set_new(mod, "is", word(text + length + 1, strlen(text + length + 1)));
  json_object_set_new(o, "mod", mod);
}

static json_t *to_json(const struct one_rule *rule)
{
  json_t *o = json_object(), *to = json_array();
  set_list(o, "local_ports", rule->local_ports);
  set_list(o, "local_addresses", rule->local_addresses);
  set_list(o, "except", rule->except);
  set_mod(o, rule->mod);
  set_word(o, "order", rule->order);
  set_word(o, "via", rule->via);
  set_word(o, "tries", rule->tries);
  set_word(o, "exhausted", rule->exhausted);
  for (size_t i = 0; i < rule->to_count; i++)
    json_array_append_new(to, json_string(rule->to[i]));
  if (rule->to_count)
    json_object_set_new(o, "match", json_pack("{so}", "to", to));
  else
    json_decref(to);
  json_object_set_new(o, "name", json_string("options"));
  return json_pack("{si,s[o]}", "version", 1, "rules", o);
}

/* --- its problems, by the options' names ----------------------------------------------------- */

static const struct {
  const char *pointer, *option;
} places[] = {
    {" /rules/0/local_ports", "-L"},  {" /rules/0/local_addresses", "-A"},
    {" /rules/0/except", "--except"}, {" /rules/0/mod", "--mod"},
    {" /rules/0/order", "--order"},   {" /rules/0/via", "--via"},
    {" /rules/0/tries", "--tries"},   {" /rules/0/exhausted", "--exhausted"},
    {" /rules/0/match/to", "--to"},
};

static void complain_of(const char *where, const char *line)
{
  const char *what = strstr(line, ": ");
  for (size_t i = 0; i < sizeof places / sizeof *places; i++)
    if (what && strncmp(line, places[i].pointer, strlen(places[i].pointer)) == 0) {
      complain(where, "%s: %s", places[i].option, what + 2);
      return;
    }
  complain(where, "the rule of the options:%s", line);
}

policy_image *one_rule_compile(const struct one_rule *rule, const char *where)
{
  size_t size;
  struct policy_problems problems;
  json_t *json = to_json(rule);
  char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
  json_decref(json);
  if (!text) {
    complain(where, "an option's value is not UTF-8");
    return NULL;
  }
  policy_image *image = policy_parse(text, strlen(text), &size, &problems);
  for (size_t i = 0; i < problems.count; i++)
    complain_of(where, problems.lines[i]);
  policy_problems_free(&problems);
  free(text);
  return image;
}
