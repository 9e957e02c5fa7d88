// SPDX-License-Identifier: MIT
#include "policy/inline.h"

#include <stdint.h>

#define MOST_ZEROS 255

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool policy_is_inline(const char *value)
{
  for (const char *begin = POLICY_INLINE; *begin; begin++)
    if (*value++ != *begin)
      return false;
  return true;
}

/* --- to text -------------------------------------------------------------------------------- */

/* At worst every other byte is a zero by itself, which makes three of two. */
size_t policy_inline_room(size_t size)
{
  size_t packed = size + size / 2 + 1;
  return sizeof POLICY_INLINE + packed / 3 * 4 + 4;
}

/* Bits that wait until there are six of them. */
struct writer {
  char *at;
  uint32_t bits;
  unsigned count;
};

static void write_byte(struct writer *w, unsigned char byte)
{
  w->bits = w->bits << 8 | byte;
  w->count += 8;
  for (; w->count >= 6; w->count -= 6)
    *w->at++ = alphabet[w->bits >> (w->count - 6) & 63];
}

size_t policy_inline_write(const policy_image *image, char *to)
{
  const unsigned char *bytes = (const void *)image;
  struct writer w = {.at = to};
  for (const char *begin = POLICY_INLINE; *begin; begin++)
    *w.at++ = *begin;
  for (size_t i = 0; i < image->size;) {
    size_t run = 0;
    while (run < MOST_ZEROS && i + run < image->size && !bytes[i + run])
      run++;
    write_byte(&w, bytes[i]);
    if (run)
      write_byte(&w, (unsigned char)run);
    i += run ? run : 1;
  }
  if (w.count)
    *w.at++ = alphabet[w.bits << (6 - w.count) & 63];
  *w.at = '\0';
  return (size_t)(w.at - to);
}

/* --- from text ------------------------------------------------------------------------------ */

struct unpacked {
  unsigned char *to;
  size_t room, size;
  bool zeros; /* how many comes next */
};

static void append(struct unpacked *u, unsigned char byte)
{
  if (u->size < u->room)
    u->to[u->size] = byte;
  u->size++;
}

static void unpack(struct unpacked *u, unsigned char byte)
{
  if (!u->zeros && byte) {
    append(u, byte);
    return;
  }
  for (unsigned i = 0; u->zeros && i < byte; i++)
    append(u, 0);
  u->zeros = !u->zeros;
}

static int value_of(char c)
{
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

size_t policy_inline_read(const char *value, void *to, size_t room)
{
  struct unpacked u = {.to = to, .room = room};
  uint32_t bits = 0;
  unsigned count = 0;
  if (!policy_is_inline(value))
    return 0;
  for (const char *at = value + sizeof POLICY_INLINE - 1; *at; at++) {
    int six = value_of(*at);
    if (six < 0)
      return 0;
    bits = bits << 6 | (uint32_t)six;
    count += 6;
    if (count >= 8) {
      count -= 8;
      unpack(&u, (unsigned char)(bits >> count));
    }
  }
  bool ends = count < 6 && !(bits & ((1u << count) - 1)); /* nothing but the last byte's filling */
  return u.zeros || !ends || u.size > POLICY_MAX_IMAGE ? 0 : u.size;
}
