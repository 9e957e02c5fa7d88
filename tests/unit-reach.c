// SPDX-License-Identifier: MIT
//
// cli/: whom a #! line, env(1) and binfmt_misc lead to.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/binfmt.h"
#include "cli/script.h"
#include "cli/verdict.h"

/* "INTERPRETER|ARGUMENT" of a file that begins so; NULL where the kernel takes none. */
static const char *line(const char *head)
{
  static char text[2 * EXECUTABLE_HEAD + 2];
  char interpreter[EXECUTABLE_HEAD] = "", argument[EXECUTABLE_HEAD] = "";
  struct executable *e = calloc(1, sizeof *e);
  memcpy(e->head, head, strnlen(head, EXECUTABLE_HEAD));
  bool takes = script_interpreter(e, interpreter, argument);
  free(e);
  snprintf(text, sizeof text, "%s|%s", interpreter, argument);
  return takes ? text : NULL;
}

static void lines(void **state)
{
  (void)state;
  assert_string_equal(line("#!/bin/sh\n"), "/bin/sh|");
  assert_string_equal(line("#!/bin/sh"), "/bin/sh|");
  assert_string_equal(line("#! \t/bin/sh \t\nmore"), "/bin/sh|");
  assert_string_equal(line("#!/bin/sh -e -u \n"), "/bin/sh|-e -u");
  assert_string_equal(line("#!/bin/sh\t-e"), "/bin/sh|-e");
  assert_string_equal(line("#!sh\r\n"), "sh\r|");
  assert_null(line("#!\n"));
  assert_null(line("#! \t \n"));
  assert_null(line("#!"));
}

static void long_lines(void **state)
{
  (void)state;
  char head[2 * EXECUTABLE_HEAD + 1] = "#!";
  memset(head + 2, 'x', sizeof head - 3);
  assert_null(line(head)); /* the path itself is cut */
  head[EXECUTABLE_HEAD - 1] = ' ';
  assert_non_null(line(head));
  memcpy(head, "#!/bin/sh ", 10);
  assert_true(strncmp(line(head), "/bin/sh|xx", 10) == 0); /* the argument is cut */
  memset(head + 2, ' ', sizeof head - 3);
  assert_null(line(head));
}

/* What env(1) would execute, "," after each word; then what takes LD_PRELOAD away. */
static const char *env_of(const char *const *command)
{
  static char text[512];
  struct words words = {0};
  struct env_command env;
  for (; *command; command++)
    words_add(&words, *command, strlen(*command));
  env_parse(&words, &env);
  text[0] = '\0';
  for (size_t i = 0; i < env.command.count; i++)
    strcat(strcat(text, env.command.list[i]), ",");
  if (env.loses)
    strcat(strcat(text, " loses "), env.loses);
  if (env.unknown)
    strcat(strcat(text, " unknown "), env.unknown);
  if (env.path)
    strcat(strcat(text, " path "), env.path);
  if (env.directory)
    strcat(strcat(text, " in "), env.directory);
  words_free(&words);
  words_free(&env.command);
  words_free(&env.text);
  return text;
}
#define ENV(...) env_of((const char *const[]){"env", __VA_ARGS__, NULL})

static void envs(void **state)
{
  (void)state;
  assert_string_equal(ENV("prog", "-i", "x"), "prog,-i,x,");
  assert_string_equal(ENV("A=b", "PATH=/x:/y", "prog"), "prog, path /x:/y");
  assert_string_equal(ENV("-i", "prog"), "prog, loses -i");
  assert_string_equal(ENV("-0i", "prog"), "prog, loses -i");
  assert_string_equal(ENV("-", "prog"), "prog, loses -");
  assert_string_equal(ENV("-u", "X", "prog"), "prog,");
  assert_string_equal(ENV("-uLD_PRELOAD", "prog"), "prog, loses -u LD_PRELOAD");
  assert_string_equal(ENV("--unset", "LD_PRELOAD", "prog"), "prog, loses -u LD_PRELOAD");
  assert_string_equal(ENV("LD_PRELOAD=/x.so", "prog"), "prog, loses LD_PRELOAD=/x.so");
  assert_string_equal(ENV("-i", "LD_PRELOAD=/x/libberth.so", "prog"), "prog,");
  assert_string_equal(ENV("-C", "/tmp", "./prog"), "./prog, in /tmp");
  assert_string_equal(ENV("--chdir=/tmp", "--", "prog"), "prog, in /tmp");
  assert_string_equal(ENV("--ignore-signal=PIPE", "-v", "prog"), "prog,");
  assert_string_equal(ENV("--no-such", "prog"), "prog, unknown --no-such");
  assert_string_equal(ENV("-u"), "");
  assert_string_equal(ENV("A=b"), "");
}

