// SPDX-License-Identifier: MIT
#include <string.h>

#include "record/clock.h"
#include "record/sys.h"
#include "record/text.h"
#include "record/write.h"

/* The inode in "net:[4026531840]"; 0 where /proc is not there or not ours to read. */
static uint64_t namespace_inode(const char *link)
{
  char text[48];
  long n = sys_readlink(link, text, sizeof text);
  uint64_t inode = 0;
  for (long i = 0; i < n; i++)
    if (text[i] >= '0' && text[i] <= '9')
      inode = inode * 10 + (uint64_t)(text[i] - '0');
  return inode;
}

void record_namespaces_ask(struct record_namespaces *n)
{
  n->net = namespace_inode("/proc/thread-self/ns/net");
  if (!n->net) /* Linux 3.17 */
    n->net = namespace_inode("/proc/self/ns/net");
  n->pid = namespace_inode("/proc/self/ns/pid");
  n->mnt = namespace_inode("/proc/self/ns/mnt");
}

static_assert(sizeof PACKAGE_VERSION <= sizeof((struct record_process *)0)->version, "it fits");

static void fill_row(struct record_process *row, const struct record_identity *who)
{
  struct text name = TEXT_INIT(row->name);
  row->pid = who->pid;
  row->parent_pid = who->parent_pid;
  row->uid = who->uid;
  row->created = who->created;
  row->claimed = clock_ns(CLOCK_BOOTTIME);
  row->net_namespace = who->namespaces.net;
  row->pid_namespace = who->namespaces.pid;
  row->mnt_namespace = who->namespaces.mnt;
  memcpy(row->version, PACKAGE_VERSION, sizeof PACKAGE_VERSION);
  text_string(&name, who->name);
  text_end(&name);
}

bool record_is_shared_row(const struct record_map *map, uint32_t process)
{
  return process == map->process_count - 1;
}

uint32_t record_reserve(const struct record_map *map)
{
  uint32_t last = map->process_count - 1;
  record_u32 *claimed = &map->header->processes_claimed;
  uint32_t n = atomic_load_explicit(claimed, memory_order_relaxed);
  if (n < last)
    n = atomic_fetch_add_explicit(claimed, 1, memory_order_relaxed);
  return n < last ? n : last;
}

void record_unreserve(const struct record_map *map, uint32_t process)
{
  uint32_t next = process + 1;
  if (!record_is_shared_row(map, process))
    atomic_compare_exchange_strong_explicit(&map->header->processes_claimed, &next, process,
                                            memory_order_relaxed, memory_order_relaxed);
}

void record_describe(const struct record_map *map, uint32_t process,
                     const struct record_identity *who)
{
  static const struct record_identity nobody = {.name = "others"};
  struct record_process *row = record_row(map, process);
  if (!record_is_shared_row(map, process))
    fill_row(row, who);
  else if (!atomic_load_explicit(&row->state, memory_order_relaxed))
    fill_row(row, &nobody); /* whoever does it stores the same */
}

void record_moved(const struct record_map *map, uint32_t process, uint64_t network)
{
  record_u64 *known = &record_row(map, process)->net_namespace;
  if (atomic_load_explicit(known, memory_order_relaxed) != network)
    atomic_store_explicit(known, 0, memory_order_relaxed);
}

void record_mark(const struct record_map *map, uint32_t process, enum record_state state)
{
  atomic_store_explicit(&record_row(map, process)->state, state, memory_order_release);
}
