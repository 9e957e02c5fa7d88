// SPDX-License-Identifier: MIT
//
// The texts that options hold, and those that Linux tells of its ports in. The first byte says
// which: LLVMFuzzerTestOneInput() below.
#include <fnmatch.h>
#include <stdarg.h>
#include <string.h>

#include "cli/match.h"
#include "cli/one_rule.h"
#include "fuzz.h"
#include "policy/destination_text.h"
#include "policy/inline.h"
#include "policy/machine.h"
#include "policy/match.h"
#include "policy/ports_text.h"
#include "policy/prefix_text.h"
#include "policy/script.h"

static void read_ports(const char *text)
{
  struct policy_ports ports;
  char problem[400], again[16];
  if (!policy_ports_parse(text, &ports, problem, sizeof problem)) {
    HOLDS(problem[0] && strlen(problem) < sizeof problem - 1);
    return;
  }
  HOLDS(ports.low && ports.low <= ports.high);
  bool one = !strchr(text, '-');
  snprintf(again, sizeof again, one ? "%u" : "%u-%u", ports.low, ports.high);
  HOLDS(strcmp(text, again) == 0);
}

/* What is written as text is read as the same again. */
static void read_destination(const char *text)
{
  struct policy_destination d, again;
  char problem[400], written[DESTINATION_TEXT];
  memset(&d, 0, sizeof d);
  memset(&again, 0, sizeof again);
  if (!policy_destination_parse(text, &d, problem, sizeof problem)) {
    HOLDS(problem[0]);
    return;
  }
  policy_destination_text(&d, written);
  check_line(written, sizeof written);
  HOLDS(policy_destination_parse(written, &again, problem, sizeof problem));
  HOLDS(memcmp(&d, &again, sizeof d) == 0);
}

static void read_prefix(const char *text)
{
  struct prefix prefix, again;
  char problem[400], written[PREFIX_TEXT];
  if (!prefix_parse(text, &prefix, problem, sizeof problem)) {
    HOLDS(problem[0]);
    return;
  }
  HOLDS(prefix.length <= 128 && (!prefix.ipv4 || prefix.length >= 96));
  prefix_is_local(&prefix, problem, sizeof problem);
  prefix_text(prefix.address, prefix.length, prefix.ipv4, false, written);
  HOLDS(prefix_parse(written, &again, problem, sizeof problem));
  HOLDS(again.length == prefix.length && again.ipv4 == prefix.ipv4);
  HOLDS(memcmp(again.address, prefix.address, sizeof again.address) == 0);
}

static void read_filter(const char *text)
{
  static struct event_match m;
  static const struct record_event events[] = {
      {.local_port = 1, .peer_port = 65535, .peer = {[10] = 0xff, [11] = 0xff, [12] = 10}},
      {.call = RECORD_BIND, .local_port = 40000, .peer = {0xfd, [15] = 1}}};
  const char *problem = NULL;
  memset(&m, 0, sizeof m);
  m.has_local_ports = parse_ports(&m.local_ports, text, &problem);
  HOLDS(m.has_local_ports || problem);
  problem = NULL;
  HOLDS(parse_peer(&m, text, &problem) || problem);
  HOLDS(m.peer_prefix >= 0 && m.peer_prefix <= 128);
  event_matches(&m, &events[0]);
  event_matches(&m, &events[1]);
}

__attribute__((format(printf, 2, 3))) void __wrap_complain(const char *where, const char *what,
                                                           ...);

/* What is wrong with an option is told on stderr: thousands of times a second, here. */
void __wrap_complain(const char *where, const char *what, ...)
{
  char line[1024];
  va_list list;
  HOLDS(where);
  va_start(list, what);
  vsnprintf(line, sizeof line, what, list);
  va_end(list);
}

/* Up to a newline or the end; NULL where nothing is left. */
static char *next_line(char **at)
{
  return *at ? strsep(at, "\n") : NULL;
}

