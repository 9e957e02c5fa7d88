// SPDX-License-Identifier: MIT
#include "cli/executable.h"

#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_SEGMENTS 1170   /* execve(2) takes 64 KiB of them */
#define MOST_BYTES (1 << 20) /* of one segment or section that is read whole */
#define NOTE_GO_BUILDID 4
#define UNSOUND "it is no sound ELF file"

struct elf_file {
  Elf *elf;
  int fd;
  size_t segments;
  struct executable *e;
};

static bool read_at(int fd, uint64_t offset, void *to, size_t size)
{
  return offset <= INT64_MAX && pread(fd, to, size, (off_t)offset) == (ssize_t)size;
}

/* A string of the file; one that does not end within `size` is cut. */
static void read_string(int fd, uint64_t offset, char *to, size_t size)
{
  ssize_t n = offset <= INT64_MAX ? pread(fd, to, size - 1, (off_t)offset) : 0;
  to[n > 0 ? n : 0] = '\0';
}

static bool find_segment(const struct elf_file *f, uint32_t type, size_t *from, GElf_Phdr *found)
{
  for (; *from < f->segments; ++*from)
    if (gelf_getphdr(f->elf, (int)*from, found) && found->p_type == type) {
      ++*from;
      return true;
    }
  return false;
}

/* The kernel's rules, of load_elf_binary(): the first one, with its NUL. */
static bool read_interpreter(const struct elf_file *f)
{
  GElf_Phdr p;
  size_t from = 0;
  if (!find_segment(f, PT_INTERP, &from, &p))
    return true;
  if (p.p_filesz < 2 || p.p_filesz > PATH_MAX ||
      !read_at(f->fd, p.p_offset, f->e->interpreter, p.p_filesz))
    return false;
  return f->e->interpreter[p.p_filesz - 1] == '\0' && f->e->interpreter[0];
}

/* Where the file has what will be at `address`; 0 where it has not. */
static uint64_t offset_of(const struct elf_file *f, uint64_t address)
{
  GElf_Phdr p;
  for (size_t from = 0; find_segment(f, PT_LOAD, &from, &p);)
    if (address >= p.p_vaddr && address - p.p_vaddr < p.p_filesz)
      return p.p_offset + (address - p.p_vaddr);
  return 0;
}

static bool begins(const char *text, const char *with)
{
  return strncmp(text, with, strlen(with)) == 0;
}

/* Names that musl, too, takes for itself (ldso/dynlink.c: reserved). */
static bool is_of_libc(const char *name)
{
  static const char *const own[] = {"libc.", "libpthread.", "librt.",
                                    "libm.", "libdl.",      "libutil."};
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (begins(name, own[i]))
      return true;
  return false;
}

static void take_needed(struct executable *e, const char *name)
{
  if (begins(name, "libasan.") || begins(name, "libclang_rt.asan"))
    e->asan = true;
  if (begins(name, "libc."))
    snprintf(e->libc, sizeof e->libc, "%.60s", name);
  else if (!is_of_libc(name) && !e->foreign[0])
    snprintf(e->foreign, sizeof e->foreign, "%.60s", name);
}

static uint64_t dynamic_value(Elf_Data *data, size_t count, int64_t tag)
{
  GElf_Dyn d;
  for (size_t i = 0; i < count && gelf_getdyn(data, (int)i, &d) && d.d_tag != DT_NULL; i++)
    if (d.d_tag == tag)
      return d.d_un.d_val;
  return 0;
}

static bool read_dynamic(const struct elf_file *f)
{
  GElf_Phdr p;
  GElf_Dyn d;
  char name[64];
  size_t from = 0;
  if (!find_segment(f, PT_DYNAMIC, &from, &p) || !p.p_filesz)
    return true;
  if (p.p_filesz > MOST_BYTES)
    return false;
  Elf_Data *data = elf_getdata_rawchunk(f->elf, (int64_t)p.p_offset, p.p_filesz, ELF_T_DYN);
  if (!data)
    return false;
  size_t count = p.p_filesz / gelf_fsize(f->elf, ELF_T_DYN, 1, EV_CURRENT);
  uint64_t strings = offset_of(f, dynamic_value(data, count, DT_STRTAB));
  for (size_t i = 0; i < count && gelf_getdyn(data, (int)i, &d) && d.d_tag != DT_NULL; i++) {
    if (d.d_tag != DT_NEEDED && d.d_tag != DT_SONAME)
      continue;
    read_string(f->fd, strings + d.d_un.d_val, name, sizeof name);
    if (d.d_tag == DT_NEEDED)
      take_needed(f->e, name);
    else
      memcpy(f->e->soname, name, sizeof name);
  }
  return true;
}

/* The linker of Go names each program by a note. */
static bool has_go_note(const struct elf_file *f)
{
  GElf_Phdr p;
  GElf_Nhdr note;
  for (size_t from = 0; find_segment(f, PT_NOTE, &from, &p);) {
    size_t name, content;
    Elf_Data *data = p.p_filesz <= MOST_BYTES
                         ? elf_getdata_rawchunk(f->elf, (int64_t)p.p_offset, p.p_filesz, ELF_T_NHDR)
                         : NULL;
    for (size_t at = 0; data && (at = gelf_getnote(data, at, &note, &name, &content)) > 0;)
      if (note.n_type == NOTE_GO_BUILDID && note.n_namesz == 4 &&
          memcmp((char *)data->d_buf + name, "Go", 3) == 0)
        return true;
  }
  return false;
}

