// SPDX-License-Identifier: MIT
#include "policy/plain.h"

#include <stdbool.h>
#include <stdint.h>

/* How many bytes a character has by its first one, and the bits that one adds; 0: no first one. */
static size_t width(unsigned char first, uint32_t *bits)
{
  static const struct {
    unsigned char from, to, mask, width;
  } forms[] = {
      {0x20, 0x7e, 0x7f, 1}, {0xc2, 0xdf, 0x1f, 2}, {0xe0, 0xef, 0x0f, 3}, {0xf0, 0xf4, 0x07, 4}};
  for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
    if (first >= forms[i].from && first <= forms[i].to) {
      *bits = first & forms[i].mask;
      return forms[i].width;
    }
  return 0;
}

size_t policy_plain(const char *s)
{
  uint32_t c = 0;
  size_t n = width((unsigned char)s[0], &c);
  for (size_t i = 1; i < n; i++) { /* a NUL ends it, being no 10xxxxxx */
    if (((unsigned char)s[i] & 0xc0) != 0x80)
      return 0;
    c = c << 6 | ((unsigned char)s[i] & 0x3f);
  }
  bool turns = c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
               (c >= 0x2066 && c <= 0x2069);
  static const uint32_t least[] = {0, 0, 0xa0, 0x800, 0x10000}; /* by width; C1 ends at 0x9f */
  if (n > 1 && (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || turns))
    return 0;
  return n;
}

void policy_make_plain(char *line)
{
  for (char *at = line; *at;) {
    size_t n = policy_plain(at);
    if (!n)
      *at = '?';
    at += n ? n : 1;
  }
}
