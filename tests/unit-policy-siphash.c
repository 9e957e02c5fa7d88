// SPDX-License-Identifier: MIT
//
// policy/siphash.c against the vectors published with the reference implementation.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/siphash.h"

static void the_published_vectors_hold(void **state)
{
  (void)state;
  static const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
  /* Of the 64 those of whole words: of 0, 8, 16, ... 56 bytes 00, 01, 02, ... */
  static const uint64_t expected[8] = {UINT64_C(0x726fdb47dd0e0e31), UINT64_C(0x93f5f5799a932462),
                                       UINT64_C(0x3f2acc7f57c29bdb), UINT64_C(0xb8ad50c6f649af94),
                                       UINT64_C(0x7127512f72f27cce), UINT64_C(0x0e3ea96b5304a7d0),
                                       UINT64_C(0xe612a3cb9ecba951), UINT64_C(0xb78dbfaf3a8d83bd)};
  uint64_t words[7];
  for (uint64_t i = 0; i < 7; i++)
    words[i] = UINT64_C(0x0706050403020100) + i * UINT64_C(0x0808080808080808);
  for (size_t count = 0; count < 8; count++)
    assert_int_equal(siphash(key, words, count), expected[count]);
  /* 12 and 15 bytes. */
  assert_int_equal(siphash_with_tail(key, words, 1, 0x0b0a0908, 4), UINT64_C(0x751e8fbc860ee5fb));
  assert_int_equal(siphash_with_tail(key, words, 1, UINT64_C(0x0e0d0c0b0a0908), 7),
                   UINT64_C(0xa129ca6149be45e5));
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_published_vectors_hold)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
