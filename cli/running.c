// SPDX-License-Identifier: MIT
#include "cli/running.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/proc.h"

#define LIBRARY "libberth.so"
#define DELETED " (deleted)"

FILE *running_open(pid_t pid, const char *name)
{
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
  return fopen(path, "re");
}

/* The file of a line of maps, if code is mapped from it; else NULL. */
static char *code_of(char *line)
{
  char permissions[5];
  int path = 0;
  line[strcspn(line, "\n")] = '\0';
  if (sscanf(line, "%*x-%*x %4s %*x %*x:%*x %*u %n", permissions, &path) != 1 || !path ||
      permissions[2] != 'x' || line[path] != '/')
    return NULL;
  return line + path;
}

static bool is_library(const char *path)
{
  size_t n = strlen(path), tail = sizeof DELETED - 1;
  if (n > tail && strcmp(path + n - tail, DELETED) == 0)
    n -= tail;
  return n >= sizeof LIBRARY && memcmp(path + n - sizeof LIBRARY, "/" LIBRARY, sizeof LIBRARY) == 0;
}

/* After the program and its dynamic linker come the libraries of LD_PRELOAD, and only then those that
 * it needs. */
int running_library(pid_t pid, char path[PATH_MAX], int *others)
{
  char *line = NULL, last[PATH_MAX] = "";
  size_t size = 0;
  FILE *f = running_open(pid, "maps");
  if (!f)
    return errno;
  path[0] = '\0';
  *others = 0;
  errno = 0;
  while (!path[0] && getline(&line, &size, f) > 0) {
    const char *file = code_of(line);
    if (!file || strcmp(file, last) == 0)
      continue;
    snprintf(last, sizeof last, "%s", file);
    if (is_library(file))
      snprintf(path, PATH_MAX, "%s", file);
    else
      ++*others;
  }
  int error = ferror(f) ? errno : 0;
  free(line);
  fclose(f);
  return error;
}

static bool is_secure(pid_t pid, int elf_class)
{
  uint64_t wide[2] = {0};
  uint32_t narrow[2];
  bool secure = false;
  FILE *f = running_open(pid, "auxv");
  while (f && !secure &&
         (elf_class == ELFCLASS32 ? fread(narrow, sizeof narrow, 1, f)
                                  : fread(wide, sizeof wide, 1, f)) == 1) {
    if (elf_class == ELFCLASS32) {
      wide[0] = narrow[0];
      wide[1] = narrow[1];
    }
    secure = wide[0] == AT_SECURE && wide[1];
  }
  if (f)
    fclose(f);
  return secure;
}

/* Whether LD_PRELOAD names the library in the environment that it was started with. */
static bool was_asked(pid_t pid)
{
  char *entry = NULL;
  size_t size = 0;
  bool asked = false;
  FILE *f = running_open(pid, "environ");
  if (!f)
    return true;
  while (!asked && getdelim(&entry, &size, '\0', f) > 0)
    asked = strncmp(entry, "LD_PRELOAD=", 11) == 0 && strstr(entry, LIBRARY);
  free(entry);
  fclose(f);
  return asked;
}

/* Neither a zombie nor a kernel thread shows an environment; nor, for a moment, does a process within
 * execve(2). */
static bool has_entry(pid_t pid, const char *entry, bool *is_empty)
{
  char *other = NULL;
  size_t size = 0;
  bool found = false;
  FILE *f = running_open(pid, "environ");
  *is_empty = f != NULL;
  while (f && !found && getdelim(&other, &size, '\0', f) > 0) {
    found = strcmp(other, entry) == 0;
    *is_empty = false;
  }
  free(other);
  if (f)
    fclose(f);
  return found;
}

static bool executes_a_file(pid_t pid)
{
  char path[64], target[8];
  snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
  return readlink(path, target, sizeof target) > 0;
}

