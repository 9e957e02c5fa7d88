// SPDX-License-Identifier: MIT
//
// A page that the kernel hands zeroed to the child of a fork or a raw clone, and shared to a vfork
// child: so a process knows that it is new without asking for its pid at every event. A thread's
// number is libc's, without a system call: in the child of fork(3) it is the pid. Only a child that
// libc does not know of asks gettid(2), and who may be a vfork child.
#include "steer/self.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <sys/auxv.h>

#include "gate/gate.h"
#include "record/clock.h"
#include "record/sys.h"

static clock_function *clock_of; /* libc's; NULL: not to be had */

/* The number of this thread as libc keeps it, out of its clock's: ~tid << 3 and three bits
 * (kernel/time/posix-cpu-timers.c), or tid << 3 in old versions of glibc. In a child that libc does
 * not know of it is the parent's. 0: not to be had. */
static uint32_t tid_of_libc(void)
{
  clockid_t clock = 0;
  if (!clock_of || clock_of(pthread_self(), &clock))
    return 0;
  return (uint32_t)(clock < 0 ? ~(clock >> 3) : clock >> 3);
}

/* Where it may not be asked, libc's is the best there is. */
static uint32_t ask_tid(void)
{
  uint32_t tid = sys_gettid();
  return tid ? tid : tid_of_libc();
}

struct self {
  _Atomic uint64_t word;
  _Atomic uint32_t pid; /* 0 in the child of a fork */
  atomic_uint makers;
};

#define LARGEST_PAGE 65536
static unsigned char room[2 * LARGEST_PAGE]; /* a whole page of any size lies in it */
static atomic_bool begun, wipes;
static _Thread_local bool vforked;   /* this is the child of a vfork() in this thread */
static atomic_bool lends;            /* a child may be running in this process's memory */
static _Atomic uint32_t main_thread; /* libc's number of it; 0: not known */

/* What a fork does not wipe: the child finds its parent's. */
static _Atomic uint32_t known_pid, known_parent;
static _Atomic uint64_t since;

/* Of a thread, by the process that it was in when it asked. */
static _Thread_local struct {
  uint32_t pid, tid;
  uint32_t guest; /* a vfork child that is known to have borrowed this thread's memory */
} thread;

static struct self *self(void)
{
  return (void *)(((uintptr_t)room + LARGEST_PAGE - 1) & ~(uintptr_t)(LARGEST_PAGE - 1));
}

static void know_main_thread(uint32_t pid)
{
  thread.pid = thread.tid = pid;
  thread.guest = 0;
}

/* Stored in this order: who finds no pid in the page, but one known, is the child of a fork. */
static void know(uint32_t pid, uint32_t parent)
{
  atomic_store_explicit(&known_parent, parent, memory_order_relaxed);
  atomic_store_explicit(&self()->pid, pid, memory_order_release);
  atomic_store_explicit(&known_pid, pid, memory_order_release);
}

bool self_lends(void)
{
  return atomic_load_explicit(&lends, memory_order_relaxed);
}

static uint32_t ask_pid(void)
{
  uint32_t pid = sys_getpid();
  return pid ? pid : atomic_load_explicit(&main_thread, memory_order_relaxed);
}

/* A vfork child that is the first to ask: the memory is its parent's. Where kcmp(2) is forbidden
 * the child is taken for the process. */
static void know_owner_of_memory(void)
{
  uint32_t pid = ask_pid(), parent = sys_getppid();
  bool may_be = vforked || self_lends();
  bool shared = parent && may_be && SYS_CALL(SYS_kcmp, pid, parent, KCMP_VM, 0, 0) == 0;
  know(shared ? parent : pid, shared ? 0 : parent);
}

void self_start(clock_function *libc)
{
  clock_of = libc;
  atomic_store_explicit(&main_thread, tid_of_libc(), memory_order_relaxed);
}

void self_lend(void)
{
  atomic_store_explicit(&lends, true, memory_order_relaxed);
}

void self_vfork(bool begins)
{
  vforked = begins;
  if (begins)
    gate_lend(&thread);
  else
    gate_take_back(&thread);
}

