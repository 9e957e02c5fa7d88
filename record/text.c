// SPDX-License-Identifier: MIT
#include "record/text.h"

#include <limits.h>
#include <netinet/in.h>
#include <string.h>

#include "record/layout.h"

size_t text_length(const char *s)
{
  const char *end = s;
  while (*end)
    end++;
  return (size_t)(end - s);
}

bool text_equal(const char *a, const char *b)
{
  for (; *a && *a == *b; a++)
    b++;
  return *a == *b;
}

bool text_begins(const char *s, const char *beginning)
{
  while (*beginning && *s == *beginning) {
    s++;
    beginning++;
  }
  return !*beginning;
}

void text_char(struct text *t, char c)
{
  if (t->at < t->end)
    *t->at++ = c;
  else
    t->full = true;
}

void text_string(struct text *t, const char *s)
{
  while (*s)
    text_char(t, *s++);
}

void text_digits(struct text *t, uint64_t value, int digits)
{
  char reversed[20];
  int n = 0;
  do {
    reversed[n++] = (char)('0' + value % 10);
    value /= 10;
  } while (value && n < 20);
  for (; digits > n; digits--)
    text_char(t, '0');
  while (n)
    text_char(t, reversed[--n]);
}

void text_u64(struct text *t, uint64_t value)
{
  text_digits(t, value, 1);
}

void text_hex(struct text *t, uint64_t value)
{
  int shift = 60;
  while (shift && !(value >> shift))
    shift -= 4;
  for (; shift >= 0; shift -= 4)
    text_char(t, "0123456789abcdef"[value >> shift & 15]);
}

/* The least and the greatest second byte after a first one (RFC 3629 section 4): others would be an
 * overlong form, a surrogate, or beyond U+10FFFF. */
static bool is_second(unsigned char first, unsigned char second)
{
  unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  unsigned char most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  return second >= least && second <= most;
}

/* Bytes of the UTF-8 character at `at`, 0 for what is none. */
static size_t utf8_length(const unsigned char *at, size_t size)
{
  size_t length = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
  if (at[0] > 0xf4 || length > size || (length > 1 && !is_second(at[0], at[1])))
    return 0;
  for (size_t i = 2; i < length; i++)
    if ((at[i] & 0xc0) != 0x80)
      return 0;
  return length;
}

/* U+200E, U+200F, U+2028 to U+202E and U+2066 to U+2069 end a line, or turn the direction in which
 * the rest of it is written. */
static bool is_direction(const unsigned char *at)
{
  unsigned low = at[2] & 0x3f;
  return at[0] == 0xe2 &&
         ((at[1] == 0x80 && (low == 0x0e || low == 0x0f || (low >= 0x28 && low <= 0x2e))) ||
          (at[1] == 0x81 && low >= 0x26 && low <= 0x29));
}

static bool is_control(const unsigned char *at, size_t length)
{
  switch (length) {
  case 1: return at[0] <= ' ' || at[0] == 0x7f;
  case 2: return (at[0] == 0xc2 && at[1] < 0xa0) || (at[0] == 0xd8 && at[1] == 0x9c); /* U+061C */
  default: return length == 3 && is_direction(at);
  }
}

void text_name(struct text *t, const char *name, size_t size)
{
  const unsigned char *at = (const unsigned char *)name;
  size_t left = 0;
  while (left < size && name[left])
    left++;
  while (left) {
    size_t length = utf8_length(at, left);
    size_t taken = length ? length : 1;
    if (!length || is_control(at, length))
      text_char(t, '?');
    else
      for (size_t i = 0; i < length; i++)
        text_char(t, (char)at[i]);
    at += taken;
    left -= taken;
  }
}

bool address_is_ipv4(const uint8_t address[16])
{
  static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return memcmp(address, mapped, sizeof mapped) == 0;
}

static void text_ipv4(struct text *t, const uint8_t *octets)
{
  for (int i = 0; i < 4; i++) {
    if (i)
      text_char(t, '.');
    text_u64(t, octets[i]);
  }
}

/* ::1.2.3.4 (RFC 4291 section 2.5.5.1), as inet_ntop(3), ss(8) and ip(8) write it; but not ::1. */
static bool is_ipv4_compatible(const uint8_t *address)
{
  bool zeros = true;
  for (int i = 0; i < 12; i++)
    zeros &= !address[i];
  return zeros && (address[12] || address[13]);
}

