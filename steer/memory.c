// SPDX-License-Identifier: MIT
#include "steer/memory.h"

#include <elf.h>
#include <errno.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/socket.h>

#include "record/sys.h"

#define PAGE 4096 /* the smallest there is: larger ones are looked at twice, no more */

/* getsockopt(2) reads the size of the answer before it looks at the option (sk_getsockopt() in
 * net/core/sock.c): for an option that there is not, it writes nothing and tells EFAULT from
 * ENOPROTOOPT, or from EINVAL where the four bytes are a negative number. A program of BPF at the
 * cgroup's getsockopt hook sees the error too, and hands it on. */
static enum memory four_bytes(int fd, uintptr_t at)
{
  const int no_option = -1;
  if (sys_getsockopt(fd, SOL_SOCKET, no_option, NULL, (unsigned *)at) == 0)
    return MEMORY_READABLE;
  switch (errno) {
  case ENOPROTOOPT:
  case EINVAL: return MEMORY_READABLE;
  case EFAULT: return MEMORY_UNREADABLE;
  default: return MEMORY_UNKNOWN;
  }
}

/* rt_sigprocmask(2) reads the set before it looks at what is to be done with it
 * (kernel/signal.c). */
static enum memory eight_bytes(uintptr_t at)
{
  const int nothing = -1;
  if (!at) /* no set at all, to the kernel */
    return MEMORY_UNREADABLE;
  if (SYS_CALL(SYS_rt_sigprocmask, nothing, at, NULL, 8) == 0)
    return MEMORY_READABLE;
  switch (errno) {
  case EINVAL: return MEMORY_READABLE;
  case EFAULT: return MEMORY_UNREADABLE;
  default: return MEMORY_UNKNOWN;
  }
}

/* A stack is one mapping from where it is used up to its beginning. That lies below the block of
 * thread-local memory, in the stacks that pthread_create(3) makes, and in the main thread's below the
 * name that the kernel put there (create_elf_tables() in fs/binfmt_elf.c). Only what is near is taken
 * for this stack, since a handler or a coroutine may run on another one. */
bool memory_is_on_stack(const void *p, size_t size)
{
  const uintptr_t near = 16384, largest = 64u << 20;
  static _Thread_local char own;
  uintptr_t here = (uintptr_t)__builtin_frame_address(0);
  uintptr_t from = (uintptr_t)p, to = from + size;
  int error = errno; /* getauxval(3) sets it where there is none */
  uintptr_t tops[] = {(uintptr_t)&own, (uintptr_t)getauxval(AT_EXECFN)};
  errno = error;
  if (from < here || to < from || to - here > near)
    return false;
  for (unsigned i = 0; i < 2; i++)
    if (to <= tops[i] && tops[i] - here < largest)
      return true;
  return false;
}

enum memory memory_ask(int fd, const void *p, size_t size)
{
  uintptr_t first = (uintptr_t)p, last = first + size - 1;
  if (last < first)
    return MEMORY_UNREADABLE;
  if (memory_is_on_stack(p, size))
    return MEMORY_READABLE;
  if (size < 4) /* the four bytes around them: they lie on the same page */
    first &= ~(uintptr_t)3;
  enum memory answer = four_bytes(fd, first);
  if (answer == MEMORY_UNKNOWN)
    return memory_ask_all(p, size);
  if (answer != MEMORY_READABLE || first / PAGE == last / PAGE)
    return answer;
  return four_bytes(fd, last & ~(uintptr_t)3);
}

enum memory memory_ask_all(const void *p, size_t size)
{
  uintptr_t first = (uintptr_t)p, last = first + size - 1;
  if (!size)
    return MEMORY_READABLE;
  if (last < first)
    return MEMORY_UNREADABLE;
  for (uintptr_t page = first / PAGE; page <= last / PAGE; page++) {
    uintptr_t at = page * PAGE > first ? page * PAGE : first & ~(uintptr_t)7;
    enum memory answer = eight_bytes(at);
    if (answer != MEMORY_READABLE)
      return answer;
  }
  return MEMORY_READABLE;
}
