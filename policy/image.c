// SPDX-License-Identifier: MIT
//
// Everything in an image has one place: its sections follow one another, and so do the strings and
// the spans in the order of the rules. So one walk over the rules sees each element once, whatever
// the image claims, and what it does not see does not exist.
#include "policy/image.h"

#include "policy/plain.h"

static_assert(_Alignof(struct policy_header) <= 8, "sections are aligned to 8");

static const void *section(const policy_image *p, struct policy_section s)
{
  return (const char *)p + s.offset;
}

uint32_t policy_rule_count(const policy_image *p)
{
  return p->rules.count;
}

const struct policy_rule *policy_rule(const policy_image *p, uint32_t rule)
{
  return (const struct policy_rule *)section(p, p->rules) + rule;
}

const struct policy_destination *policy_destinations(const policy_image *p)
{
  return section(p, p->destinations);
}

const struct policy_address *policy_addresses(const policy_image *p)
{
  return section(p, p->addresses);
}

const struct policy_ports *policy_ports(const policy_image *p)
{
  return section(p, p->ports);
}

const char *policy_string(const policy_image *p, uint32_t offset)
{
  return (const char *)section(p, p->strings) + offset;
}

const char *policy_program(const policy_image *p, uint32_t i)
{
  return policy_string(p, ((const uint32_t *)section(p, p->programs))[i]);
}

/* --- the bytes ------------------------------------------------------------------------------ */

static bool equal(const void *a, const void *b, size_t size)
{
  const unsigned char *x = a, *y = b;
  for (size_t i = 0; i < size; i++)
    if (x[i] != y[i])
      return false;
  return true;
}

static bool zeros(const void *bytes, size_t size)
{
  const unsigned char *b = bytes;
  for (size_t i = 0; i < size; i++)
    if (b[i])
      return false;
  return true;
}

/* Recordings begin with the same five bytes, and are told from JSON by them too. */
bool policy_is_image(const void *bytes, size_t size)
{
  return size >= 5 && equal(bytes, POLICY_MAGIC, 5);
}

uint64_t policy_image_checksum(const void *bytes, size_t size)
{
  const unsigned char *b = bytes;
  const size_t from = offsetof(struct policy_header, checksum), to = from + sizeof(uint64_t);
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  for (size_t i = 0; i < size; i++) {
    hash ^= i >= from && i < to ? 0 : b[i];
    hash *= UINT64_C(0x100000001b3);
  }
  return hash;
}

static const char *magic_problem(const void *bytes, size_t size)
{
  const size_t kind = POLICY_MAGIC_SIZE - 1; /* the last byte is the version */
  if (!policy_is_image(bytes, size))
    return "not a compiled policy";
  if (size < POLICY_MAGIC_SIZE)
    return "a compiled policy that was cut short";
  if (!equal(bytes, POLICY_MAGIC, kind))
    return "not a policy: a recording, or something else of berth's";
  if (!equal(bytes, POLICY_MAGIC, POLICY_MAGIC_SIZE))
    return "compiled for another version of berth: compile it again with this one";
  return NULL;
}

static const char *header_problem(const policy_image *p, size_t size)
{
  if (size < sizeof *p)
    return "a compiled policy that was cut short";
  if (size > POLICY_MAX_IMAGE)
    return "larger than a compiled policy may be (16 MiB)";
  if (p->byte_order == __builtin_bswap32(POLICY_BYTE_ORDER))
    return "compiled on a machine of the other byte order: compile it on one like this";
  if (p->byte_order != POLICY_BYTE_ORDER || p->header_size != sizeof *p)
    return "damaged: its header does not hold together";
  if (p->size != size)
    return p->size > size ? "a compiled policy that was cut short"
                          : "damaged: there is more of it than it says";
  if (p->checksum != policy_image_checksum(p, size))
    return "damaged: its checksum is not that of its bytes";
  return NULL;
}

/* --- the sections --------------------------------------------------------------------------- */

/* Whether the section begins at `*at`, and what fills it up to a multiple of 8 is zeros. Moves
 * `*at` behind it. */
