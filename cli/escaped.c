// SPDX-License-Identifier: MIT
#include "cli/escaped.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/proc.h"
#include "cli/running.h"

#define MOST_PIDS (1 << 22) /* PID_MAX_LIMIT */
#define MOST_FOUND 64
#define MOST_THREADS 1024 /* of one process, looked at for children */
#define SLICE_NS 4000000  /* one look: a line is to be shown within 50 ms of its event */
#define LAST_SLICE_NS 50000000
#define SHARE 50     /* looks take one part of so many of the time */
#define PATIENCE 250 /* looks at a process whose dynamic linker does not get on */

struct seen_process {
  pid_t pid;
  uint64_t start, image; /* as stat has them: two programs that one process executes differ */
  unsigned looks;        /* at this image, while it cannot be told */
  bool settled;
};

struct escapee {
  const char *kind; /* what it is said to be */
  char name[64], text[HANDED_TEXT], file[PATH_MAX];
  pid_t first, last;
  unsigned long count;
};

static uint64_t now(clockid_t clock)
{
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static size_t read_text(const char *path, char *text, size_t size)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;
  if (fd >= 0)
    close(fd);
  text[n > 0 ? n : 0] = '\0';
  return n > 0 ? (size_t)n : 0;
}

/* --- who lives ----------------------------------------------------------------------------- */

static bool is_known(const struct escaped *e, pid_t pid)
{
  return e->known[pid / 64] >> (pid % 64) & 1;
}

/* A process that was just forked executes what its parent does, and is what that is. */
static void add(struct escaped *e, pid_t pid, const struct seen_process *parent)
{
  if (pid <= 0 || pid >= MOST_PIDS || is_known(e, pid))
    return;
  if (e->count == e->room) {
    size_t room = e->room ? 2 * e->room : 64;
    struct seen_process *seen = reallocarray(e->seen, room, sizeof *seen);
    if (!seen)
      return;
    e->seen = seen;
    e->room = room;
  }
  e->known[pid / 64] |= 1ULL << (pid % 64);
  e->seen[e->count++] = (struct seen_process){
      .pid = pid, .image = parent ? parent->image : 0, .settled = parent && parent->settled};
}

static void forget(struct escaped *e, size_t i)
{
  pid_t pid = e->seen[i].pid;
  e->known[pid / 64] &= ~(1ULL << (pid % 64));
  e->seen[i] = e->seen[--e->count];
}

static void add_children_of(struct escaped *e, const struct seen_process *p, const char *thread)
{
  char path[96], text[4096];
  snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", (int)p->pid, thread);
  size_t n = read_text(path, text, sizeof text);
  if (n == sizeof text - 1)
    *(strrchr(text, ' ') + 1) = '\0'; /* the last one may be cut: it comes when others have ended */
  for (char *at = text, *end; *at; at = end) {
    long pid = strtol(at, &end, 10);
    if (end == at)
      break;
    add(e, (pid_t)pid, p);
  }
}

static void add_children(struct escaped *e, struct seen_process p, long threads)
{
  char path[64];
  struct dirent *d;
  snprintf(path, sizeof path, "%d", (int)p.pid);
  if (threads <= 1) {
    add_children_of(e, &p, path);
    return;
  }
  snprintf(path, sizeof path, "/proc/%d/task", (int)p.pid);
  DIR *dir = opendir(path);
  for (int i = 0; dir && i < MOST_THREADS && (d = readdir(dir)); i++)
    if (d->d_name[0] != '.')
      add_children_of(e, &p, d->d_name);
  if (dir)
    closedir(dir);
}

/* --- who is not reached -------------------------------------------------------------------- */

static struct escapee *group(struct escaped *e, const char *kind, const char *file,
                             const char *text)
{
  for (size_t i = 0; i < e->found_count; i++)
    if (e->found[i].kind == kind && strcmp(e->found[i].file, file) == 0 &&
        strcmp(e->found[i].text, text) == 0)
      return &e->found[i];
  if (!e->found)
    e->found = calloc(MOST_FOUND, sizeof *e->found);
  if (!e->found || e->found_count == MOST_FOUND)
    return NULL;
  struct escapee *new = &e->found[e->found_count++];
  new->kind = kind;
  snprintf(new->file, sizeof new->file, "%s", file);
  snprintf(new->text, sizeof new->text, "%s", text);
  return new;
}

static const char unreached[] = "not reached", unsteered[] = "not steered",
                  unrecorded[] = "not recorded";

static void note(struct escaped *e, pid_t pid, const char *name, const struct judgement *j,
                 const char *kind, const char *text)
{
  const char *file = j->files.count ? j->files.list[0] : name;
  if (!text[0] || (pid == e->command && strcmp(file, e->told) == 0))
    return;
  struct escapee *g = group(e, kind, file, text);
  if (!g) {
    e->more++;
    return;
  }
  if (!g->count) {
    g->first = pid;
    snprintf(g->name, sizeof g->name, "%s", j->files.count ? basename(file) : name);
  }
  g->count += g->last != pid;
  g->last = pid;
}

