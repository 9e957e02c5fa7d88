// SPDX-License-Identifier: MIT
//
// vfork() and clone(): a child that runs in this process's memory is known to be possible.
#include <sched.h>
#include <stdarg.h>
#include <stdint.h>

#include "preload/hook.h"
#include "steer/self.h"

/* Where preload/vfork.S has no hook for this machine, each process may have such a child. */
#if !(defined __x86_64__ || defined __i386__ || defined __aarch64__)
__attribute__((constructor)) static void lend_always(void)
{
  self_lend();
}
#endif

typedef void any_function(void);

/* Two words, as a function returns them in registers. */
#if __SIZEOF_POINTER__ == 4
typedef uint64_t two_words;
#define TWO_WORDS(first, second)                                                                   \
  ((uint64_t)(uintptr_t)(second) << 32 | (uint32_t)(uintptr_t)(first))
#else
typedef struct {
  uintptr_t first, second;
} two_words;
#define TWO_WORDS(first, second) ((two_words){(uintptr_t)(first), (uintptr_t)(second)})
#endif

/* The calls of vfork() that have not returned in their parent, the outermost first: a child may call
 * it again, and be killed before that call has returned. Each of these processes has the number of
 * its call in a register, which is its own while the memory is not. Calls that are nested deeper
 * take the place of the last. */
#define NESTED 8
static _Thread_local struct {
  uintptr_t to;    /* where the call returns to */
  uintptr_t saved; /* what the register held */
} calls[NESTED];
static _Thread_local unsigned nested;

/* Called by vfork(), which goes on at the first word that this returns, with the second, the number
 * of the call, in the register. */
__attribute__((used, visibility("hidden"))) two_words vfork_begin(uintptr_t to, uintptr_t saved);
two_words vfork_begin(uintptr_t to, uintptr_t saved)
{
  if (!self_is_vforked()) /* what a child of fork() has inherited is its parent's */
    nested = 0;
  unsigned number = nested < NESTED ? nested++ : NESTED - 1;
  calls[number].to = to;
  calls[number].saved = saved;
  self_vfork(true);
  return TWO_WORDS(real()->vfork, number);
}

/* Called with what the real one returned, which is 0 in the child. Returns where to go on, and what
 * the register held. */
__attribute__((used, visibility("hidden"))) two_words vfork_end(int child, uintptr_t number);
two_words vfork_end(int child, uintptr_t number)
{
  if (child) {
    nested = (unsigned)number;
    if (!nested)
      self_vfork(false);
  }
  return TWO_WORDS(calls[number].to, calls[number].saved);
}

/* Its own declaration, in <sched.h>, is variadic. */
typedef int child_function(void *argument);
typedef int clone_function(child_function *, void *, int, void *, void *, void *, void *);

HOOK int clone(child_function *function, void *stack, int flags, void *argument, ...)
{
  clone_function *next = (clone_function *)(any_function *)real()->clone;
  va_list rest;
  void *more[3];
  va_start(rest, argument);
  for (unsigned i = 0; i < 3; i++)
    more[i] = va_arg(rest, void *); /* as many as the kernel might look at */
  va_end(rest);
  if ((flags & CLONE_VM) && !(flags & CLONE_THREAD))
    self_lend();
  return next(function, stack, flags, argument, more[0], more[1], more[2]);
}
