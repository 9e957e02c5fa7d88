// SPDX-License-Identifier: MIT
//
// The keys of berth-policy(5), and what each may hold. What a text in them means is known to the
// *_text.c beside it.
#include "policy/parse.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/build.h"
#include "policy/destination_text.h"
#include "policy/nearest.h"
#include "policy/plain.h"
#include "policy/ports_text.h"
#include "policy/prefix_text.h"
#include "policy/problems.h"
#include "policy/words.h"

struct parse {
  struct problem_notes notes;
  struct policy_build build;
  struct policy_draft rule; /* the one being read */
  struct list *ports;       /* of the rule: what read_ports_item() adds to */
  struct list *globs;       /* what read_glob() adds to */
  uint64_t pool;            /* of the rule: its local addresses */
  size_t least_recent;      /* rules with this order */
  struct list late_bind;    /* globs */
  struct list names;        /* struct named */
};

/* A rule's name, and where the rule is. */
struct named {
  char name[POLICY_MAX_NAME + 1];
  size_t index;
};

/* What a key's value becomes. */
typedef void value_reader(struct parse *p, json_t *value);

struct key {
  const char *name;
  value_reader *read;
  bool steers; /* a rule that has it steers */
};

/* --- types ---------------------------------------------------------------------------------- */

static const char *type_of(const json_t *value)
{
  switch (json_typeof(value)) {
  case JSON_OBJECT: return "an object";
  case JSON_ARRAY: return "a list";
  case JSON_STRING: return "a string";
  case JSON_INTEGER: return "a number";
  case JSON_REAL: return "a number with a fraction or an exponent";
  case JSON_NULL: return "null";
  default: return json_is_true(value) ? "true" : "false";
  }
}

static void wanted(struct parse *p, const char *what, const json_t *value)
{
  problem_note(&p->notes, "wanted %s, found %s", what, type_of(value));
}

/* NULL: it is none, which was noted. */
static const char *string_of(struct parse *p, const char *what, json_t *value)
{
  if (!json_is_string(value))
    wanted(p, what, value);
  return json_string_value(value);
}

static bool integer_of(struct parse *p, json_t *value, uint32_t low, uint32_t high,
                       uint32_t *number)
{
  char what[64];
  snprintf(what, sizeof what, "a whole number from %u to %u", low, high);
  if (!json_is_integer(value)) {
    wanted(p, what, value);
    return false;
  }
  json_int_t n = json_integer_value(value);
  if (n < low || n > high) {
    problem_note(&p->notes, "%" JSON_INTEGER_FORMAT " is not %s", n, what);
    return false;
  }
  *number = (uint32_t)n;
  return true;
}

/* One item, or a list of them. */
static void read_items(struct parse *p, json_t *value, value_reader *read)
{
  if (!json_is_array(value)) {
    read(p, value);
    return;
  }
  if (!json_array_size(value))
    problem_note(&p->notes, "an empty list: leave the key out");
  for (size_t i = 0; i < json_array_size(value); i++) {
    size_t back = problem_enter_index(&p->notes, i);
    read(p, json_array_get(value, i));
    problem_leave(&p->notes, back);
  }
}

/* The index of one of the words, or -1, which was noted. */
static int word_of(struct parse *p, json_t *value, const struct policy_words *words)
{
  char known[256] = "", what[300];
  for (int i = 0, n = 0; i < words->count && n < (int)sizeof known; i++)
    n += snprintf(known + n, sizeof known - (size_t)n, "%s%s", i ? ", " : "", words->words[i]);
  snprintf(what, sizeof what, "one of %s", known);
  const char *word = string_of(p, what, value);
  int i = word ? policy_word(words, word) : -1;
  if (!word || i >= 0)
    return i;
  const char *near = policy_nearest(word, policy_word_at, words->count, words);
  if (near)
    problem_note(&p->notes, "'%.40s' is not %s; the nearest is '%s'", word, what, near);
  else
    problem_note(&p->notes, "'%.40s' is not %s", word, what);
  return -1;
}

/* --- objects -------------------------------------------------------------------------------- */

struct keys {
  const struct key *keys;
  int count;
};

#define KEYS(array)                                                                                \
  {                                                                                                \
    (array), (int)(sizeof(array) / sizeof *(array))                                                \
  }