static bool follows(const policy_image *p, struct policy_section s, size_t each, uint64_t *at)
{
  uint64_t size = (uint64_t)s.count * each; /* no overflow: `each` is below 100 */
  uint64_t end = *at + size, padded = (end + 7) & ~UINT64_C(7);
  if (s.offset != *at || padded > p->size || !zeros((const char *)p + end, padded - end))
    return false;
  *at = padded;
  return true;
}

static const char *sections_problem(const policy_image *p)
{
  uint64_t at = sizeof *p;
  if (!follows(p, p->rules, sizeof(struct policy_rule), &at) ||
      !follows(p, p->destinations, sizeof(struct policy_destination), &at) ||
      !follows(p, p->addresses, sizeof(struct policy_address), &at) ||
      !follows(p, p->ports, sizeof(struct policy_ports), &at) ||
      !follows(p, p->programs, sizeof(uint32_t), &at) || !follows(p, p->strings, 1, &at) ||
      at != p->size)
    return "damaged: its sections do not follow one another";
  if (p->strings.count && *policy_string(p, p->strings.count - 1))
    return "damaged: a string does not end";
  if (p->rules.count > POLICY_MAX_RULES)
    return "more rules than a policy may have (4096)";
  return NULL;
}

/* --- the rules ------------------------------------------------------------------------------ */

/* How far the walk has come in each array, and what adds up over it. */
struct walk {
  const policy_image *p;
  uint32_t destinations, addresses, ports, programs, strings;
  uint32_t least_recent;
};

/* Whether the span is empty, or begins where the last one ended and lies within the array. */
static bool takes(struct policy_span s, uint32_t *at, uint32_t count)
{
  if (!s.count)
    return s.first == 0;
  if (s.first != *at || s.count > count - *at)
    return false;
  *at += s.count;
  return true;
}

/* Whether a string of 1 to `most` bytes that may be shown stands next. The section's last byte
 * being NUL, none runs out of it. */
static bool string_holds(struct walk *w, uint32_t offset, uint32_t most)
{
  if (offset != w->strings || offset >= w->p->strings.count)
    return false;
  const char *s = policy_string(w->p, offset);
  uint32_t length = 0;
  for (size_t n; s[length] && length <= most; length += (uint32_t)n)
    if (!(n = policy_plain(s + length)))
      return false;
  w->strings += length + 1;
  return length >= 1 && length <= most;
}

static bool programs_hold(struct walk *w, struct policy_span s)
{
  if (!takes(s, &w->programs, w->p->programs.count))
    return false;
  const uint32_t *offsets = section(w->p, w->p->programs);
  for (uint32_t i = 0; i < s.count; i++)
    if (!string_holds(w, offsets[s.first + i], POLICY_MAX_GLOB))
      return false;
  return true;
}

/* Whether all bits behind the prefix are 0. */
static bool prefix_holds(const uint8_t address[16], uint8_t prefix)
{
  if (prefix > 128)
    return false;
  for (int i = 0; i < 16; i++) {
    int bits = prefix - 8 * i; /* of this byte */
    int host = bits >= 8 ? 0 : bits <= 0 ? 0xff : 0xff >> bits;
    if (address[i] & host)
      return false;
  }
  return true;
}

static bool is_ipv4(const uint8_t address[16], uint8_t prefix)
{
  return prefix >= 96 && zeros(address, 10) && address[10] == 0xff && address[11] == 0xff;
}

static bool destination_holds(const struct policy_destination *d)
{
  if (!prefix_holds(d->address, d->prefix) || d->reserved)
    return false;
  bool ipv4 = is_ipv4(d->address, d->prefix);
  switch (d->families) {
  case POLICY_IPV4:
    if (!ipv4)
      return false;
    break;
  case POLICY_IPV6:
    if (ipv4)
      return false;
    break;
  case POLICY_IPV4 | POLICY_IPV6:
    if (d->prefix || !zeros(d->address, sizeof d->address))
      return false;
    break;
  default: return false;
  }
  return d->low <= d->high && (d->low || d->high == 65535);
}

