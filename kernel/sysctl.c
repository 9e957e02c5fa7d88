// SPDX-License-Identifier: MIT
#include "kernel/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LARGEST (512u << 10)

static char *read_once(int fd, size_t *size)
{
  char *text = malloc(LARGEST + 1);
  ssize_t n = text ? read(fd, text, LARGEST) : -1;
  if (n < 0) {
    free(text);
    return NULL;
  }
  text[n] = '\0';
  *size = (size_t)n;
  return text;
}

char *sysctl_read(const char *name, size_t *size)
{
  char path[128];
  snprintf(path, sizeof path, "/proc/sys/net/%s", name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return NULL;
  char *text = read_once(fd, size);
  int error = errno;
  close(fd);
  errno = error;
  return text;
}
