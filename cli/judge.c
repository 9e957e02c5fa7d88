// SPDX-License-Identifier: MIT
#include "cli/judge.h"

#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/preload.h"

static bool begins(const char *text, const char *with)
{
  return strncmp(text, with, strlen(with)) == 0;
}

/* Opens a file to read what it is. */
static int open_file(const char *path)
{
  return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

/* The libberth.so of the program's own ABI. */
static bool find_library(const struct executable *program, const char *preload, char path[PATH_MAX],
                         struct executable *library)
{
  for (size_t at = 0; preload_next(preload, &at, path);) {
    int fd = open_file(path);
    bool read = fd >= 0 && !executable_read(fd, library);
    if (fd >= 0)
      close(fd);
    if (read && library->elf_class == program->elf_class && library->machine == program->machine)
      return true;
  }
  path[0] = '\0';
  return false;
}

/* musl takes the names of glibc's libraries for itself, and gives a library that was built for
 * glibc what it has: enough, where it defines all that the library imports. */
static void judge_musl(const struct executable *e, const char *path,
                       const struct executable *library, struct verdict *v)
{
  int needs = open_file(path), has = open_file(e->interpreter);
  char *lacking = needs >= 0 && has >= 0 ? executable_lacks(needs, has) : NULL;
  if (needs < 0 || has < 0)
    verdict_say(v, UNKNOWN, "libc", "its C library, %s, cannot be read", e->interpreter);
  else if (library->foreign[0])
    verdict_say(v, NOT_REACHED, "libc",
                "its C library is musl, and libberth.so was built for another: it needs %s",
                library->foreign);
  else if (lacking)
    verdict_say(v, NOT_REACHED, "libc",
                "its C library is musl, and libberth.so was built for another: it needs %s",
                lacking);
  free(lacking);
  if (needs >= 0)
    close(needs);
  if (has >= 0)
    close(has);
}

static void judge_libc(const struct executable *e, const char *path,
                       const struct executable *library, struct verdict *v)
{
  const char *linker = basename(e->interpreter);
  bool glibc_library = strcmp(library->libc, "libc.so.6") == 0;
  bool glibc = begins(linker, "ld-linux") || begins(linker, "ld64.so") ||
               strcmp(linker, "ld.so.1") == 0 || strcmp(e->libc, "libc.so.6") == 0;
  if (begins(linker, "ld-musl"))
    judge_musl(e, path, library, v);
  else if (glibc && !glibc_library)
    verdict_say(v, NOT_REACHED, "libc",
                "its C library is glibc, and libberth.so was built for another: it needs %s",
                library->libc);
  else if (!glibc)
    verdict_say(v, UNKNOWN, "libc", "its dynamic linker, %s, is of no C library known here",
                e->interpreter);
}

void judge_go(const struct executable *e, struct verdict *v)
{
  if (e->go_archive)
    verdict_say(v, REACHED, "go", "the Go code in it makes raw system calls, which are not seen");
  else if (e->go)
    verdict_say(v, NOT_REACHED, "go",
                "it is a Go program, which makes raw system calls, with cgo or without");
}

static bool is_loader(const struct executable *e)
{
  return begins(e->soname, "ld-linux") || begins(e->soname, "ld64.so") ||
         strcmp(e->soname, "ld.so.1") == 0 || begins(e->soname, "libc.musl") ||
         strcmp(e->soname, "libc.so") == 0;
}

void judge_program(const struct executable *e, const char *preload, struct verdict *v,
                   char path[PATH_MAX])
{
  struct executable library;
  char text[32];
  path[0] = '\0';
  if (!e->interpreter[0] && is_loader(e)) {
    verdict_say(v, UNKNOWN, "loader",
                "it is a dynamic linker: the program that it is to load was not looked at");
    return;
  }
  if (!e->interpreter[0])
    verdict_say(v, NOT_REACHED, "static",
                "it is statically linked: no dynamic linker is there to preload anything");
  judge_go(e, v);
  if (!e->interpreter[0])
    return;
  if (find_library(e, preload, path, &library))
    judge_libc(e, path, &library, v);
  else
    verdict_say(v, NOT_REACHED, "abi",
                "it is of another ABI, %s, for which there is no libberth.so",
                executable_abi(e, text));
}

void judge_free(struct judgement *j)
{
  words_free(&j->files);
}
