// SPDX-License-Identifier: MIT
#include "policy/prefix_text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "policy/refuse.h"

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

void prefix_text(const uint8_t address[16], uint8_t length, bool ipv4, bool brackets,
                 char text[PREFIX_TEXT])
{
  char name[INET6_ADDRSTRLEN];
  bool enclose = brackets && !ipv4;
  inet_ntop(ipv4 ? AF_INET : AF_INET6, ipv4 ? address + 12 : address, name, sizeof name);
  int n = snprintf(text, PREFIX_TEXT, "%s%s%s", enclose ? "[" : "", name, enclose ? "]" : "");
  if (length < 128)
    snprintf(text + n, PREFIX_TEXT - (size_t)n, "/%d", ipv4 ? length - 96 : length);
}

/* Clears the bits behind the prefix; whether there were any. */
static bool clear_host_bits(uint8_t address[16], int length)
{
  bool any = false;
  for (int i = 0; i < 16; i++) {
    int bits = length - 8 * i; /* of this byte */
    uint8_t host = bits >= 8 ? 0 : bits <= 0 ? 0xff : (uint8_t)(0xff >> bits);
    any |= address[i] & host;
    address[i] &= (uint8_t)~host;
  }
  return any;
}

/* "/LEN" or "". */
static bool parse_length(const char *text, const char *slash, struct prefix *p, char *problem,
                         size_t size)
{
  int most = p->ipv4 ? 32 : 128, length = 0;
  const char *digits = slash + 1;
  size_t count = strspn(digits, "0123456789");
  if (!count || digits[count] || (count > 1 && digits[0] == '0'))
    return refuse(problem, size, REFUSE_QUOTE ": behind '/' stands a number from 0 to %d", text,
                  most);
  for (size_t i = 0; i < count && length <= most; i++)
    length = 10 * length + digits[i] - '0';
  if (length > most)
    return refuse(problem, size, REFUSE_QUOTE ": a prefix of an %s address has up to %d bits", text,
                  p->ipv4 ? "IPv4" : "IPv6", most);
  p->length = (uint8_t)(128 - most + length);
  return true;
}

static bool parse_address(const char *text, const char *end, struct prefix *p)
{
  char name[INET6_ADDRSTRLEN];
  if ((size_t)(end - text) >= sizeof name)
    return false;
  snprintf(name, sizeof name, "%.*s", (int)(end - text), text);
  p->ipv4 = inet_pton(AF_INET, name, p->address + 12) == 1;
  if (p->ipv4)
    memcpy(p->address, mapped, sizeof mapped);
  return p->ipv4 || inet_pton(AF_INET6, name, p->address) == 1;
}

bool prefix_parse(const char *text, struct prefix *prefix, char *problem, size_t size)
{
  struct prefix p = {.length = 128};
  const char *end = text + strcspn(text, "/");
  const char *scope = strchr(text, '%');
  if (scope)
    return refuse(problem, size,
                  REFUSE_QUOTE ": an interface ('%.20s') is one machine's name for one of its "
                               "links, and no part of an address here",
                  text, scope);
  if (!text[0])
    return refuse(problem, size, "an empty text, and no address");
  if (!parse_address(text, end, &p))
    return refuse(problem, size,
                  REFUSE_QUOTE " is not an IPv4 or IPv6 address (names are not looked up)", text);
  if (*end && !parse_length(text, end, &p, problem, size))
    return false;
  if (clear_host_bits(p.address, p.length)) {
    char meant[PREFIX_TEXT];
    prefix_text(p.address, p.length, p.ipv4, false, meant);
    return refuse(problem, size, "%.60s has host bits set: did you mean %s", text, meant);
  }
  if (p.length >= 96 && memcmp(p.address, mapped, sizeof mapped) == 0)
    p.ipv4 = true;
  *prefix = p;
  return true;
}

bool prefix_is_local(const struct prefix *p, char *problem, size_t size)
{
  const uint8_t *a = p->ipv4 ? p->address + 12 : p->address;
  bool multicast = p->ipv4 ? (a[0] & 0xf0) == 0xe0 : a[0] == 0xff;
  bool broadcast = p->ipv4 && memcmp(a, "\xff\xff\xff\xff", 4) == 0;
  bool any = true;
  for (int i = p->ipv4 ? 12 : 0; i < 16; i++)
    any &= !p->address[i];
  if (any)
    return refuse(problem, size,
                  "the unspecified address is no connection's: leave "
                  "local_addresses out for any");
  if (multicast || broadcast)
    return refuse(problem, size, "a %s address is no connection's source",
                  multicast ? "multicast" : "broadcast");
  if (!p->ipv4 && a[0] == 0xfe && (a[1] & 0xc0) == 0x80)
    return refuse(problem, size,
                  "a link-local address means something on one interface only, "
                  "which a policy cannot name");
  if (128 - p->length > 16)
    return refuse(problem, size, "a rule has up to %u addresses, and this prefix more",
                  POLICY_MAX_ADDRESSES);
  return true;
}