static bool destinations_hold(struct walk *w, struct policy_span s)
{
  if (!takes(s, &w->destinations, w->p->destinations.count))
    return false;
  for (uint32_t i = 0; i < s.count; i++)
    if (!destination_holds(policy_destinations(w->p) + s.first + i))
      return false;
  return true;
}

/* Adds the addresses of the span to `*pool`. */
static bool addresses_hold(struct walk *w, struct policy_span s, bool ipv4, uint32_t *pool)
{
  if (!takes(s, &w->addresses, w->p->addresses.count))
    return false;
  uint32_t before = 0;
  for (uint32_t i = 0; i < s.count; i++) {
    const struct policy_address *a = policy_addresses(w->p) + s.first + i;
    if (!prefix_holds(a->address, a->prefix) || is_ipv4(a->address, a->prefix) != ipv4 ||
        !zeros(a->reserved, sizeof a->reserved))
      return false;
    if (a->prefix < 112 || a->count != 1u << (128 - a->prefix) || a->before != before)
      return false;
    before += a->count;
    *pool += a->count;
    if (*pool > POLICY_MAX_ADDRESSES)
      return false;
  }
  return true;
}

static bool ports_hold(struct walk *w, struct policy_span s)
{
  if (!takes(s, &w->ports, w->p->ports.count))
    return false;
  uint32_t least = 1;
  for (uint32_t i = 0; i < s.count; i++) {
    const struct policy_ports *ports = policy_ports(w->p) + s.first + i;
    if (ports->low < least || ports->low > ports->high)
      return false;
    least = ports->high + 2u; /* there is a gap between two of them */
  }
  return true;
}

static bool numbers_hold(const struct policy_rule *r)
{
  return r->tries <= 65535 && r->rest <= POLICY_MAX_REST && r->mod_of >= 1 &&
         r->mod_is < r->mod_of && r->transports >= 1 &&
         r->transports <= (POLICY_TCP | POLICY_UDP) && r->order < POLICY_ORDERS &&
         r->via < POLICY_VIAS && r->exhausted < POLICY_EXHAUSTEDS && r->steers <= 1 &&
         zeros(r->reserved, sizeof r->reserved);
}

static const char *rule_problem(struct walk *w, const struct policy_rule *r)
{
  uint32_t pool = 0;
  if (!numbers_hold(r))
    return "damaged: a rule has a value that there is not";
  if (!programs_hold(w, r->programs))
    return "damaged: a rule's programs are none";
  if (!destinations_hold(w, r->destinations))
    return "damaged: a rule's destinations are none";
  if (!addresses_hold(w, r->ipv4, true, &pool) || !addresses_hold(w, r->ipv6, false, &pool))
    return "damaged: a rule's local addresses are none";
  if (!ports_hold(w, r->ports) || !ports_hold(w, r->except))
    return "damaged: a rule's ports are none";
  w->least_recent += r->order == POLICY_LEAST_RECENT;
  if (w->least_recent > POLICY_MAX_LEAST_RECENT)
    return "more rules of order least-recent than a policy may have (64)";
  return NULL;
}

static const char *rules_problem(const policy_image *p)
{
  struct walk w = {.p = p};
  for (uint32_t i = 0; i < p->rules.count; i++)
    if (!string_holds(&w, policy_rule(p, i)->name, POLICY_MAX_NAME))
      return "damaged: a rule's name is none";
  for (uint32_t i = 0; i < p->rules.count; i++) {
    const char *problem = rule_problem(&w, policy_rule(p, i));
    if (problem)
      return problem;
  }
  if (!programs_hold(&w, p->late_bind))
    return "damaged: the programs of late_bind are none";
  if (w.destinations != p->destinations.count || w.addresses != p->addresses.count ||
      w.ports != p->ports.count || w.programs != p->programs.count || w.strings != p->strings.count)
    return "damaged: it holds what no rule asks for";
  return NULL;
}

const char *policy_image_problem(const void *bytes, size_t size)
{
  const char *problem = magic_problem(bytes, size);
  if (!problem)
    problem = header_problem(bytes, size);
  if (!problem)
    problem = sections_problem(bytes);
  return problem ? problem : rules_problem(bytes);
}
