// SPDX-License-Identifier: MIT
//
// policy/inline.c: an image as text and back, and texts that are none.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/inline.h"

#define MOST 4096

static union {
  struct policy_header header;
  unsigned char bytes[MOST];
} image;

static char text[3 * MOST];
static unsigned char back[MOST + 1];

/* Of `size` bytes, of which about one in `rarity` is not 0; any, with 0. */
static void make_image(size_t size, int rarity)
{
  for (size_t i = sizeof image.header; i < size; i++)
    image.bytes[i] = (unsigned char)(rarity && rand() % rarity ? 0 : rand());
  image.header.size = size;
}

static void what_is_written_is_read_as_the_same(void **state)
{
  (void)state;
  srand(5);
  for (int i = 0; i < 20000; i++) {
    size_t size = sizeof image.header + (size_t)rand() % (MOST - sizeof image.header);
    make_image(size, rand() % 600);
    size_t length = policy_inline_write(&image.header, text);
    assert_int_equal(length, strlen(text));
    assert_true(length < policy_inline_room(size));
    assert_true(policy_is_inline(text));
    memset(back, 0xa5, sizeof back);
    assert_int_equal(policy_inline_read(text, back, MOST), size);
    assert_memory_equal(back, image.bytes, size);
    assert_int_equal(back[size], 0xa5);
  }
}

/* Each other byte a zero: nothing makes it longer. */
static void the_room_is_enough(void **state)
{
  (void)state;
  make_image(MOST, 0);
  for (size_t i = 0; i < MOST; i++)
    image.bytes[i] = i % 2 ? 0 : 0xff;
  image.header.size = MOST;
  assert_true(policy_inline_write(&image.header, text) < policy_inline_room(MOST));
}

static void no_more_is_written_than_there_is_room(void **state)
{
  (void)state;
  make_image(MOST, 100);
  policy_inline_write(&image.header, text);
  for (size_t room = 0; room < 300; room++) {
    memset(back, 0xa5, sizeof back);
    assert_int_equal(policy_inline_read(text, back, room), MOST);
    assert_int_equal(back[room], 0xa5);
  }
}

static void other_texts_are_none(void **state)
{
  (void)state;
  static const char *const none[] = {"",           "image",       "image:",   "/image:AAAA",
                                     "Image:QUJD", "image:QU D",  "image:Q=", "image:QUJD\n",
                                     "image:AA",   "image:QUJDAA"};
  static const char *const superfluous[] = {"image:QUJDA", "image:QR", "image:QUJ", "image:QQA"};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    assert_int_equal(policy_inline_read(none[i], back, MOST), 0);
  for (size_t i = 0; i < sizeof superfluous / sizeof *superfluous; i++)
    assert_int_equal(policy_inline_read(superfluous[i], back, MOST), 0);
  assert_int_equal(policy_inline_read("image:QQ", back, MOST), 1);
  assert_int_equal(policy_inline_read("image:QUI", back, MOST), 2);
  assert_int_equal(policy_inline_read("image:QUJD", back, MOST), 3);
  assert_memory_equal(back, "ABC", 3);
  assert_int_equal(policy_inline_read("image:QQAD", back, MOST), 4);
  assert_memory_equal(back, "A\0\0", 4);
}

/* 256 KiB of text that mean 25 MB. */
static void no_more_than_an_image_may_have(void **state)
{
  (void)state;
  static char many[1 << 18] = "image:";
  for (size_t at = 6; at + 8 < sizeof many; at += 8)
    memcpy(many + at, "AP8A/wD/", 8); /* 0, 255, three times */
  assert_int_equal(policy_inline_read(many, back, MOST), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_written_is_read_as_the_same),
      cmocka_unit_test(the_room_is_enough),
      cmocka_unit_test(no_more_is_written_than_there_is_room),
      cmocka_unit_test(other_texts_are_none),
      cmocka_unit_test(no_more_than_an_image_may_have),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
