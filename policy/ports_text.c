// SPDX-License-Identifier: MIT
#include "policy/ports_text.h"

#include <stdlib.h>
#include <string.h>

#include "policy/refuse.h"

#define DIGITS "0123456789"

/* The number that `length` digits are, or 65536 where it is larger than a port. */
static uint32_t number(const char *digits, size_t length)
{
  uint32_t n = 0;
  for (size_t i = 0; i < length && n <= 65535; i++)
    n = 10 * n + (uint32_t)(digits[i] - '0');
  return n > 65535 ? 65536 : n;
}

/* One port, of all the digits that `*text` begins with. */
static bool take(const char **text, uint32_t *port, char *problem, size_t size)
{
  const char *digits = *text;
  size_t length = strspn(digits, DIGITS);
  *port = number(digits, length);
  *text += length;
  if (*port > 65535)
    return refuse(problem, size, "there is no port above 65535");
  if (!*port)
    return refuse(problem, size,
                  "0 is no port: it asks the kernel for any, as a rule without ports does");
  return digits[0] != '0' || refuse(problem, size, "a port is written without leading zeros");
}

bool policy_ports_parse(const char *text, struct policy_ports *ports, char *problem, size_t size)
{
  const char *at = text;
  size_t first = strspn(text, DIGITS);
  const char *second = text[first] == '-' ? text + first + 1 : NULL;
  const char *end = second ? second + strspn(second, DIGITS) : text + first;
  if (!text[0])
    return refuse(problem, size, "an empty text, and no port");
  if (*end == ',')
    return refuse(problem, size, "one port or LOW-HIGH a text: several are a list, [\"1\", \"2\"]");
  if (!first || *end || end == second)
    return refuse(problem, size, REFUSE_QUOTE " is not a port or LOW-HIGH", text);
  uint32_t low, high;
  if (!take(&at, &low, problem, size))
    return false;
  high = low;
  if (second && !take(&second, &high, problem, size))
    return false;
  if (low > high)
    return refuse(problem, size, "no port is from %u to %u: did you mean %u-%u", low, high, high,
                  low);
  *ports = (struct policy_ports){(uint16_t)low, (uint16_t)high};
  return true;
}

static int by_low(const void *a, const void *b)
{
  const struct policy_ports *x = a, *y = b;
  return (x->low > y->low) - (x->low < y->low);
}

size_t policy_ports_join(struct policy_ports *ports, size_t count)
{
  if (!count)
    return 0;
  qsort(ports, count, sizeof *ports, by_low);
  size_t last = 0;
  for (size_t i = 1; i < count; i++)
    if (ports[i].low > ports[last].high + 1)
      ports[++last] = ports[i];
    else if (ports[i].high > ports[last].high)
      ports[last].high = ports[i].high;
  return last + 1;
}

/* How many numbers from 0 to n - 1 are `is` modulo `of`. */
static uint32_t below(uint32_t n, uint32_t of, uint32_t is)
{
  return n > is ? (n - is - 1) / of + 1 : 0;
}

static uint32_t between(uint32_t low, uint32_t high, uint32_t of, uint32_t is)
{
  return low > high ? 0 : below(high + 1, of, is) - below(low, of, is);
}

uint32_t policy_ports_left(const struct policy_ports *ports, size_t count,
                           const struct policy_ports *except, size_t except_count, uint32_t of,
                           uint32_t is)
{
  uint32_t left = 0;
  size_t e = 0;
  for (size_t i = 0; i < count; i++) {
    uint32_t low = ports[i].low;
    while (e < except_count && except[e].high < low)
      e++;
    for (; e < except_count && except[e].low <= ports[i].high; e++) {
      left += except[e].low > low ? between(low, except[e].low - 1u, of, is) : 0;
      low = except[e].high + 1u;
      if (except[e].high > ports[i].high) /* it may cover some of the next interval too */
        break;
    }
    left += between(low, ports[i].high, of, is);
  }
  return left;
}
