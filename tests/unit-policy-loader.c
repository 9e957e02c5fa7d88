// SPDX-License-Identifier: MIT
//
// berth-policy.so, opened as libberth.so opens it.
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/image.h"
#include "policy/loader.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) /* clang */
#define __SANITIZE_THREAD__ 1
#endif
#endif

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define DEEP 0 /* they refuse it: their own malloc would be passed by */
#else
#define DEEP RTLD_DEEPBIND

/* A program's own function of a name that jansson uses: json-c has one too. */
void *json_object_get(const void *object, const char *key);
__attribute__((visibility("default"))) void *json_object_get(const void *object, const char *key)
{
  (void)object;
  (void)key;
  abort();
}
#endif

struct loader {
  void *handle;
  __typeof__(berth_policy_load) *load;
  __typeof__(berth_policy_free) *free;
};

static struct loader opened(void)
{
  struct loader l = {.handle = dlopen(getenv("BERTH_POLICY_SO"), RTLD_NOW | RTLD_LOCAL | DEEP)};
  if (!l.handle)
    fail_msg("%s", dlerror());
  *(void **)&l.load = dlsym(l.handle, "berth_policy_load");
  *(void **)&l.free = dlsym(l.handle, "berth_policy_free");
  assert_true(l.load && l.free);
  return l;
}

static void json_becomes_an_image(void **state)
{
  (void)state;
  static const char json[] = "{\"version\": 1, \"rules\": [{\"name\": \"a\", \"tries\": 42}]}";
  for (int i = 0; i < 3; i++) { /* a program may exec itself, and a child too */
    struct loader l = opened();
    char problem[512] = "";
    size_t size = 0;
    policy_image *p = l.load(json, strlen(json), &size, problem, sizeof problem);
    assert_non_null(p);
    assert_null(policy_image_problem(p, size));
    assert_int_equal(policy_rule(p, 0)->tries, 42);
    assert_string_equal(problem, "");
    l.free(p);
    assert_int_equal(dlclose(l.handle), 0);
  }
}

static void the_first_problem_is_told(void **state)
{
  (void)state;
  static const char json[] = "{\"version\": 1, \"rules\": [{\"tries\": 0, \"rest\": -1}]}";
  struct loader l = opened();
  char problem[512], small[8];
  size_t size = 0;
  assert_null(l.load(json, strlen(json), &size, problem, sizeof problem));
  assert_string_equal(problem, " /rules/0/tries: 0 is not a whole number from 1 to 65535");
  assert_null(l.load(json, strlen(json), &size, small, sizeof small));
  assert_string_equal(small, " /rules");
  assert_null(l.load("", 0, &size, problem, sizeof problem));
  assert_string_equal(problem, "1:1: no JSON; `berth check` tells more");
  assert_null(l.load("{\n secret", 9, &size, problem, sizeof problem));
  assert_string_equal(problem, "2:7: no JSON; `berth check` tells more");
  dlclose(l.handle);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(json_becomes_an_image),
      cmocka_unit_test(the_first_problem_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