/* One walk over /proc. `any_empty`: a process showed no environment, as within execve(2). */
static bool find_with(const char *entry, bool *any_empty)
{
  struct dirent *d;
  bool found = false, is_empty;
  DIR *proc = opendir("/proc");
  *any_empty = false;
  while (proc && !found && (d = readdir(proc))) {
    pid_t pid = atoi(d->d_name);
    found = pid > 0 && has_entry(pid, entry, &is_empty);
    *any_empty |= pid > 0 && !found && is_empty && executes_a_file(pid);
  }
  if (proc)
    closedir(proc);
  return found;
}

bool running_any_with(const char *name, const char *value)
{
  const struct timespec moment = {.tv_nsec = 2000000};
  char entry[PATH_MAX + 32];
  snprintf(entry, sizeof entry, "%s=%s", name, value);
  bool any_empty, found = find_with(entry, &any_empty);
  for (int again = 0; again < 2 && !found && any_empty; again++) {
    nanosleep(&moment, NULL);
    found = find_with(entry, &any_empty);
  }
  return found;
}

static void judge_closed(pid_t pid, struct verdict *v)
{
  struct stat s;
  char path[64];
  snprintf(path, sizeof path, "/proc/%d", (int)pid);
  if (geteuid() != 0 && stat(path, &s) == 0 && s.st_uid != geteuid())
    verdict_say(v, UNKNOWN, "user", "it runs as user %u, and may not be looked into",
                (unsigned)s.st_uid);
  else
    verdict_say(v, UNKNOWN, "unreadable", "it may not be looked into");
}

/* Why it is not mapped. */
static void judge_unmapped(pid_t pid, const struct executable *e, const char *preload, int others,
                           struct running *r)
{
  char library[PATH_MAX];
  struct verdict *v = &r->judgement.verdict;
  judge_program(e, preload, v, library);
  if (e->interpreter[0] && is_secure(pid, e->elf_class))
    verdict_say(v, NOT_REACHED, "secure",
                "it was started setuid, setgid or with capabilities (AT_SECURE)");
  if (v->answer == NOT_REACHED)
    return;
  if (!was_asked(pid)) {
    verdict_say(v, NOT_REACHED, "environment",
                "it was started with an environment whose LD_PRELOAD has no " LIBRARY);
    return;
  }
  r->begins = others <= 2;
  if (!r->begins && v->answer == REACHED)
    verdict_say(v, NOT_REACHED, "load",
                "its dynamic linker could not load " LIBRARY ", which it says on its stderr");
  else if (v->answer == REACHED)
    verdict_say(v, UNKNOWN, "begins", "its dynamic linker has not come to LD_PRELOAD yet");
}

static void judge_readable(pid_t pid, const char *preload, int others, struct running *r)
{
  static struct executable e;
  struct judgement *j = &r->judgement;
  char path[64], target[PATH_MAX];
  snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
  ssize_t n = readlink(path, target, sizeof target - 1);
  if (n > 0)
    words_add(&j->files, target, (size_t)n);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  const char *problem = fd >= 0 ? executable_read(fd, &e) : strerror(errno);
  if (fd >= 0)
    close(fd);
  if (problem && !j->library[0])
    verdict_say(&j->verdict, UNKNOWN, "unreadable", "what it executes cannot be read: %s", problem);
  else if (!problem && j->library[0])
    judge_go(&e, &j->verdict);
  else if (!problem)
    judge_unmapped(pid, &e, preload, others, r);
}

bool running_judge(pid_t pid, const char *preload, struct running *r)
{
  int others = 0;
  *r = (struct running){0};
  pid = proc_thread(pid);
  if (!pid)
    return false;
  int error = running_library(pid, r->judgement.library, &others);
  if (error == ENOENT || error == ESRCH)
    return false;
  if (error)
    judge_closed(pid, &r->judgement.verdict);
  else if (!others && !r->judgement.library[0])
    return false; /* nothing is mapped: a kernel thread, or one that just ends */
  else
    judge_readable(pid, preload, others, r);
  return true;
}