/* What `go version -m` reads. It is there where a strip(1) took the note, and says how it was
 * built: only c-archive is of a program whose main() is another's. */
static void read_go_build(const struct elf_file *f)
{
  static const char archive[] = "-buildmode=c-archive";
  GElf_Shdr header;
  size_t names;
  if (elf_getshdrstrndx(f->elf, &names))
    return;
  for (Elf_Scn *s = NULL; (s = elf_nextscn(f->elf, s));) {
    const char *name = gelf_getshdr(s, &header) ? elf_strptr(f->elf, names, header.sh_name) : NULL;
    if (!name || strcmp(name, ".go.buildinfo") != 0)
      continue;
    f->e->go = true;
    Elf_Data *data = header.sh_size <= MOST_BYTES ? elf_rawdata(s, NULL) : NULL;
    if (data && data->d_buf && memmem(data->d_buf, data->d_size, archive, sizeof archive - 1))
      f->e->go_archive = true;
  }
}

static const char *read_elf(struct elf_file *f)
{
  GElf_Ehdr header;
  if (elf_kind(f->elf) != ELF_K_ELF || !gelf_getehdr(f->elf, &header) ||
      elf_getphdrnum(f->elf, &f->segments) || f->segments > MOST_SEGMENTS)
    return UNSOUND;
  f->e->elf_class = header.e_ident[EI_CLASS];
  f->e->machine = header.e_machine;
  if (!read_interpreter(f) || !read_dynamic(f))
    return UNSOUND;
  f->e->go = has_go_note(f);
  read_go_build(f);
  return NULL;
}

const char *executable_read(int fd, struct executable *e)
{
  memset(e, 0, sizeof *e);
  ssize_t n = pread(fd, e->head, EXECUTABLE_HEAD, 0);
  if (n < 0)
    return "it cannot be read";
  e->head_size = (size_t)n;
  if (n >= 2 && memcmp(e->head, "#!", 2) == 0)
    e->format = EXECUTABLE_SCRIPT;
  if (n < SELFMAG || memcmp(e->head, ELFMAG, SELFMAG) != 0)
    return NULL;
  e->format = EXECUTABLE_ELF;
  elf_version(EV_CURRENT);
  /* Not by mmap(2): the file may shrink meanwhile. */
  struct elf_file f = {.elf = elf_begin(fd, ELF_C_READ, NULL), .fd = fd, .e = e};
  const char *problem = f.elf ? read_elf(&f) : UNSOUND;
  elf_end(f.elf);
  return problem;
}

/* --- symbols ----------------------------------------------------------------------------- */

struct symbols {
  Elf *elf;
  Elf_Data *data;
  size_t count, strings;
};

static bool open_symbols(int fd, struct symbols *s)
{
  GElf_Shdr header;
  elf_version(EV_CURRENT);
  *s = (struct symbols){.elf = elf_begin(fd, ELF_C_READ, NULL)};
  for (Elf_Scn *scn = NULL; s->elf && (scn = elf_nextscn(s->elf, scn));)
    if (gelf_getshdr(scn, &header) && header.sh_type == SHT_DYNSYM && header.sh_entsize) {
      s->data = elf_getdata(scn, NULL);
      s->count = header.sh_size / header.sh_entsize;
      s->strings = header.sh_link;
    }
  return s->data != NULL;
}

static const char *symbol_name(const struct symbols *s, size_t i, bool defined)
{
  GElf_Sym symbol;
  if (!gelf_getsym(s->data, (int)i, &symbol) || (symbol.st_shndx != SHN_UNDEF) != defined ||
      (!defined && GELF_ST_BIND(symbol.st_info) != STB_GLOBAL))
    return NULL;
  return elf_strptr(s->elf, s->strings, symbol.st_name);
}

static bool defines(const struct symbols *s, const char *name)
{
  for (size_t i = 0; i < s->count; i++) {
    const char *own = symbol_name(s, i, true);
    if (own && strcmp(own, name) == 0)
      return true;
  }
  return false;
}

char *executable_lacks(int needs, int has)
{
  struct symbols importer, exporter;
  char *lacking = NULL;
  bool both = open_symbols(needs, &importer);
  both &= open_symbols(has, &exporter);
  for (size_t i = 1; both && !lacking && i < importer.count; i++) {
    const char *name = symbol_name(&importer, i, false);
    if (name && !defines(&exporter, name))
      lacking = strdup(name);
  }
  elf_end(importer.elf);
  elf_end(exporter.elf);
  return lacking;
}

const char *executable_abi(const struct executable *e, char text[32])
{
  static const struct {
    int machine, elf_class;
    const char *name;
  } abis[] = {{EM_X86_64, ELFCLASS64, "x86-64"}, {EM_386, ELFCLASS32, "i386"},
              {EM_X86_64, ELFCLASS32, "x32"},    {EM_AARCH64, ELFCLASS64, "aarch64"},
              {EM_ARM, ELFCLASS32, "arm"},       {EM_PPC64, ELFCLASS64, "ppc64"},
              {EM_S390, ELFCLASS64, "s390x"},    {EM_RISCV, ELFCLASS64, "riscv64"}};
  for (size_t i = 0; i < sizeof abis / sizeof *abis; i++)
    if (abis[i].machine == e->machine && abis[i].elf_class == e->elf_class)
      return abis[i].name;
  snprintf(text, 32, "%d-bit ELF machine %d", e->elf_class == ELFCLASS64 ? 64 : 32, e->machine);
  return text;
}