static const char *key_at(int i, const void *keys)
{
  return ((const struct keys *)keys)->keys[i].name;
}

static void unknown_key(struct parse *p, const struct keys *keys, const char *name)
{
  const char *near = policy_nearest(name, key_at, keys->count, keys);
  char known[256] = "";
  for (int i = 0, n = 0; i < keys->count && n < (int)sizeof known; i++)
    n += snprintf(known + n, sizeof known - (size_t)n, "%s%s", i ? ", " : "", keys->keys[i].name);
  if (near)
    problem_note(&p->notes, "unknown key; the nearest is '%s'", near);
  else
    problem_note(&p->notes, "unknown key; here are known: %s", known);
}

static const struct key *find_key(const struct keys *keys, const char *name)
{
  for (int i = 0; i < keys->count; i++)
    if (strcmp(keys->keys[i].name, name) == 0)
      return &keys->keys[i];
  return NULL;
}

/* In the order of the file. */
static void read_object(struct parse *p, json_t *object, const struct keys *keys)
{
  const char *name;
  json_t *value;
  json_object_foreach(object, name, value)
  {
    const struct key *key = find_key(keys, name);
    size_t back = problem_enter_key(&p->notes, name);
    if (!key)
      unknown_key(p, keys, name);
    else
      key->read(p, value);
    if (key && key->steers)
      p->rule.rule.steers = 1;
    problem_leave(&p->notes, back);
  }
}

/* A key that stands in for one that is not there, so that what is wrong has a place. */
static void note_at(struct parse *p, const char *key, const char *what)
{
  size_t back = problem_enter_key(&p->notes, key);
  problem_note(&p->notes, "%s", what);
  problem_leave(&p->notes, back);
}

static size_t problems_so_far(const struct parse *p)
{
  return p->notes.lines->count + p->notes.beyond;
}

/* Written in the file, and ignored. */
static void read_ignored(struct parse *p, json_t *value)
{
  string_of(p, "a string", value);
}

/* --- match ---------------------------------------------------------------------------------- */

static void read_transport(struct parse *p, json_t *value)
{
  int i = word_of(p, value, &policy_transports);
  if (i >= 0)
    p->rule.rule.transports |= (uint8_t)(1 << i);
}

static void read_transports(struct parse *p, json_t *value)
{
  p->rule.rule.transports = 0;
  read_items(p, value, read_transport);
}

static void read_destination(struct parse *p, json_t *value)
{
  char problem[PROBLEM_TEXT];
  struct policy_destination d;
  const char *text = string_of(p, "a string such as \"10.0.0.0/8:443\"", value);
  if (!text)
    return;
  if (policy_destination_parse(text, &d, problem, sizeof problem))
    list_add(&p->rule.destinations, &d, sizeof d);
  else
    problem_note(&p->notes, "%s", problem);
}

static void read_destinations(struct parse *p, json_t *value)
{
  read_items(p, value, read_destination);
}

/* Whether it may be shown, from the first byte to the last. */
static bool is_plain(const char *text)
{
  size_t n = 1;
  while (*text && (n = policy_plain(text)))
    text += n;
  return n;
}

static void read_glob(struct parse *p, json_t *value)
{
  const char *text = string_of(p, "a string: a program's name, or a pattern of it", value);
  if (!text)
    return;
  if (!text[0])
    problem_note(&p->notes, "an empty text, and no program's name");
  else if (strchr(text, '/'))
    problem_note(&p->notes, "a program is known by its file's name, without a folder: no '/'");
  else if (strlen(text) > POLICY_MAX_GLOB)
    problem_note(&p->notes, "more than %u bytes, which no file's name has", POLICY_MAX_GLOB);
  else if (!is_plain(text))
    problem_note(&p->notes, "a control character");
  else
    list_add(p->globs, text, strlen(text) + 1);
}

static void read_programs(struct parse *p, json_t *value)
{
  p->globs = &p->rule.globs;
  read_items(p, value, read_glob);
}

static void read_match(struct parse *p, json_t *value)
{
  static const struct key list[] = {{"transport", read_transports, false},
                                    {"to", read_destinations, false},
                                    {"program", read_programs, false}};
  static const struct keys keys = KEYS(list);
  if (json_is_object(value))
    read_object(p, value, &keys);
  else
    wanted(p, "an object", value);
}

