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
static atomic_bool keeps;
static _Atomic uint32_t user, asker;
static _Atomic uint32_t whose; /* the process that the namespaces are of */
static struct {
  _Atomic uint64_t net, pid, mnt;
} namespaces;
static atomic_bool children_elsewhere;
static record_u32 *moved; /* the recording's */

/* Threads of this process are in several namespaces, since each of them moves by itself. */
static atomic_bool scattered;

static void keep_namespaces(const struct record_namespaces *n)
{
  atomic_store_explicit(&whose, self_pid(), memory_order_relaxed);
  atomic_store_explicit(&namespaces.net, n->net, memory_order_relaxed);
  atomic_store_explicit(&namespaces.pid, n->pid, memory_order_relaxed);
  atomic_store_explicit(&namespaces.mnt, n->mnt, memory_order_relaxed);
}

static void keep_asked(const struct record_namespaces *n)
{
  keep_namespaces(n);
  atomic_store_explicit(&asker, self_pid(), memory_order_relaxed);
}

static void ask_namespaces(void)
{
  struct record_namespaces n;
  record_namespaces_ask(&n);
  keep_asked(&n);
}

static uint64_t network_of_all(uint64_t of_thread)
{
  return atomic_load_explicit(&scattered, memory_order_relaxed) ? 0 : of_thread;
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

void identity_keep_now(const struct record_map *map)
{
  uint32_t uid = sys_geteuid();
  if (keeps)
    return;
  atomic_store_explicit(&user, uid, memory_order_relaxed);
  ask_namespaces();
  moved = &map->header->moved;
  keeps = true;
}

void identity_user(uint32_t effective)
{
  if (keeps && !self_borrows(self_pid(), true))
    atomic_store_explicit(&user, effective, memory_order_relaxed);
}

/* The folder has a link more for each thread (proc_task_getattr() in fs/proc/base.c). */
static bool has_threads(void)
{
  struct statx s;
  const unsigned without = 2;
  return sys_stat(AT_FDCWD, "/proc/self/task", &s) || s.stx_nlink > without + 1;
}

void identity_moved(void)
{
  struct record_namespaces now;
  if (keeps)
    atomic_store_explicit(moved, 1, memory_order_relaxed);
  if (!recorder_wanted() || self_borrows(self_pid(), true))
    return;
  record_namespaces_ask(&now);
  if (has_threads())
    atomic_store_explicit(&scattered, true, memory_order_relaxed);
  if (keeps) {
    keep_asked(&now);
    atomic_store_explicit(&children_elsewhere, true, memory_order_relaxed);
  }
  recorder_moved(network_of_all(now.net));
}

/* A child of clone(2) alone may be in other namespaces than its parent. */
static void notice_clone(uint32_t pid)
{
  struct record_namespaces unknown = {
      .pid = atomic_load_explicit(&namespaces.pid, memory_order_relaxed)};
  if (atomic_load_explicit(&whose, memory_order_relaxed) != pid)
    keep_namespaces(&unknown);
}

void identity_forking(void)
{
  if (keeps)
    notice_clone(self_pid());
}

void identity_forked(void)
{
  atomic_store_explicit(&scattered, false, memory_order_relaxed);
  if (!keeps)
    return;
  atomic_store_explicit(&whose, self_pid(), memory_order_relaxed);
  if (atomic_exchange_explicit(&children_elsewhere, false, memory_order_relaxed))
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
    uint32_t uid = sys_geteuid();
    who->uid = uid != UINT32_MAX ? uid : (uint32_t)getauxval(AT_EUID);
    record_namespaces_ask(&who->namespaces);
    who->namespaces.net = network_of_all(who->namespaces.net);
    return;
  }
  notice_clone(who->pid);
  who->uid = atomic_load_explicit(&user, memory_order_relaxed);
  who->namespaces.net = network_of_all(atomic_load_explicit(&namespaces.net, memory_order_relaxed));
  who->namespaces.pid = pid_namespace(who->pid);
  who->namespaces.mnt = atomic_load_explicit(&namespaces.mnt, memory_order_relaxed);
}
