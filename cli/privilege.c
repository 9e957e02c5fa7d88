// SPDX-License-Identifier: MIT
#include "cli/privilege.h"

#include <endian.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define IGNORED "the dynamic linker ignores LD_PRELOAD in it (AT_SECURE)"

/* An id that this user namespace does not map is shown as the overflow id, and not heeded. */
static bool is_mapped(const char *map, unsigned id)
{
  unsigned first, outside, count;
  FILE *f = fopen(map, "re");
  bool mapped = !f;
  while (f && !mapped && fscanf(f, "%u %u %u", &first, &outside, &count) == 3)
    mapped = id >= first && id - first < count;
  if (f)
    fclose(f);
  return mapped;
}

/* Whether programs there change no credentials: setuid bits and capabilities are not heeded. */
static bool is_nosuid(const char *path)
{
  struct statvfs v;
  return statvfs(path, &v) == 0 && (v.f_flag & ST_NOSUID);
}

static void judge_ids(const struct stat *s, bool heeded, struct verdict *v)
{
  uid_t user = geteuid();
  gid_t group = getegid();
  const mode_t setgid = S_ISGID | S_IXGRP; /* without x it is a mark of mandatory locking */
  if (heeded && (s->st_mode & S_ISUID) && is_mapped("/proc/self/uid_map", s->st_uid))
    user = s->st_uid;
  if (heeded && (s->st_mode & setgid) == setgid && is_mapped("/proc/self/gid_map", s->st_gid))
    group = s->st_gid;
  if (user != getuid())
    verdict_say(v, NOT_REACHED, "setuid", "it is setuid to user %u: " IGNORED, (unsigned)user);
  if (group != getgid())
    verdict_say(v, NOT_REACHED, "setgid", "it is setgid to group %u: " IGNORED, (unsigned)group);
}

static bool has_inheritable(const uint32_t file[2])
{
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct own[2] = {{0}};
  if (syscall(SYS_capget, &header, own))
    return false;
  return (file[0] & own[0].inheritable) || (file[1] & own[1].inheritable);
}

/* The attribute of revision 2, as the kernel shows one that counts in this user namespace. */
static bool gains_capabilities(const char *path)
{
  struct vfs_cap_data d;
  ssize_t n = getxattr(path, "security.capability", &d, sizeof d);
  uint32_t magic = n >= (ssize_t)sizeof d.magic_etc ? le32toh(d.magic_etc) : 0;
  if (n != XATTR_CAPS_SZ_2 || (magic & VFS_CAP_REVISION_MASK) != VFS_CAP_REVISION_2)
    return false;
  uint32_t inheritable[2] = {le32toh(d.data[0].inheritable), le32toh(d.data[1].inheritable)};
  return (magic & VFS_CAP_FLAGS_EFFECTIVE) || d.data[0].permitted || d.data[1].permitted ||
         has_inheritable(inheritable);
}

void privilege_judge(const char *path, const struct stat *s, struct verdict *v)
{
  bool nosuid = is_nosuid(path);
  judge_ids(s, !nosuid && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1, v);
  if (getuid() != 0 && !nosuid && gains_capabilities(path))
    verdict_say(v, NOT_REACHED, "capabilities", "it has file capabilities: " IGNORED);
}