static void env_strings(void **state)
{
  (void)state;
  setenv("UNIT_REACH", "a b", 1);
  assert_string_equal(ENV("-S", "prog  -x\t'a b' \"c \\\" d\"", "last"),
                      "prog,-x,a b,c \" d,last,");
  assert_string_equal(ENV("-Sprog ${UNIT_REACH}c '${UNIT_REACH}' \\_"),
                      "prog,a bc,${UNIT_REACH}, ,");
  assert_string_equal(ENV("-S", "-i A=b prog"), "prog, loses -i");
  assert_string_equal(ENV("--split-string=prog '' x # y"), "prog,,x,");
  assert_string_equal(ENV("-S", "${UNIT_REACH"), "{UNIT_REACH,");
  assert_string_equal(ENV("-S", "unclosed 'x"), "unclosed,x,");
  assert_string_equal(ENV("-S", ""), "");
  assert_string_equal(ENV("-S", "\\"), "\\,");
}

static bool takes(const char *entry, const char *path, const char *head)
{
  return binfmt_entry_takes(entry, path, head, strlen(head));
}

static void formats(void **state)
{
  (void)state;
  static const char magic[] = "enabled\ninterpreter /bin/x\nflags: \noffset 2\nmagic 414243\n";
  assert_true(takes(magic, "f", "..ABCD"));
  assert_false(takes(magic, "f", "ABCD"));
  assert_false(takes(magic, "f", "..AB"));
  assert_false(takes(magic, "f", "."));
  static const char masked[] = "enabled\nflags: OC\noffset 0\nmagic 4142\nmask ffdf\n";
  assert_true(takes(masked, "f", "Ab"));
  assert_false(takes(masked, "f", "ab"));
  assert_false(takes("disabled\noffset 0\nmagic 41\n", "f", "A"));
  assert_false(takes("enabled\noffset 0\nmagic xy\n", "f", "A"));
  assert_false(takes("enabled\n", "f", "A"));
  assert_false(takes("", "f", "A"));
  static const char extension[] = "enabled\ninterpreter /bin/x\nextension .pyc\n";
  assert_true(takes(extension, "/a.b/c.pyc", ""));
  assert_false(takes(extension, "/a.pyc/c", ""));
  assert_false(takes(extension, "c.py", ""));
}

static void verdicts(void **state)
{
  (void)state;
  char text[64];
  struct verdict v = {0};
  verdict_text(&v, text, sizeof text);
  assert_string_equal(text, "");
  verdict_say(&v, NOT_REACHED, "a", "%s", "one");
  verdict_say(&v, UNKNOWN, "b", "two");
  assert_int_equal(v.answer, NOT_REACHED);
  verdict_text(&v, text, sizeof text);
  assert_string_equal(text, "one; two");
  verdict_text(&v, text, 6);
  assert_string_equal(text, "one; ");
  for (int i = 0; i < 2 * MOST_REASONS; i++)
    verdict_say(&v, REACHED, "c", "more");
  assert_int_equal(v.count, MOST_REASONS);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lines),       cmocka_unit_test(long_lines), cmocka_unit_test(envs),
      cmocka_unit_test(env_strings), cmocka_unit_test(formats),    cmocka_unit_test(verdicts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