/* --- what a rule chooses -------------------------------------------------------------------- */

static void read_name(struct parse *p, json_t *value)
{
  const char *name = string_of(p, "a string", value);
  if (!name)
    return;
  if (!name[0])
    problem_note(&p->notes, "an empty name: leave the key out");
  else if (strlen(name) > POLICY_MAX_NAME)
    problem_note(&p->notes, "%zu bytes, more than a name's %u", strlen(name), POLICY_MAX_NAME);
  else if (!is_plain(name))
    problem_note(&p->notes, "a control character");
  else
    snprintf(p->rule.name, sizeof p->rule.name, "%s", name);
}

static void read_address(struct parse *p, json_t *value)
{
  char problem[PROBLEM_TEXT];
  struct prefix prefix;
  const char *text = string_of(p, "a string such as \"10.1.0.5\" or \"10.1.0.16/28\"", value);
  if (!text)
    return;
  if (!prefix_parse(text, &prefix, problem, sizeof problem) ||
      !prefix_is_local(&prefix, problem, sizeof problem)) {
    problem_note(&p->notes, "%s", problem);
    return;
  }
  struct policy_address a = {.prefix = prefix.length, .count = 1u << (128 - prefix.length)};
  memcpy(a.address, prefix.address, sizeof a.address);
  p->pool += a.count;
  list_add(prefix.ipv4 ? &p->rule.ipv4 : &p->rule.ipv6, &a, sizeof a);
}

static void read_addresses(struct parse *p, json_t *value)
{
  read_items(p, value, read_address);
  if (p->pool > POLICY_MAX_ADDRESSES)
    problem_note(&p->notes, "%llu addresses, and a rule has up to %u", (unsigned long long)p->pool,
                 POLICY_MAX_ADDRESSES);
}