/* What is said of the file is so from the start; of the rest only a second look is sure, for during
 * execve(2) neither the environment nor what is mapped is there yet. */
static bool is_sure(const struct verdict *v)
{
  const char *word = v->count ? v->reasons[0].word : "";
  static const char *const sure[] = {"static", "go", "abi", "libc", "secure"};
  for (size_t i = 0; i < sizeof sure / sizeof *sure; i++)
    if (strcmp(word, sure[i]) == 0)
      return true;
  return false;
}

static bool is_to_be_named(const struct verdict *v)
{
  return v->answer == NOT_REACHED || (v->count && strcmp(v->reasons[0].word, "user") == 0);
}

static void note_unreached(struct escaped *e, pid_t pid, const char *name,
                           const struct judgement *j)
{
  char text[sizeof e->found->text];
  verdict_text(&j->verdict, text, sizeof text);
  note(e, pid, name, j, unreached, text);
}

/* The library is in it. Where it has executed another program since `s`, what was found may be of that
 * one, and the next look tells. */
static void note_lost(struct escaped *e, pid_t pid, const struct proc_stat *s,
                      const struct judgement *j)
{
  struct lost lost;
  struct proc_stat now;
  const char *name = s->name;
  handed_look(pid, &e->handed, &lost);
  if (!proc_stat(pid, &now) || now.stack != s->stack)
    return;
  note(e, pid, name, j, unsteered, lost.policy);
  note(e, pid, name, j, unrecorded, lost.recording);
}

static void examine(struct escaped *e, struct seen_process *p, const struct proc_stat *s)
{
  struct running r;
  const struct verdict *v = &r.judgement.verdict;
  if (running_judge(p->pid, e->preload, &r)) {
    p->looks++;
    bool named = is_to_be_named(v);
    if (named && (is_sure(v) || p->looks > 1))
      note_unreached(e, p->pid, s->name, &r.judgement);
    if (r.judgement.library[0] && v->answer != NOT_REACHED)
      note_lost(e, p->pid, s, &r.judgement);
    p->settled = named ? is_sure(v) || p->looks > 1 : !r.begins || p->looks > PATIENCE;
  }
  judge_free(&r.judgement);
}

/* --- looking on ---------------------------------------------------------------------------- */

static void look_at(struct escaped *e, size_t i)
{
  struct proc_stat s;
  struct seen_process *p = &e->seen[i];
  if (!proc_stat(p->pid, &s) || !proc_lives(&s) || (p->start && p->start != s.start)) {
    forget(e, i);
    return;
  }
  if (p->image != s.stack) {
    p->settled = false;
    p->looks = 0;
  }
  p->start = s.start;
  p->image = s.stack;
  if (!p->settled)
    examine(e, p, &s);
  add_children(e, *p, s.threads);
}

static void look(struct escaped *e, uint64_t slice)
{
  uint64_t begin = now(CLOCK_MONOTONIC), used = now(CLOCK_THREAD_CPUTIME_ID);
  if (!e->known || begin < e->rest)
    return;
  while (e->next < e->count && now(CLOCK_MONOTONIC) - begin < slice) {
    pid_t pid = e->seen[e->next].pid;
    look_at(e, e->next);
    e->next += e->next < e->count && e->seen[e->next].pid == pid; /* else it was forgotten */
  }
  if (e->next >= e->count)
    e->next = 0;
  e->rest = begin + SHARE * (now(CLOCK_THREAD_CPUTIME_ID) - used);
}

void escaped_begin(struct escaped *e, pid_t command, const char *preload, const char *told,
                   const struct handed *handed)
{
  *e = (struct escaped){.preload = preload, .told = told, .handed = *handed, .command = command};
  e->known = calloc(MOST_PIDS / 64, sizeof *e->known);
  if (e->known)
    add(e, command, NULL);
}

void escaped_look(struct escaped *e)
{
  look(e, SLICE_NS);
}

void escaped_look_last(struct escaped *e)
{
  e->next = 0;
  e->rest = 0;
  look(e, LAST_SLICE_NS);
}

bool escaped_any(const struct escaped *e)
{
  bool any = e->more;
  for (size_t i = 0; i < e->found_count; i++)
    any |= e->found[i].kind != unrecorded;
  return any;
}

void escaped_end(struct escaped *e)
{
  for (size_t i = 0; i < e->found_count; i++) {
    const struct escapee *g = &e->found[i];
    char more[64] = "";
    if (g->count > 1)
      snprintf(more, sizeof more, " (and %lu more)", g->count - 1);
    complain(g->kind, "%s %d: %s%s", g->name, (int)g->first, g->text, more);
  }
  if (e->more)
    complain(unreached, "%lu more, of other programs", e->more);
  free(e->seen);
  free(e->known);
  free(e->found);
  *e = (struct escaped){0};
}
