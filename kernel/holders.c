// SPDX-License-Identifier: MIT
#include "kernel/holders.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct reading {
  struct holders found;
  uint32_t room;
};

static void add(struct reading *r, uint64_t inode, uint32_t pid)
{
  if (r->found.count == r->room) {
    uint32_t room = r->room ? 2 * r->room : 1024;
    struct holder *more = realloc(r->found.list, room * sizeof *more);
    if (!more)
      return;
    r->found.list = more;
    r->room = room;
  }
  r->found.list[r->found.count++] = (struct holder){inode, pid};
}

/* The descriptors in a folder that are sockets: links to "socket:[INODE]". Returns whether it has
 * any descriptor. */
static bool read_descriptors(struct reading *r, int proc, const char *path, uint32_t pid)
{
  char link[64];
  uint64_t inode;
  bool any = false;
  int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
  if (!directory) {
    if (fd >= 0)
      close(fd);
    return true; /* not to be seen */
  }
  for (struct dirent *e; (e = readdir(directory));) {
    ssize_t size = readlinkat(fd, e->d_name, link, sizeof link - 1);
    if (size <= 0)
      continue;
    any = true;
    link[size] = '\0';
    if (sscanf(link, "socket:[%" SCNu64 "]", &inode) == 1)
      add(r, inode, pid);
  }
  closedir(directory);
  return any;
}

/* A main thread that has ended shows no descriptors; the others go on with them. */
static void read_process(struct reading *r, int proc, const char *name)
{
  char path[600];
  uint32_t pid = (uint32_t)strtoul(name, NULL, 10);
  snprintf(path, sizeof path, "%s/fd", name);
  if (read_descriptors(r, proc, path, pid))
    return;
  snprintf(path, sizeof path, "%s/task", name);
  int fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *threads = fd >= 0 ? fdopendir(fd) : NULL;
  bool any = false;
  for (struct dirent *e; threads && !any && (e = readdir(threads));) {
    snprintf(path, sizeof path, "%s/fd", e->d_name);
    if (isdigit((unsigned char)e->d_name[0]))
      any = read_descriptors(r, fd, path, pid);
  }
  if (threads)
    closedir(threads);
  else if (fd >= 0)
    close(fd);
}

static int compare(const void *a, const void *b)
{
  const struct holder *h = a, *i = b;
  if (h->inode != i->inode)
    return h->inode < i->inode ? -1 : 1;
  return (h->pid > i->pid) - (h->pid < i->pid);
}

struct holders holders_read(void)
{
  struct reading r = {0};
  DIR *proc = opendir("/proc");
  for (struct dirent *e; proc && (e = readdir(proc));)
    if (isdigit((unsigned char)e->d_name[0]))
      read_process(&r, dirfd(proc), e->d_name);
  if (proc)
    closedir(proc);
  if (r.found.count)
    qsort(r.found.list, r.found.count, sizeof *r.found.list, compare);
  return r.found;
}

void holders_free(struct holders *h)
{
  free(h->list);
}

uint32_t holders_find(const struct holders *h, uint64_t inode)
{
  uint32_t low = 0, high = h->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (h->list[middle].inode < inode)
      low = middle + 1;
    else
      high = middle;
  }
  return inode && low < h->count && h->list[low].inode == inode ? h->list[low].pid : 0;
}

size_t holder_name(uint32_t pid, char name[HOLDER_NAME])
{
  char path[64];
  snprintf(path, sizeof path, "/proc/%u/comm", pid);
  FILE *f = fopen(path, "re");
  size_t size = f ? fread(name, 1, HOLDER_NAME, f) : 0;
  if (f)
    fclose(f);
  return size && name[size - 1] == '\n' ? size - 1 : size;
}