static void read_ports_item(struct parse *p, json_t *value)
{
  char problem[PROBLEM_TEXT], digits[32];
  struct policy_ports ports;
  const char *text = digits;
  snprintf(digits, sizeof digits, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
  if (!json_is_integer(value))
    text = string_of(p, "a port (a number), or a string such as \"40000-40999\"", value);
  if (!text)
    return;
  if (policy_ports_parse(text, &ports, problem, sizeof problem))
    list_add(p->ports, &ports, sizeof ports);
  else
    problem_note(&p->notes, "%s", problem);
}

static void read_port_list(struct parse *p, json_t *value, struct list *ports)
{
  p->ports = ports;
  read_items(p, value, read_ports_item);
  size_t count = LIST_COUNT(ports, struct policy_ports);
  ports->size = sizeof(struct policy_ports) * policy_ports_join(ports->bytes, count);
}

static void read_ports(struct parse *p, json_t *value)
{
  read_port_list(p, value, &p->rule.ports);
}

static void read_except(struct parse *p, json_t *value)
{
  read_port_list(p, value, &p->rule.except);
}

static void read_of(struct parse *p, json_t *value)
{
  uint32_t n;
  if (integer_of(p, value, 1, 65535, &n))
    p->rule.rule.mod_of = (uint16_t)n;
}

static void read_is(struct parse *p, json_t *value)
{
  uint32_t n;
  if (integer_of(p, value, 0, 65534, &n))
    p->rule.rule.mod_is = (uint16_t)n;
}

static void read_mod(struct parse *p, json_t *value)
{
  static const struct key list[] = {{"of", read_of, false}, {"is", read_is, false}};
  static const struct keys keys = KEYS(list);
  size_t before = problems_so_far(p);
  if (!json_is_object(value)) {
    wanted(p, "an object such as {\"of\": 8, \"is\": 3}", value);
    return;
  }
  read_object(p, value, &keys);
  for (int i = 0; i < keys.count; i++)
    if (!json_object_get(value, list[i].name))
      note_at(p, list[i].name, "missing: a port is taken if port % of is `is`");
  if (problems_so_far(p) > before || p->rule.rule.mod_is < p->rule.rule.mod_of)
    return;
  size_t back = problem_enter_key(&p->notes, "is");
  problem_note(&p->notes, "no number modulo %u is %u", p->rule.rule.mod_of, p->rule.rule.mod_is);
  problem_leave(&p->notes, back);
}

static void read_order(struct parse *p, json_t *value)
{
  int i = word_of(p, value, &policy_orders);
  p->least_recent += i == POLICY_LEAST_RECENT;
  if (i >= 0)
    p->rule.rule.order = (uint8_t)i;
}

static void read_via(struct parse *p, json_t *value)
{
  int i = word_of(p, value, &policy_vias);
  if (i >= 0)
    p->rule.rule.via = (uint8_t)i;
}

static void read_exhausted(struct parse *p, json_t *value)
{
  int i = word_of(p, value, &policy_exhausteds);
  if (i >= 0)
    p->rule.rule.exhausted = (uint8_t)i;
}

static void read_tries(struct parse *p, json_t *value)
{
  integer_of(p, value, 1, 65535, &p->rule.rule.tries);
}

static void read_rest(struct parse *p, json_t *value)
{
  integer_of(p, value, 0, POLICY_MAX_REST, &p->rule.rule.rest);
}

/* --- rules ---------------------------------------------------------------------------------- */

static const struct key rule_list[] = {
    {"name", read_name, false},        {"description", read_ignored, false},
    {"match", read_match, false},      {"local_addresses", read_addresses, true},
    {"local_ports", read_ports, true}, {"except", read_except, true},
    {"mod", read_mod, true},           {"order", read_order, true},
    {"via", read_via, true},           {"tries", read_tries, true},
    {"rest", read_rest, true},         {"exhausted", read_exhausted, true},
};
static const struct keys rule_keys = KEYS(rule_list);

/* A rule that can never give a port was not meant. Without local_ports it is the machine's range,
 * of which only this much is known here. */
static void check_ports(struct parse *p)
{
  static const struct policy_ports all = {1, 65535};
  const struct policy_draft *d = &p->rule;
  size_t count = LIST_COUNT(&d->ports, struct policy_ports);
  const struct policy_ports *ports = count ? d->ports.bytes : &all;
  if (d->ports.failed || d->except.failed ||
      policy_ports_left(ports, count ? count : 1, d->except.bytes,
                        LIST_COUNT(&d->except, struct policy_ports), d->rule.mod_of,
                        d->rule.mod_is))
    return;
  if (count)
    note_at(p, "local_ports", "`except` and `mod` leave none of these ports");
  else
    note_at(p, "except", "no port is left");
}

static void keep_name(struct parse *p, size_t index)
{
  struct named named = {.index = index};
  if (!p->rule.name[0])
    snprintf(p->rule.name, sizeof p->rule.name, "rule-%zu", index + 1);
  memcpy(named.name, p->rule.name, sizeof named.name);
  list_add(&p->names, &named, sizeof named);
}

static void read_rule(struct parse *p, json_t *value, size_t index)
{
  size_t before = problems_so_far(p);
  if (!json_is_object(value)) {
    wanted(p, "an object", value);
    return;
  }
  policy_draft_reset(&p->rule);
  p->pool = 0;
  read_object(p, value, &rule_keys);
  if (p->rule.name[0] || !json_object_get(value, "name"))
    keep_name(p, index);
  if (problems_so_far(p) > before)
    return;
  check_ports(p);
  policy_build_rule(&p->build, &p->rule);
}

static int by_name(const void *a, const void *b)
{
  const struct named *x = a, *y = b;
  int order = strcmp(x->name, y->name);
  return order ? order : (x->index > y->index) - (x->index < y->index);
}

/* Statistics and events know a rule by its name. */
static void check_names(struct parse *p)
{
  struct named *named = p->names.bytes;
  size_t count = LIST_COUNT(&p->names, struct named), first = 0;
  if (count)
    qsort(named, count, sizeof *named, by_name);
  for (size_t i = 1; i < count; i++) {
    if (strcmp(named[i].name, named[first].name) != 0) {
      first = i;
      continue;
    }
    size_t back = problem_enter_index(&p->notes, named[i].index);
    problem_enter_key(&p->notes, "name");
    problem_note(&p->notes, "'%s' is the name of /rules/%zu", named[i].name, named[first].index);
    problem_leave(&p->notes, back);
  }
}

static void read_rules(struct parse *p, json_t *value)
{
  size_t count = json_array_size(value);
  if (!json_is_array(value)) {
    wanted(p, "a list of rules", value);
    return;
  }
  if (count > POLICY_MAX_RULES) {
    problem_note(&p->notes, "%zu rules, and a policy has up to %u", count, POLICY_MAX_RULES);
    return;
  }
  for (size_t i = 0; i < count; i++) {
    size_t back = problem_enter_index(&p->notes, i);
    read_rule(p, json_array_get(value, i), i);
    problem_leave(&p->notes, back);
  }
  check_names(p);
  if (p->least_recent > POLICY_MAX_LEAST_RECENT)
    problem_note(&p->notes, "%zu rules of order least-recent, and a policy has up to %u",
                 p->least_recent, POLICY_MAX_LEAST_RECENT);
}

/* --- the policy ----------------------------------------------------------------------------- */

static void read_late_bind(struct parse *p, json_t *value)
{
  p->globs = &p->late_bind;
  read_items(p, value, read_glob);
}

static void read_nothing(struct parse *p, json_t *value)
{
  (void)p;
  (void)value;
}

static const struct key policy_list[] = {
    {"version", read_nothing, false}, /* was read before the others */
    {"rules", read_rules, false},
    {"late_bind", read_late_bind, false},
    {"$schema", read_ignored, false},
};
static const struct keys policy_keys = KEYS(policy_list);

/* Whether the rest can be judged. Of another version nothing is known. */
static bool read_version(struct parse *p, const json_t *value)
{
  size_t back = problem_enter_key(&p->notes, "version");
  bool other = json_is_integer(value) && json_integer_value(value) != 1;
  if (!value)
    problem_note(&p->notes, "missing: this is version 1");
  else if (other)
    problem_note(&p->notes, "this berth reads version 1, and no other");
  else if (!json_is_integer(value))
    wanted(p, "the number 1", value);
  problem_leave(&p->notes, back);
  return !other;
}

static void read_policy(struct parse *p, json_t *root)
{
  if (!json_is_object(root)) {
    problem_line(&p->notes, "1:1: a policy is an object, and this is %s", type_of(root));
    return;
  }
  if (!read_version(p, json_object_get(root, "version")))
    return;
  read_object(p, root, &policy_keys);
  if (!json_object_get(root, "rules") && !json_object_get(root, "late_bind"))
    note_at(p, "rules", "missing, and so is late_bind: there is nothing to do");
  policy_build_late_bind(&p->build, &p->late_bind);
}

/* Line and column count from 1; jansson has column 0 for an empty file. */
static void note_syntax(struct parse *p, const json_error_t *e)
{
  const char *text = e->text;
  p->notes.lines->quotes = true;
  if (json_error_code(e) == json_error_stack_overflow)
    text = "nested too deeply";
  if (json_error_code(e) == json_error_null_character)
    text = "a string with the character \\u0000";
  problem_line(&p->notes, "%d:%d: %s", e->line < 1 ? 1 : e->line, e->column < 1 ? 1 : e->column,
               text);
}

static void *finish(struct parse *p, size_t *image_size)
{
  size_t size = policy_build_size(&p->build);
  if (problems_so_far(p))
    return NULL;
  if (size > POLICY_MAX_IMAGE) {
    problem_line(&p->notes, " %zu bytes when compiled, and a policy has up to %u", size,
                 POLICY_MAX_IMAGE);
    return NULL;
  }
  void *image = p->names.failed || p->late_bind.failed ? NULL : policy_build_image(&p->build);
  if (!image)
    problem_line(&p->notes, " out of memory");
  *image_size = size;
  return image;
}

void *policy_parse(const char *json, size_t size, size_t *image_size,
                   struct policy_problems *problems)
{
  *problems = (struct policy_problems){0};
  struct parse p = {.notes = {.lines = problems}};
  json_error_t error;
  if (size > POLICY_MAX_JSON) {
    problem_line(&p.notes, "1:1: more than the %u bytes that a policy may have", POLICY_MAX_JSON);
    return NULL;
  }
  json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &error);
  if (root)
    read_policy(&p, root);
  else
    note_syntax(&p, &error);
  json_decref(root);
  void *image = finish(&p, image_size);
  problem_end(&p.notes);
  policy_draft_free(&p.rule);
  policy_build_free(&p.build);
  list_free(&p.late_bind);
  list_free(&p.names);
  return image;
}
