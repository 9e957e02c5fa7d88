// SPDX-License-Identifier: MIT
#include "cli/binfmt.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REGISTERED "/proc/sys/fs/binfmt_misc"

/* What follows a key at the beginning of a line, up to the line's end; its length, or -1. */
static int value_of(const char *entry, const char *key, const char **value)
{
  size_t n = strlen(key);
  for (const char *line = entry; line; line = strchr(line, '\n')) {
    line += *line == '\n';
    if (strncmp(line, key, n) == 0) {
      *value = line + n;
      return (int)strcspn(*value, "\n");
    }
  }
  return -1;
}

static int hex_byte(const char *text)
{
  unsigned byte;
  return sscanf(text, "%2x", &byte) == 1 ? (int)byte : -1;
}

static bool magic_matches(const char *magic, int digits, const char *mask, int mask_digits,
                          const char *head, size_t size)
{
  if (digits <= 0 || (size_t)digits / 2 > size)
    return false;
  for (int i = 0; i + 1 < digits; i += 2) {
    int want = hex_byte(magic + i);
    int bits = i + 1 < mask_digits ? hex_byte(mask + i) : 0xff;
    if (want < 0 || bits < 0 || (((unsigned char)head[i / 2] ^ want) & bits))
      return false;
  }
  return true;
}

bool binfmt_entry_takes(const char *entry, const char *path, const char *head, size_t size)
{
  const char *magic, *mask = "", *extension, *offset;
  if (strncmp(entry, "enabled", 7) != 0)
    return false;
  int length = value_of(entry, "extension .", &extension);
  if (length > 0) {
    const char *dot = strrchr(path, '.');
    return dot && strlen(dot + 1) == (size_t)length &&
           memcmp(dot + 1, extension, (size_t)length) == 0;
  }
  int digits = value_of(entry, "magic ", &magic);
  int mask_digits = value_of(entry, "mask ", &mask);
  unsigned long at = value_of(entry, "offset ", &offset) > 0 ? strtoul(offset, NULL, 10) : 0;
  return at <= size && magic_matches(magic, digits, mask, mask_digits, head + at, size - at);
}

static bool read_entry(int dir, const char *name, char text[2048])
{
  int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, text, 2047) : -1;
  if (fd >= 0)
    close(fd);
  text[n > 0 ? n : 0] = '\0';
  return n > 0;
}

bool binfmt_takes(const char *path, const char *head, size_t size, char name[BINFMT_NAME])
{
  char text[2048];
  bool takes = false;
  DIR *dir = opendir(REGISTERED);
  struct dirent *d;
  if (!dir)
    return false;
  bool enabled = read_entry(dirfd(dir), "status", text) && strncmp(text, "enabled", 7) == 0;
  while (enabled && !takes && (d = readdir(dir)))
    if (d->d_name[0] != '.' && strcmp(d->d_name, "status") != 0 &&
        strcmp(d->d_name, "register") != 0 && read_entry(dirfd(dir), d->d_name, text)) {
      takes = binfmt_entry_takes(text, path, head, size);
      snprintf(name, BINFMT_NAME, "%s", d->d_name);
    }
  closedir(dir);
  return takes;
}