/* RFC 5952 section 4.2: the longest run of zero groups, the first of equals, is "::", and a
 * single zero group is not shortened. */
static void text_ipv6(struct text *t, const uint8_t *address)
{
  unsigned group[8];
  int best = 0, best_length = 1;
  for (int i = 0; i < 8; i++)
    group[i] = (unsigned)(address[2 * i] << 8 | address[2 * i + 1]);
  for (int i = 0, run = 0; i < 8; i++) {
    run = group[i] ? 0 : run + 1;
    if (run > best_length) {
      best_length = run;
      best = i - run + 1;
    }
  }
  for (int i = 0; i < 8; i++) {
    if (best_length > 1 && i == best) {
      text_string(t, "::");
      i += best_length - 1;
      continue;
    }
    if (i && !(best_length > 1 && i == best + best_length))
      text_char(t, ':');
    text_hex(t, group[i]);
  }
}

void text_address(struct text *t, const uint8_t address[16], const char *scope)
{
  if (address_is_ipv4(address)) {
    text_ipv4(t, address + 12);
    return;
  }
  if (is_ipv4_compatible(address)) {
    text_string(t, "::");
    text_ipv4(t, address + 12);
  } else {
    text_ipv6(t, address);
  }
  if (scope[0]) {
    text_char(t, '%');
    text_name(t, scope, TEXT_SCOPE_SIZE); /* an interface's name is anybody's */
  }
}

const char *text_end(struct text *t)
{
  if (t->at == t->end)
    t->at--;
  *t->at = '\0';
  return t->start;
}

static const char *word(const char *const *words, unsigned count, unsigned value)
{
  return value < count ? words[value] : "?";
}

const char *call_word(unsigned call)
{
  static const char *const words[RECORD_CALLS] = {"connect", "bind",    "listen",
                                                  "sendto",  "sendmsg", "sendmmsg"};
  return word(words, RECORD_CALLS, call);
}

const char *result_word(unsigned result)
{
  static const char *const words[RECORD_RESULTS] = {"ok", "in_progress", "failed"};
  return word(words, RECORD_RESULTS, result);
}

const char *chooser_word(unsigned chooser)
{
  static const char *const words[RECORD_CHOOSERS] = {"kernel", "program", "policy"};
  return word(words, RECORD_CHOOSERS, chooser);
}

const char *via_word(unsigned via)
{
  static const char *const words[RECORD_VIAS] = {"none", "range", "bind"};
  return word(words, RECORD_VIAS, via);
}

const char *unsteered_word(unsigned unsteered)
{
  static const char *const words[RECORD_UNSTEEREDS] = {"steered", "exhausted", "reuse", "own_range",
                                                       "forbidden"};
  return word(words, RECORD_UNSTEEREDS, unsteered);
}

const char *transport_name(unsigned protocol)
{
  switch (protocol) {
  case IPPROTO_TCP: return "tcp";
  case IPPROTO_UDP: return "udp";
  case IPPROTO_UDPLITE: return "udplite";
  case IPPROTO_ICMP: return "icmp";
  case IPPROTO_ICMPV6: return "icmpv6";
  case IPPROTO_SCTP: return "sctp";
  case IPPROTO_DCCP: return "dccp";
  case IPPROTO_RAW: return "raw";
  case 262: return "mptcp"; /* IPPROTO_MPTCP, newer than some headers */
  default: return NULL;
  }
}

/* The day of a count from 1970-01-01 on, by years that begin in March: the leap day is their last. */
static void text_date(struct text *t, uint64_t days)
{
  days += 719468; /* from 0000-03-01 on */
  uint64_t era = days / 146097, of_era = days % 146097;
  uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
  uint64_t month = (5 * of_year + 2) / 153; /* from March on */
  text_digits(t, era * 400 + year + (month >= 10), 4);
  text_char(t, '-');
  text_digits(t, month < 10 ? month + 3 : month - 9, 2);
  text_char(t, '-');
  text_digits(t, of_year - (153 * month + 2) / 5 + 1, 2);
}

