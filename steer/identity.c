// SPDX-License-Identifier: MIT
#include "steer/identity.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/auxv.h>

#include "record/map.h"
#include "record/sys.h"
#include "steer/recorder.h"
#include "steer/self.h"

/* What is kept of this process, and inherited by what it forks; nothing where no recording was
 * prepared, since then the kernel is asked when a row is taken. */
static bool keeps;
static _Atomic uint32_t user, asker;
static struct {
  _Atomic uint64_t net, pid, mnt;
} namespaces;
static atomic_bool children_elsewhere;
static record_u32 *moved; /* the recording's */

static void keep_namespaces(const struct record_namespaces *n)
{
  atomic_store_explicit(&namespaces.net, n->net, memory_order_relaxed);
  atomic_store_explicit(&namespaces.pid, n->pid, memory_order_relaxed);
  atomic_store_explicit(&namespaces.mnt, n->mnt, memory_order_relaxed);
}

static void ask_namespaces(void)
{
  struct record_namespaces n;
  record_namespaces_ask(&n);
  keep_namespaces(&n);
  atomic_store_explicit(&asker, self_pid(), memory_order_relaxed);
}

void identity_keep(const struct record_map *map)
{
  struct record_header *h = map->header;
  bool same = map->mount_id && map->mount_id == h->mount_id && h->namespaces.pid &&
              !atomic_load_explicit(&h->moved, memory_order_relaxed);
  atomic_store_explicit(&user, (uint32_t)getauxval(AT_EUID), memory_order_relaxed);
  if (same)
    keep_namespaces(&h->namespaces);
  else
    ask_namespaces();
  moved = &h->moved;
  keeps = true;
}

void identity_user(uint32_t effective)
{
  if (keeps && !self_borrows(self_pid(), true))
    atomic_store_explicit(&user, effective, memory_order_relaxed);
}

void identity_moved(void)
{
  if (!keeps)
    return;
  atomic_store_explicit(moved, 1, memory_order_relaxed);
  if (self_borrows(self_pid(), true))
    return;
  ask_namespaces();
  atomic_store_explicit(&children_elsewhere, true, memory_order_relaxed);
}

void identity_forked(void)
{
  if (keeps && atomic_exchange_explicit(&children_elsewhere, false, memory_order_relaxed))
    ask_namespaces();
}

/* The first process of a pid namespace that was made by clone(2) itself finds its parent's. */
static uint64_t pid_namespace(uint32_t pid)
{
  if (pid == 1 && atomic_load_explicit(&asker, memory_order_relaxed) != 1 && self_since())
    return 0;
  return atomic_load_explicit(&namespaces.pid, memory_order_relaxed);
}

void identity_tell(struct record_identity *who)
{
  uint64_t forked = self_since();
  who->pid = self_pid();
  who->parent_pid = self_parent();
  who->created = forked ? forked : recorder_config.started;
  who->name = recorder_config.name;
  if (!keeps) {
    who->uid = sys_geteuid();
    record_namespaces_ask(&who->namespaces);
    return;
  }
  who->uid = atomic_load_explicit(&user, memory_order_relaxed);
  who->namespaces.net = atomic_load_explicit(&namespaces.net, memory_order_relaxed);
  who->namespaces.pid = pid_namespace(who->pid);
  who->namespaces.mnt = atomic_load_explicit(&namespaces.mnt, memory_order_relaxed);
}
