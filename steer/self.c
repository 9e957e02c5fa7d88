// SPDX-License-Identifier: MIT
//
// A page that the kernel hands zeroed to the child of a fork or a raw clone, and shared to a vfork
// child: so a process knows that it is new without asking for its pid at every event.
#include "steer/self.h"

#include <linux/kcmp.h>
#include <sys/auxv.h>

#include "record/sys.h"

struct self {
  _Atomic uint64_t word;
  _Atomic uint32_t pid; /* 0 in the child of a fork */
  atomic_uint makers;
};

#define LARGEST_PAGE 65536
static unsigned char room[2 * LARGEST_PAGE]; /* a whole page of any size lies in it */
static atomic_bool begun, wipes;

static struct self *self(void)
{
  return (void *)(((uintptr_t)room + LARGEST_PAGE - 1) & ~(uintptr_t)(LARGEST_PAGE - 1));
}

/* A vfork child that is the first to ask: the memory is its parent's. Where kcmp(2) is forbidden
 * the child is taken for the process. */
static uint32_t owner_of_memory(void)
{
  uint32_t pid = sys_getpid(), parent = (uint32_t)syscall(SYS_getppid);
  bool shared = parent && syscall(SYS_kcmp, pid, parent, KCMP_VM, 0, 0) == 0;
  return shared ? parent : pid;
}

void self_begin(bool before_main)
{
  if (atomic_exchange_explicit(&begun, true, memory_order_relaxed))
    return;
  if (sys_advise(self(), getauxval(AT_PAGESZ), MADV_WIPEONFORK) == 0)
    atomic_store_explicit(&wipes, true, memory_order_relaxed);
  uint32_t pid = before_main ? sys_getpid() : owner_of_memory();
  atomic_store_explicit(&self()->pid, pid, memory_order_relaxed);
}

uint32_t self_pid(void)
{
  uint32_t pid = atomic_load_explicit(&self()->pid, memory_order_relaxed);
  return pid && atomic_load_explicit(&wipes, memory_order_relaxed) ? pid : sys_getpid();
}

uint32_t self_tid(uint32_t pid)
{
  static _Thread_local struct {
    uint32_t pid, tid;
  } thread;
  if (thread.pid != pid) {
    thread.tid = sys_gettid();
    thread.pid = pid;
  }
  return thread.tid;
}

bool self_is_forked(void)
{
  return !atomic_load_explicit(&self()->pid, memory_order_relaxed);
}

_Atomic uint64_t *self_word(void)
{
  return &self()->word;
}

atomic_uint *self_makers(void)
{
  return &self()->makers;
}

bool self_word_is_inherited(void)
{
  return !atomic_load_explicit(&wipes, memory_order_relaxed);
}