static void text_time(struct text *t, uint64_t nanoseconds, const struct text_style *style)
{
  int64_t seconds = (int64_t)(nanoseconds / 1000000000) + style->utc_offset;
  uint64_t of_day = (uint64_t)((seconds % 86400 + 86400) % 86400);
  if (style->dated) {
    text_date(t, seconds > 0 ? (uint64_t)seconds / 86400 : 0);
    text_char(t, 'T');
  }
  text_digits(t, of_day / 3600, 2);
  text_char(t, ':');
  text_digits(t, of_day / 60 % 60, 2);
  text_char(t, ':');
  text_digits(t, of_day % 60, 2);
  text_char(t, '.');
  text_digits(t, nanoseconds / 1000 % 1000000, 6);
  if (style->zulu)
    text_char(t, 'Z');
}

struct endpoint {
  const uint8_t *address;
  uint32_t scope;
  unsigned port;
};

static void text_endpoint(struct text *t, struct endpoint e, const struct text_style *style)
{
  char scope[TEXT_SCOPE_SIZE] = "";
  if (e.scope && style->scope_name) {
    style->scope_name(e.scope, scope);
  } else if (e.scope) {
    struct text number = TEXT_INIT(scope);
    text_u64(&number, e.scope);
    text_end(&number);
  }
  bool bracket = !address_is_ipv4(e.address);
  if (bracket)
    text_char(t, '[');
  text_address(t, e.address, scope);
  if (bracket)
    text_char(t, ']');
  text_char(t, ':');
  text_u64(t, e.port);
}

static void text_outcome(struct text *t, const struct record_event *e)
{
  const char *name = e->result == RECORD_FAILED ? errno_name(e->error) : NULL;
  if (name) {
    text_string(t, name);
  } else if (e->result == RECORD_FAILED) {
    text_char(t, 'E');
    text_u64(t, e->error);
  } else {
    text_string(t, result_word(e->result));
  }
}

static void text_endpoints(struct text *t, const struct record_event *e,
                           const struct text_style *style)
{
  struct endpoint local = {e->local, e->local_scope, e->local_port};
  struct endpoint peer = {e->peer, e->peer_scope, e->peer_port};
  bool same_address = memcmp(e->peer, e->local, sizeof e->peer) == 0 &&
                      e->peer_scope == e->local_scope;
  text_endpoint(t, local, style);
  if (e->call == RECORD_LISTEN)
    return;
  text_string(t, e->call == RECORD_BIND ? " asked=" : " > ");
  if (e->call == RECORD_BIND && same_address)
    text_u64(t, e->peer_port);
  else
    text_endpoint(t, peer, style);
}

static void text_transport(struct text *t, unsigned protocol)
{
  const char *name = transport_name(protocol);
  if (name)
    text_string(t, name);
  else
    text_u64(t, protocol);
}

/* "policy=shard-3 via=range tries=2", or "rule=..." where the policy did not choose. */
static void text_rule(struct text *t, const struct record_event *e, const char *key,
                      const char *rule)
{
  text_string(t, key);
  text_char(t, '=');
  text_name(t, rule && rule[0] ? rule : "?", RECORD_RULE_NAME - 1);
  if (!e->tries)
    return;
  text_string(t, " via=");
  text_string(t, via_word(e->via));
  text_string(t, " tries=");
  text_u64(t, e->tries);
}

/* Also where the recording had no room for the rule. */
static bool rule_took(const struct record_event *e, const char *rule)
{
  return e->rule || e->tries || e->unsteered || (rule && rule[0]);
}

void text_event(struct text *t, const struct record_event *e, const char *name, const char *rule,
                const struct text_style *style)
{
  text_time(t, e->time, style);
  text_char(t, ' ');
  text_u64(t, e->pid);
  text_char(t, ' ');
  text_name(t, name[0] ? name : "?", NAME_MAX);
  text_char(t, ' ');
  text_string(t, call_word(e->call));
  text_char(t, ' ');
  text_transport(t, e->transport);
  text_char(t, ' ');
  text_endpoints(t, e, style);
  text_char(t, ' ');
  text_outcome(t, e);
  text_char(t, ' ');
  if (e->chosen_by == RECORD_POLICY)
    text_rule(t, e, "policy", rule);
  else
    text_string(t, chooser_word(e->chosen_by));
  text_char(t, ' ');
  text_u64(t, e->duration / 1000);
  text_string(t, "us");
  if (e->forbidden)
    text_string(t, " forbidden");
  if (e->chosen_by != RECORD_POLICY && rule_took(e, rule))
    text_rule(t, e, " rule", rule);
  if (e->unsteered) {
    text_string(t, " unsteered=");
    text_string(t, unsteered_word(e->unsteered));
  }
  text_char(t, '\n');
}