bool self_is_vforked(void)
{
  return vforked;
}

void self_begin(bool before_main)
{
  if (atomic_exchange_explicit(&begun, true, memory_order_relaxed))
    return;
  if (sys_advise(self(), getauxval(AT_PAGESZ), MADV_WIPEONFORK) == 0)
    atomic_store_explicit(&wipes, true, memory_order_relaxed);
  if (!before_main) {
    know_owner_of_memory();
    return;
  }
  know(ask_pid(), sys_getppid());
  know_main_thread(atomic_load_explicit(&known_pid, memory_order_relaxed));
}

/* The child of a fork takes over: its parent is whose memory it has inherited. */
static uint32_t become(uint32_t pid)
{
  uint32_t none = 0, parent = atomic_load_explicit(&known_pid, memory_order_acquire);
  if (!atomic_compare_exchange_strong_explicit(&self()->pid, &none, pid, memory_order_relaxed,
                                               memory_order_relaxed))
    return none;
  atomic_store_explicit(&since, clock_ns(CLOCK_REALTIME), memory_order_relaxed);
  atomic_store_explicit(&known_parent, parent, memory_order_relaxed);
  atomic_store_explicit(&known_pid, pid, memory_order_relaxed);
  know_main_thread(pid);
  return pid;
}

void self_forked(void)
{
  int error = errno;
  uint32_t pid = tid_of_libc();
  atomic_store_explicit(&lends, false, memory_order_relaxed);
  vforked = false;
  atomic_store_explicit(&main_thread, pid, memory_order_relaxed);
  if (!atomic_load_explicit(&begun, memory_order_relaxed)) {
    atomic_store_explicit(&since, clock_ns(CLOCK_REALTIME), memory_order_relaxed);
    return;
  }
  if (!atomic_load_explicit(&wipes, memory_order_relaxed)) {
    atomic_store_explicit(&self()->word, 0, memory_order_relaxed);
    atomic_store_explicit(&self()->makers, 0, memory_order_relaxed);
    atomic_store_explicit(&self()->pid, 0, memory_order_relaxed);
  }
  become(pid ? pid : sys_gettid());
  errno = error;
}

uint32_t self_pid(void)
{
  uint32_t pid = atomic_load_explicit(&self()->pid, memory_order_acquire);
  if (!atomic_load_explicit(&wipes, memory_order_relaxed)) {
    uint32_t asked = sys_getpid(); /* where it is forbidden, fork(3)'s handler has told */
    return asked ? asked : pid;
  }
  if (pid)
    return pid;
  return atomic_load_explicit(&known_pid, memory_order_acquire) ? become(ask_tid()) : ask_pid();
}

uint32_t self_parent(void)
{
  return atomic_load_explicit(&known_parent, memory_order_relaxed);
}

uint64_t self_since(void)
{
  return atomic_load_explicit(&since, memory_order_relaxed);
}

uint32_t self_tid(uint32_t pid)
{
  if (thread.pid != pid) {
    uint32_t tid = tid_of_libc();
    thread.tid = tid ? tid : sys_gettid();
    thread.pid = pid;
  }
  return thread.tid;
}

bool self_borrows(uint32_t pid, bool may_ask)
{
  if (vforked)
    return true;
  if (!self_lends())
    return false;
  if (self_word_is_inherited())
    return ask_pid() != pid;
  uint32_t tid = sys_gettid();
  if (!tid) /* forbidden: taken for none */
    return false;
  if (tid == pid || tid == thread.guest)
    return tid != pid;
  if (thread.pid == pid)
    return thread.tid != tid;
  if (!may_ask)
    return false;
  if (ask_pid() == tid) { /* the main thread of a process, but not of this one */
    thread.guest = tid;
    return true;
  }
  thread.pid = pid;
  thread.tid = tid;
  return false;
}

bool self_has_other_files(void)
{
  if (vforked)
    return true;
  if (!self_lends())
    return false;
  uint32_t lender = self_pid(), pid = sys_getpid();
  return pid && pid != lender && SYS_CALL(SYS_kcmp, pid, lender, KCMP_FILES, 0, 0) != 0;
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
