// SPDX-License-Identifier: MIT
#include "policy/match.h"

#include <stddef.h>
#include <string.h>

/* --- globs ------------------------------------------------------------------------------------ */

/* One character of a set, quoted or not; NULL where the pattern ends before it. */
static const char *set_character(const char *at, unsigned char *c)
{
  if (*at == '\\')
    at++;
  *c = (unsigned char)*at;
  return *at ? at + 1 : NULL;
}

/* Past the ']' of the set whose inside begins at `at`, and whether `c` is in it; NULL if there is
 * no ']': then the '[' is a character like any other (POSIX.1-2017, XCU 2.13.1). */
static const char *set_end(const char *at, unsigned char c, bool *in)
{
  bool negated = *at == '!' || *at == '^', found = false;
  const char *first = negated ? ++at : at;
  while (at == first || *at != ']') {
    unsigned char low, high;
    at = set_character(at, &low);
    if (!at)
      return NULL;
    high = low;
    if (at[0] == '-' && at[1] && at[1] != ']')
      at = set_character(at + 1, &high);
    if (!at)
      return NULL;
    found |= low <= c && c <= high;
  }
  *in = found != negated;
  return at + 1;
}

/* Past the one element of the pattern that takes `c`, or NULL. */
static const char *take_one(const char *pattern, char c)
{
  const char *end;
  bool in;
  if (*pattern == '?')
    return pattern + 1;
  if (*pattern == '[' && (end = set_end(pattern + 1, (unsigned char)c, &in)))
    return in ? end : NULL;
  if (*pattern == '\\')
    pattern++;
  return *pattern && *pattern == c ? pattern + 1 : NULL;
}

/* Of several '*' only the last needs to be gone back to: what comes before it has matched as
 * early as it can. */
bool policy_glob(const char *pattern, const char *name)
{
  const char *star = NULL, *after_star = NULL, *next;
  while (*name) {
    if (*pattern == '*') {
      star = ++pattern;
      after_star = name;
    } else if ((next = take_one(pattern, *name))) {
      pattern = next;
      name++;
    } else if (star) {
      pattern = star;
      name = ++after_star;
    } else {
      return false;
    }
  }
  while (*pattern == '*')
    pattern++;
  return !*pattern;
}

static const char *base_name(const char *path)
{
  const char *base = path;
  for (; *path; path++)
    if (*path == '/')
      base = path + 1;
  return base;
}

static bool any_names(const policy_image *p, struct policy_span programs, const char *executed,
                      const char *exe)
{
  executed = base_name(executed);
  exe = base_name(exe);
  for (uint32_t i = 0; i < programs.count; i++) {
    const char *glob = policy_program(p, programs.first + i);
    if (policy_glob(glob, executed) || policy_glob(glob, exe))
      return true;
  }
  return false;
}

bool policy_names_program(const policy_image *p, struct policy_span programs, const char *executed,
                          const char *exe)
{
  return !programs.count || any_names(p, programs, executed, exe);
}

bool policy_binds_late(const policy_image *p, const char *executed, const char *exe)
{
  return any_names(p, p->late_bind, executed, exe);
}

/* --- destinations ----------------------------------------------------------------------------- */

/* Masks of the first n of 128 bits, in two halves as the machine reads them: looked up, since an
 * address is compared with thousands of destinations. (htobe64() is no constant expression.) */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FROM_NETWORK(x) __builtin_bswap64(x)
#else
#define FROM_NETWORK(x) (x)
#endif
#define HALF(n) FROM_NETWORK((n) <= 0 ? 0 : UINT64_MAX << ((n) > 0 && (n) < 64 ? 64 - (n) : 0))
#define MASK(n)                                                                                    \
  {                                                                                                \
    HALF(n), HALF((n)-64)                                                                          \
  }
#define MASKS4(n) MASK(n), MASK(n + 1), MASK(n + 2), MASK(n + 3)
#define MASKS(n) MASKS4(n), MASKS4(n + 4), MASKS4(n + 8), MASKS4(n + 12)
static const struct {
  uint64_t high, low;
} masks[129] = {MASKS(0),  MASKS(16), MASKS(32),  MASKS(48), MASKS(64),
                MASKS(80), MASKS(96), MASKS(112), MASK(128)};

/* A connection as it is compared. */
struct peer {
  uint64_t high, low; /* halves of the address, as the machine reads them */
  uint16_t port;
  uint8_t family, transport;
};

static struct peer peer_of(const struct policy_connection *c)
{
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  struct peer peer = {.port = c->port, .transport = c->transport};
  memcpy(&peer.high, c->address, 8);
  memcpy(&peer.low, c->address + 8, 8);
  peer.family = memcmp(c->address, mapped, sizeof mapped) ? POLICY_IPV6 : POLICY_IPV4;
  return peer;
}

/* What tells most destinations apart comes first: the half of the address that holds an IPv4 one.
 * The family last: "[::]/0" does not take a v4-mapped address. */
static inline bool takes(const struct policy_destination *d, const struct peer *peer)
{
  uint64_t high, low;
  memcpy(&low, d->address + 8, 8);
  if ((low ^ peer->low) & masks[d->prefix].low)
    return false;
  if (peer->port < d->low || peer->port > d->high)
    return false;
  memcpy(&high, d->address, 8);
  return !((high ^ peer->high) & masks[d->prefix].high) && d->families & peer->family;
}

static inline bool rule_takes(const struct policy_destination *all, const struct policy_rule *rule,
                              const struct peer *peer)
{
  const struct policy_destination *d = all + rule->destinations.first,
                                  *end = d + rule->destinations.count;
  if (!(rule->transports & peer->transport))
    return false;
  if (d == end)
    return true;
  for (; d < end; d++)
    if (takes(d, peer))
      return true;
  return false;
}

bool policy_rule_takes(const policy_image *p, const struct policy_rule *rule,
                       const struct policy_connection *c)
{
  struct peer peer = peer_of(c);
  return rule_takes(policy_destinations(p), rule, &peer);
}

uint32_t policy_match(const policy_image *p, const uint32_t *rules, uint32_t count,
                      const struct policy_connection *c)
{
  const struct policy_destination *destinations = policy_destinations(p);
  const struct policy_rule *first = policy_rule(p, 0);
  const struct peer peer = peer_of(c);
  for (uint32_t i = 0; i < count; i++)
    if (rule_takes(destinations, first + rules[i], &peer))
      return rules[i];
  return POLICY_NO_RULE;
}

uint32_t policy_match_bind(const policy_image *p, const uint32_t *rules, uint32_t count,
                           uint8_t transport)
{
  for (uint32_t i = 0; i < count; i++) {
    const struct policy_rule *rule = policy_rule(p, rules[i]);
    if (rule->transports & transport && !rule->destinations.count)
      return rules[i];
  }
  return POLICY_NO_RULE;
}