/* The values of `berth run`'s options for one rule, a line each: an empty one is not given. */
static void read_one_rule(char *text)
{
  static const int options[] = {'L',          'A',          ONE_RULE_EXCEPT, ONE_RULE_ORDER,
                                ONE_RULE_MOD, ONE_RULE_VIA, ONE_RULE_TRIES,  ONE_RULE_EXHAUSTED,
                                ONE_RULE_TO,  ONE_RULE_TO};
  struct one_rule rule = {0};
  char *line;
  for (size_t i = 0; (line = next_line(&text)) && i < sizeof options / sizeof *options; i++)
    if (line[0])
      HOLDS(one_rule_take(&rule, options[i], line));
  policy_image *image = one_rule_given(&rule) ? one_rule_compile(&rule, "fuzz") : NULL;
  if (image) {
    HOLDS(!policy_image_problem(image, image->size));
    use_image(image);
  }
  free(image);
  free(rule.to);
}

/* The pattern, and the name on the next line. fnmatch(3) is the judge but where it knows classes,
 * and where a set does not end or holds a '/': there C libraries differ. */
static void glob(char *text)
{
  char *pattern = next_line(&text), *name = next_line(&text);
  if (!name || strlen(pattern) > 256 || strlen(name) > 256)
    return;
  bool matches = policy_glob(pattern, name);
  if (!strpbrk(pattern, "[\\"))
    HOLDS(matches == (fnmatch(pattern, name, 0) == 0));
}

static void read_machine(const char *text, size_t size)
{
  struct policy_machine m = {.low = 1, .high = 2};
  struct policy_ports whole[64], pieces[64];
  struct machine_list a = {.ports = whole, .most = 64}, b = {.ports = pieces, .most = 64};
  machine_parse_range(text, size, &m);
  HOLDS(m.low && m.low <= m.high);
  machine_parse_list(&a, text, size);
  machine_end_list(&a);
  for (size_t at = 0; at < size; at++)
    machine_parse_list(&b, text + at, 1);
  machine_end_list(&b);
  HOLDS(a.count == b.count && memcmp(whole, pieces, a.count * sizeof *whole) == 0);
  for (uint32_t i = 0; i < a.count; i++)
    HOLDS(whole[i].low && whole[i].low <= whole[i].high);
  HOLDS(policy_ports_join(whole, a.count) <= a.count);
}

/* The value of BERTH_POLICY: nothing is written beyond the room, and what is an image is written as
 * text that makes the same again. */
static void read_inline(const char *text)
{
  size_t size = policy_inline_read(text, NULL, 0);
  HOLDS(size <= POLICY_MAX_IMAGE && (!size || policy_is_inline(text)));
  unsigned char *bytes = malloc(size + 1), *again = malloc(size + 1);
  HOLDS(bytes && again);
  bytes[size / 2] = 0xa5;
  HOLDS(policy_inline_read(text, bytes, size / 2) == size && bytes[size / 2] == 0xa5);
  HOLDS(policy_inline_read(text, bytes, size) == size);
  if (size && !policy_image_problem(bytes, size)) {
    char *written = malloc(policy_inline_room(size));
    HOLDS(written);
    HOLDS(policy_inline_write((const void *)bytes, written) < policy_inline_room(size));
    HOLDS(policy_inline_read(written, again, size) == size && memcmp(bytes, again, size) == 0);
    use_image((const void *)bytes);
    free(written);
  }
  free(bytes);
  free(again);
}

static void read_script(const char *file, size_t size)
{
  struct policy_script_word words[POLICY_SCRIPT_WORDS];
  size_t count = policy_script_words(file, size, words);
  HOLDS(count <= POLICY_SCRIPT_WORDS);
  for (size_t i = 0; i < count; i++)
    HOLDS(words[i].length && words[i].at > file && words[i].at + words[i].length < file + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (!size)
    return 0;
  char *text = text_of(data + 1, size - 1);
  switch (data[0]) {
  case 'p': read_ports(text); break;
  case 'd': read_destination(text); break;
  case 'a': read_prefix(text); break;
  case 'f': read_filter(text); break;
  case 'r': read_one_rule(text); break;
  case 'g': glob(text); break;
  case 'm': read_machine(text, size - 1); break;
  case 'i': read_inline(text); break;
  case 's': read_script(text, size - 1); break;
  default: break;
  }
  free(text);
  return 0;
}
