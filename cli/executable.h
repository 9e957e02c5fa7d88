/* SPDX-License-Identifier: MIT
 *
 * What kind of program a file is, by its own bytes. Nothing in a file is believed: one that is
 * truncated, huge or hostile is a problem that is told.
 */
#ifndef BERTH_CLI_EXECUTABLE_H
#define BERTH_CLI_EXECUTABLE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum executable_format {
  EXECUTABLE_OTHER, /* execve(2) knows no such format: execvp(3) hands it to /bin/sh */
  EXECUTABLE_SCRIPT,
  EXECUTABLE_ELF,
};

#define EXECUTABLE_HEAD 256 /* what the kernel looks at to tell a format */

struct executable {
  enum executable_format format;
  size_t head_size;
  char head[EXECUTABLE_HEAD + 1]; /* the first bytes */

  /* Of ELF only: */
  int elf_class, machine;     /* ELFCLASS*, EM_* */
  char interpreter[PATH_MAX]; /* PT_INTERP; "" for none */
  char soname[64], libc[64];  /* DT_SONAME; the libc.* among DT_NEEDED, "" for none */
  char foreign[64];           /* another of DT_NEEDED, that no libc brings itself; "" for none */
  bool asan;                  /* a libasan, or clang's, is among DT_NEEDED */
  bool go, go_archive;        /* holds Go; as a part of a program in another language */
};

/* Reads it. Returns NULL, or what is wrong with the file: a text that lives on. */
const char *executable_read(int fd, struct executable *e);

/* Of the symbols that the shared object `needs` imports, one that `has` does not define: its
 * name, to be freed, or NULL. */
char *executable_lacks(int needs, int has);

/* "x86-64", "i386": for people. `text` takes one that has no name. */
const char *executable_abi(const struct executable *e, char text[32]);

#endif
