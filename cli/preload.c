// SPDX-License-Identifier: MIT
#include "cli/preload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

#define LIBRARY "libberth.so"

static bool exists(const char *path)
{
  return access(path, R_OK) == 0;
}

/* Beside the program, where libtool builds it. */
static bool uninstalled(char path[PATH_MAX])
{
  char self[PATH_MAX - 32];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  if (n <= 0)
    return false;
  self[n] = '\0';
  *strrchr(self, '/') = '\0';
  snprintf(path, PATH_MAX, "%s/.libs/" LIBRARY, self);
  return exists(path);
}

/* What ld.so may put in $LIB's place, by distribution and ABI. */
static const char *const libs[] = {"lib",
                                   "lib64",
                                   "lib32",
                                   "libx32",
                                   "lib/x86_64-linux-gnu",
                                   "lib/i386-linux-gnu",
                                   "lib/x86_64-linux-gnux32",
                                   "lib/aarch64-linux-gnu",
                                   "lib/arm-linux-gnueabihf",
                                   "lib/powerpc64le-linux-gnu",
                                   "lib/s390x-linux-gnu",
                                   "lib/riscv64-linux-gnu"};
#define LIBS (sizeof libs / sizeof *libs)

static int installed_abis(const char *prefix, int length)
{
  char path[PATH_MAX];
  int count = 0;
  for (size_t i = 0; i < LIBS; i++) {
    snprintf(path, sizeof path, "%.*s/%s/berth/" LIBRARY, length, prefix, libs[i]);
    count += exists(path);
  }
  return count;
}

/* PKGLIBDIR is PREFIX/LIB/berth: with several LIBs there, ld.so is to choose. */
static void installed(char path[PATH_MAX])
{
  snprintf(path, PATH_MAX, "%s/" LIBRARY, PKGLIBDIR);
  for (size_t i = 0; i < LIBS; i++) {
    char tail[64];
    int n = snprintf(tail, sizeof tail, "/%s/berth", libs[i]);
    int prefix = (int)strlen(PKGLIBDIR) - n;
    if (prefix < 0 || strcmp(&PKGLIBDIR[prefix], tail) != 0)
      continue;
    if (installed_abis(PKGLIBDIR, prefix) > 1)
      snprintf(path, PATH_MAX, "%.*s/$LIB/berth/" LIBRARY, prefix, PKGLIBDIR);
  }
}

bool preload_next(const char *library, size_t *at, char path[PATH_MAX])
{
  const char *lib = strstr(library, "$LIB/");
  for (; *at < (lib ? LIBS : 1); ++*at) {
    if (lib)
      snprintf(path, PATH_MAX, "%.*s%s%s", (int)(lib - library), library, libs[*at], lib + 4);
    else
      snprintf(path, PATH_MAX, "%s", library);
    if (exists(path)) {
      ++*at;
      return true;
    }
  }
  return false;
}

bool preload_library(const char *where, char path[PATH_MAX])
{
  if (!uninstalled(path)) {
    installed(path);
    if (!strstr(path, "$LIB") && !exists(path)) {
      complain(where, "%s: there is no " LIBRARY " here", path);
      return false;
    }
  }
  if (strpbrk(path, " :")) {
    complain(where, "%s: LD_PRELOAD cannot name a path with a space or a colon", path);
    return false;
  }
  return true;
}

static bool is_sanitizer(const char *entry, size_t length)
{
  static const char *const names[] = {"libasan.", "libtsan.", "libubsan.", "liblsan.",
                                      "libclang_rt."};
  const char *base = entry;
  for (size_t i = 0; i < length; i++)
    if (entry[i] == '/')
      base = entry + i + 1;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strncmp(base, names[i], strlen(names[i])) == 0)
      return true;
  return false;
}

static void append(char *value, const char *entry, size_t length)
{
  size_t n = strlen(value);
  if (n)
    value[n++] = ':';
  memcpy(value + n, entry, length);
  value[n + length] = '\0';
}

/* The entries of one kind, sanitizers or the others, but for the library itself. */
static void append_kind(char *value, const char *existing, const char *library, bool sanitizers)
{
  const char *separators = " :";
  for (const char *at = existing; *at;) {
    size_t length = strcspn(at, separators);
    bool same = length == strlen(library) && strncmp(at, library, length) == 0;
    if (length && !same && is_sanitizer(at, length) == sanitizers)
      append(value, at, length);
    at += length;
    at += strspn(at, separators);
  }
}

char *preload_value(const char *existing, const char *library)
{
  if (!existing)
    existing = "";
  char *value = calloc(1, strlen(existing) + strlen(library) + 3);
  if (!value)
    abort();
  append_kind(value, existing, library, true);
  append(value, library, strlen(library));
  append_kind(value, existing, library, false);
  return value;
}

char *preload_asan_options(const char *existing)
{
  static const char name[] = "verify_asan_link_order";
  char *value = NULL;
  if (!existing || !existing[0])
    value = strdup(PRELOAD_ASAN);
  else if (strstr(existing, name))
    value = strdup(existing);
  else if (asprintf(&value, "%s:" PRELOAD_ASAN, existing) < 0)
    value = NULL;
  if (!value)
    abort();
  return value;
}
