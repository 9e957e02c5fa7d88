// SPDX-License-Identifier: MIT
//
// preload/real.c where there is no dlsym(): in a program of glibc before 2.34 that does not load
// libdl, libc's own table of symbols tells what dlsym() would.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define dlsym absent
extern __typeof__(void *(void *, const char *)) absent __attribute__((weak));
#include "preload/real.c"
#undef dlsym
extern void *dlsym(void *, const char *);

static struct link_map *libc;

/* libc's own, where a sanitizer stands in front of it. */
static void libc_has_all_of_them(void **state)
{
  (void)state;
  const struct real *r = real();
#define SAME(type, name, parameters)                                                               \
  {                                                                                                \
    void *f;                                                                                       \
    memcpy(&f, &r->name, sizeof f);                                                                \
    assert_ptr_equal(f, dlsym(libc, #name));                                                       \
  }
  REAL_FUNCTIONS(SAME)
#undef SAME
}

static void names_are_whole(void **state)
{
  (void)state;
  assert_null(find("connec"));
  assert_null(find("connect4"));
  assert_null(find(""));
  assert_null(real_symbol(RTLD_DEFAULT, "connect"));
}

static void errno_stays(void **state)
{
  (void)state;
  atomic_store(&real_found, NULL);
  errno = 77;
  assert_non_null(real()->connect);
  assert_int_equal(errno, 77);
}

static void which_object_is_libc(void **state)
{
  (void)state;
  assert_true(names_libc("/lib/x86_64-linux-gnu/libc.so.6"));
  assert_true(names_libc("/lib/libc-2.17.so"));
  assert_false(names_libc("/lib/x86_64-linux-gnu/libcap.so.2"));
  assert_false(names_libc(""));
  assert_false(names_libc("libc"));
}

static void a_table_that_lacks_a_part(void **state)
{
  (void)state;
  const struct tables none = {0};
  assert_null(default_symbol(&none, 0, "connect"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(libc_has_all_of_them),
      cmocka_unit_test(names_are_whole),
      cmocka_unit_test(errno_stays),
      cmocka_unit_test(which_object_is_libc),
      cmocka_unit_test(a_table_that_lacks_a_part),
  };
  libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
  if (!libc || !tables_of(libc->l_ld).hash) {
    puts("1..0 # SKIP libc.so.6 has no DT_HASH, as each has that lacks dlsym()");
    return 0;
  }
  return cmocka_run_group_tests(tests, NULL, NULL);
}
