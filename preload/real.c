// SPDX-License-Identifier: MIT
#include "preload/real.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* dlsym() moved from libdl to libc in glibc 2.34. The old version's name binds to either; weak,
 * so that a program of an older glibc that does not load libdl still starts. */
#if defined __x86_64__ && !defined __ILP32__
__asm__(".symver dlsym, dlsym@GLIBC_2.2.5");
#elif defined __i386__
__asm__(".symver dlsym, dlsym@GLIBC_2.0");
#elif defined __aarch64__
__asm__(".symver dlsym, dlsym@GLIBC_2.17");
#elif defined __arm__
__asm__(".symver dlsym, dlsym@GLIBC_2.4");
#endif
#pragma weak dlsym

/* --- without dlsym: libc's own symbol table -------------------------------------------------- */

struct wanted {
  const char *name;
  void *found;
};

struct tables {
  const ElfW(Sym) * symbols;
  const char *strings;
  const ElfW(Half) * versions;
  const uint32_t *hash; /* DT_HASH: its second word counts the symbols */
};

static struct tables tables_of(const ElfW(Dyn) * dynamic)
{
  struct tables t = {0};
  for (; dynamic->d_tag != DT_NULL; dynamic++) {
    const void *at = (const void *)dynamic->d_un.d_ptr;
    switch (dynamic->d_tag) {
    case DT_SYMTAB: t.symbols = at; break;
    case DT_STRTAB: t.strings = at; break;
    case DT_VERSYM: t.versions = at; break;
    case DT_HASH: t.hash = at; break;
    default: break;
    }
  }
  return t;
}

/* Whether a string begins with another, and goes on with `next`. */
static bool begins(const char *s, const char *beginning, char next)
{
  while (*beginning && *s == *beginning) {
    s++;
    beginning++;
  }
  return !*beginning && *s == next;
}

static bool names_libc(const char *path)
{
  for (; *path; path++)
    if (begins(path, "/libc.so", '.') || begins(path, "/libc-2", '.'))
      return true;
  return false;
}

static void *default_symbol(const struct tables *t, ElfW(Addr) base, const char *name)
{
  const ElfW(Half) hidden = 0x8000; /* a version that is not the default one */
  if (!t->symbols || !t->strings || !t->hash)
    return NULL;
  for (uint32_t i = 0; i < t->hash[1]; i++) {
    const ElfW(Sym) *s = &t->symbols[i];
    if (s->st_shndx != SHN_UNDEF && begins(t->strings + s->st_name, name, '\0') &&
        !(t->versions && t->versions[i] & hidden))
      return (void *)(base + s->st_value);
  }
  return NULL;
}

static int in_libc(struct dl_phdr_info *object, size_t size, void *context)
{
  struct wanted *wanted = context;
  (void)size;
  if (!names_libc(object->dlpi_name))
    return 0;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    if (object->dlpi_phdr[i].p_type != PT_DYNAMIC)
      continue;
    struct tables t = tables_of((const void *)(object->dlpi_addr + object->dlpi_phdr[i].p_vaddr));
    wanted->found = default_symbol(&t, object->dlpi_addr, wanted->name);
  }
  return 1;
}

void *real_symbol(void *handle, const char *name)
{
  return dlsym ? dlsym(handle, name) : NULL;
}

static void *find(const char *name)
{
  struct wanted wanted = {.name = name};
  if (dlsym)
    return dlsym(RTLD_NEXT, name);
  dl_iterate_phdr(in_libc, &wanted);
  return wanted.found;
}

/* --- the table ------------------------------------------------------------------------------- */

static struct real functions;
const struct real *_Atomic real_found;

static void find_all(void)
{
#define FIND(type, name, parameters)                                                               \
  {                                                                                                \
    void *f = find(#name);                                                                         \
    memcpy(&functions.name, &f, sizeof f);                                                         \
  }
  REAL_FUNCTIONS(FIND)
#undef FIND
  atomic_store_explicit(&real_found, &functions, memory_order_release);
}

const struct real *real(void)
{
  if (!atomic_load_explicit(&real_found, memory_order_acquire)) {
    int error = errno;
    find_all();
    errno = error;
  }
  return &functions;
}
