// SPDX-License-Identifier: MIT
#include "preload/loader.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdint.h>
#include <string.h>

#include "preload/real.h"

#define LIBRARY "berth-policy.so"

/* dlopen() and dlclose() moved to libc in glibc 2.34, under a version that older ones lack: so they
 * are looked up, like all that libberth.so stands in front of. */
static struct {
  void *(*open)(const char *, int);
  int (*close)(void *);
  void *handle;
  void *(*load)(const char *, size_t, size_t *, char *, size_t);
  void (*free_image)(void *);
} library;

struct search {
  uintptr_t address;
  char path[PATH_MAX];
};

static size_t folder_length(const char *path)
{
  size_t length = 0;
  for (size_t i = 0; path[i]; i++)
    if (path[i] == '/')
      length = i + 1;
  return length;
}

/* The object that holds the address: its folder, and the library's name. Without a folder dlopen()
 * would search for it. */
static int in_object(struct dl_phdr_info *object, size_t size, void *context)
{
  struct search *search = context;
  (void)size;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
    uintptr_t start = object->dlpi_addr + segment->p_vaddr;
    size_t length = folder_length(object->dlpi_name);
    if (segment->p_type == PT_LOAD && search->address - start < segment->p_memsz && length &&
        length + sizeof LIBRARY <= sizeof search->path) {
      memcpy(search->path, object->dlpi_name, length);
      memcpy(search->path + length, LIBRARY, sizeof LIBRARY);
      return 1;
    }
  }
  return 0;
}

static void find(void *handle, const char *name, void *function)
{
  void *found = real_symbol(handle, name);
  memcpy(function, &found, sizeof found);
}

/* Sanitizers that end a program which opens a library with RTLD_DEEPBIND
 * (CheckNoDeepBind() in compiler-rt and libsanitizer). */
static bool is_sanitized(void)
{
  return real_symbol(RTLD_DEFAULT, "__asan_init") || real_symbol(RTLD_DEFAULT, "__tsan_init") ||
         real_symbol(RTLD_DEFAULT, "__hwasan_init");
}

/* MSan takes what a library writes that was not built with it for uninitialised, and ends the
 * program where it is read: jansson is one. */
static bool bears_no_library(void)
{
  return real_symbol(RTLD_DEFAULT, "__msan_init");
}

/* Its symbols before the program's: jansson's own json_object_get, not json-c's. */
static int scope(void)
{
  return RTLD_NOW | RTLD_LOCAL | (is_sanitized() ? 0 : RTLD_DEEPBIND);
}

static bool open_library(void)
{
  static struct search search;
  if (bears_no_library())
    return false;
  search.address = (uintptr_t)open_library;
  find(RTLD_DEFAULT, "dlopen", &library.open);
  find(RTLD_DEFAULT, "dlclose", &library.close);
  if (!library.open || !library.close || !dl_iterate_phdr(in_object, &search))
    return false;
  library.handle = library.open(search.path, scope());
  if (!library.handle)
    return false;
  find(library.handle, "berth_policy_load", &library.load);
  find(library.handle, "berth_policy_free", &library.free_image);
  return library.load && library.free_image;
}

static void say(char *to, size_t size, const char *what)
{
  size_t n = 0;
  for (; what[n] && n + 1 < size; n++)
    to[n] = what[n];
  to[n] = '\0';
}

static void *load(const char *json, size_t size, size_t *image_size, char *problem,
                  size_t problem_size)
{
  if (!library.handle && !open_library()) {
    say(problem, problem_size, "it is JSON, and " LIBRARY " cannot be loaded: use an image");
    return NULL;
  }
  void *image = library.load(json, size, image_size, problem, problem_size);
  if (!image)
    library.close(library.handle);
  return image;
}

static void free_image(void *image)
{
  library.free_image(image);
  library.close(library.handle);
}

const struct rules_loader loader = {load, free_image};
