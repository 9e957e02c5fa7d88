// SPDX-License-Identifier: MIT
#include "policy/destination_text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "policy/ports_text.h"
#include "policy/prefix_text.h"
#include "policy/refuse.h"

#define DIGITS "0123456789"

/* An address with its length is shorter; a longer text is cut, and refused for being none. */
#define ADDRESS_TEXT 80

void policy_destination_text(const struct policy_destination *d, char text[DESTINATION_TEXT])
{
  char where[PREFIX_TEXT] = "*";
  if (d->families != (POLICY_IPV4 | POLICY_IPV6))
    prefix_text(d->address, d->prefix, d->families == POLICY_IPV4, true, where);
  if (!d->low)
    snprintf(text, DESTINATION_TEXT, "%s", where);
  else if (d->low == d->high)
    snprintf(text, DESTINATION_TEXT, "%s:%u", where, d->low);
  else
    snprintf(text, DESTINATION_TEXT, "%s:%u-%u", where, d->low, d->high);
}

/* ":PORTS" or "". */
static bool parse_ports(const char *text, const char *rest, struct policy_destination *d,
                        char *problem, size_t size)
{
  struct policy_ports ports = {0, 65535};
  if (rest[0] && rest[0] != ':')
    return refuse(problem, size, REFUSE_QUOTE ": '%.20s' is not :PORTS", text, rest);
  if (strcmp(rest, ":*") == 0 || strcmp(rest, ":") == 0)
    return refuse(problem, size, REFUSE_QUOTE ": any port is what an address without ':' means",
                  text);
  if (rest[0] && !policy_ports_parse(rest + 1, &ports, problem, size))
    return false;
  d->low = ports.low;
  d->high = ports.high;
  return true;
}

/* The address and its length, of which IPv6 has lost its brackets. */
static bool parse_prefix(const char *text, struct policy_destination *d, char *problem, size_t size)
{
  struct prefix p;
  if (!prefix_parse(text, &p, problem, size))
    return false;
  memcpy(d->address, p.address, sizeof d->address);
  d->prefix = p.length;
  d->families = p.ipv4 ? POLICY_IPV4 : POLICY_IPV6;
  return true;
}

/* "[ADDR][/LEN][:PORTS]" */
static bool parse_brackets(const char *text, struct policy_destination *d, char *problem,
                           size_t size)
{
  const char *close = strchr(text, ']');
  if (!close)
    return refuse(problem, size, REFUSE_QUOTE ": the bracket is not closed", text);
  int inside = (int)(close - text - 1);
  const char *slash = memchr(text + 1, '/', (size_t)inside);
  if (slash)
    return refuse(problem, size,
                  "the length stands behind the bracket: did you mean [%.*s]%.*s%.60s",
                  (int)(slash - text - 1), text + 1, (int)(close - slash), slash, close + 1);
  if (!memchr(text + 1, ':', (size_t)inside))
    return refuse(problem, size, REFUSE_QUOTE ": brackets are for IPv6 addresses", text);
  size_t length = strcspn(close + 1, ":");
  if (length && close[1] != '/')
    return refuse(problem, size, REFUSE_QUOTE ": behind the bracket stands /LEN or :PORTS", text);
  char address[ADDRESS_TEXT];
  snprintf(address, sizeof address, "%.*s%.*s", inside, text + 1, (int)length, close + 1);
  return parse_prefix(address, d, problem, size) &&
         parse_ports(text, close + 1 + length, d, problem, size);
}

/* "ADDR[/LEN]" of IPv6, which has no ports but in brackets. */
static bool parse_bare(const char *text, struct policy_destination *d, char *problem, size_t size)
{
  const char *slash = strchr(text, '/'), *colon = strrchr(text, ':');
  const char *end = slash && slash < colon ? slash : colon; /* of what may be an address */
  struct in6_addr six;
  char address[ADDRESS_TEXT];
  if (parse_prefix(text, d, problem, size))
    return true;
  snprintf(address, sizeof address, "%.*s", (int)(end - text), text);
  if (colon[1] && !colon[1 + strspn(colon + 1, DIGITS "-")] &&
      inet_pton(AF_INET6, address, &six) == 1)
    return refuse(problem, size, "an IPv6 address with a port needs brackets: did you mean [%s]%s",
                  address, end);
  return false;
}

/* "ADDR[/LEN][:PORTS]" of IPv4. */
static bool parse_ipv4(const char *text, struct policy_destination *d, char *problem, size_t size)
{
  size_t length = strcspn(text, ":");
  if (!length)
    return refuse(problem, size, "an address is missing: did you mean *%.60s", text);
  if (!text[strspn(text, DIGITS "-")])
    return refuse(problem, size, "an address is missing: did you mean *:%.60s", text);
  char address[ADDRESS_TEXT];
  snprintf(address, sizeof address, "%.*s", (int)length, text);
  return parse_prefix(address, d, problem, size) &&
         parse_ports(text, text + length, d, problem, size);
}

static size_t colons(const char *text)
{
  size_t n = 0;
  for (; *text; text++)
    n += *text == ':';
  return n;
}

bool policy_destination_parse(const char *text, struct policy_destination *destination,
                              char *problem, size_t size)
{
  struct policy_destination d = {.high = 65535};
  bool ok;
  if (!text[0])
    return refuse(problem, size, "an empty text, and no destination");
  if (text[0] == '*') {
    d.families = POLICY_IPV4 | POLICY_IPV6;
    ok = parse_ports(text, text + 1, &d, problem, size);
  } else if (text[0] == '[')
    ok = parse_brackets(text, &d, problem, size);
  else if (colons(text) > 1)
    ok = parse_bare(text, &d, problem, size);
  else
    ok = parse_ipv4(text, &d, problem, size);
  if (ok)
    *destination = d;
  return ok;
}
