/* SPDX-License-Identifier: MIT
 *
 * A script's first line: how the command line begins that executing the script makes. Pure;
 * signal-safe.
 *
 * The kernel puts the interpreter and one argument in front of the script's path (load_script() in
 * fs/binfmt_script.c). Where the interpreter is env(1), that executes another program, so that the
 * kernel knows the script no more: what is left of it is the command line.
 */
#ifndef BERTH_POLICY_SCRIPT_H
#define BERTH_POLICY_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#define POLICY_SCRIPT_LINE 256 /* bytes that the kernel reads (BINPRM_BUF_SIZE) */
#define POLICY_SCRIPT_WORDS 8

/* Not ended by NUL. */
struct policy_script_word {
  const char *at;
  size_t length;
};

/* The words of the file that begins with these bytes, the path of the interpreter or the name of
 * env's program first; returns how many. 0 where it is no script, or they are more, or it takes env(1)
 * to tell (its options but -S alone; quotes, backslashes and variables). */
size_t policy_script_words(const char *file, size_t size,
                           struct policy_script_word words[POLICY_SCRIPT_WORDS]);

#endif
