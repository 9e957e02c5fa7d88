// SPDX-License-Identifier: MIT
//
// policy/script.c: what a script's first line says of the command line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/script.h"

/* The words, with '|' between them. */
static void says(const char *file, const char *expected)
{
  struct policy_script_word words[POLICY_SCRIPT_WORDS];
  char text[POLICY_SCRIPT_LINE * 2] = "";
  size_t size = strlen(file);
  char *copy = malloc(size ? size : 1); /* so that what is read beyond it is seen */
  memcpy(copy, file, size);
  size_t count = policy_script_words(copy, size, words);
  assert_true(count <= POLICY_SCRIPT_WORDS);
  for (size_t i = 0; i < count; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.*s", i ? "|" : "",
             (int)words[i].length, words[i].at);
  free(copy);
  assert_string_equal(text, expected);
}

static void an_interpreter_and_one_argument(void **state)
{
  (void)state;
  says("#!/bin/sh\n", "/bin/sh");
  says("#! \t/bin/sh \t\nmore\n", "/bin/sh");
  says("#!/bin/sh -e\n", "/bin/sh|-e");
  says("#!/usr/bin/awk -v a=b -f \n", "/usr/bin/awk|-v a=b -f");
  says("#!/opt/myenv x\n", "/opt/myenv|x");
}

static void what_env_executes(void **state)
{
  (void)state;
  says("#!/usr/bin/env python3\n", "python3");
  says("#!/usr/bin/env\tpython3 -u\n", "python3 -u"); /* one argument */
  says("#!/usr/bin/env -S python3 -u  -B\n", "python3|-u|-B");
  says("#!/usr/bin/env -Spython3 -u\n", "python3|-u");
  says("#!/usr/bin/env --split-string=python3 -u\n", "python3|-u");
  says("#!/usr/bin/env -S A=1 B=2 python3 C=3\n", "python3|C=3");
  says("#!env perl\n", "perl");
}

static void what_takes_env_to_tell(void **state)
{
  (void)state;
  static const char *const lines[] = {"#!/usr/bin/env\n",
                                      "#!/usr/bin/env -i python3\n",
                                      "#!/usr/bin/env A=1\n",
                                      "#!/usr/bin/env -S -i python3\n",
                                      "#!/usr/bin/env -S 'python3' -u\n",
                                      "#!/usr/bin/env -S python3\\_-u\n",
                                      "#!/usr/bin/env -S ${P} -u\n",
                                      "#!/usr/bin/env -S\n",
                                      "#!/usr/bin/env -S A=1\n",
                                      "#!/usr/bin/env -S a b c d e f g h i\n"};
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
    says(lines[i], "");
}

static void what_is_no_script(void **state)
{
  (void)state;
  char line[POLICY_SCRIPT_LINE + 2];
  says("", "");
  says("#!", "");
  says("#!\n", "");
  says("#! \n", "");
  says("#!/bin/sh", "");
  says("\177ELF\n", "");
  memset(line, 'a', sizeof line);
  memcpy(line, "#!/", 3);
  memcpy(line + POLICY_SCRIPT_LINE, "\n", 2);
  says(line, ""); /* the newline is beyond what the kernel reads */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_interpreter_and_one_argument),
      cmocka_unit_test(what_env_executes),
      cmocka_unit_test(what_takes_env_to_tell),
      cmocka_unit_test(what_is_no_script),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
