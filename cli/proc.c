// SPDX-License-Identifier: MIT
#include "cli/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool read_stat(const char *path, struct proc_stat *s)
{
  char text[1024];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
  if (fd >= 0)
    close(fd);
  text[n > 0 ? n : 0] = '\0';
  char *name = strchr(text, '('), *end = strrchr(text, ')');
  unsigned long long start, stack;
  if (!name || !end ||
      sscanf(end + 1,
             " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu %*u"
             " %*d %*u %*u %*u %llu",
             &s->letter, &s->threads, &start, &stack) != 4)
    return false;
  *end = '\0';
  snprintf(s->name, sizeof s->name, "%s", name + 1);
  s->start = start;
  s->stack = stack;
  return true;
}

bool proc_stat(pid_t pid, struct proc_stat *s)
{
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  return read_stat(path, s);
}

bool proc_lives(const struct proc_stat *s)
{
  return s->letter != 'X' && !(s->letter == 'Z' && s->threads <= 1);
}

/* The first of its threads that has not ended. */
static pid_t another_thread(pid_t pid)
{
  char path[96];
  struct proc_stat s;
  pid_t found = 0;
  snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
  DIR *threads = opendir(path);
  for (struct dirent *d; threads && !found && (d = readdir(threads));) {
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/stat", (int)pid, d->d_name);
    if (d->d_name[0] != '.' && read_stat(path, &s) && s.letter != 'Z' && s.letter != 'X')
      found = (pid_t)strtol(d->d_name, NULL, 10);
  }
  if (threads)
    closedir(threads);
  return found;
}

pid_t proc_thread(pid_t pid)
{
  struct proc_stat s;
  if (!proc_stat(pid, &s) || !proc_lives(&s))
    return 0;
  return s.letter == 'Z' ? another_thread(pid) : pid;
}
