// SPDX-License-Identifier: MIT
//
// vfork() and clone(): a child that runs in this process's memory is known to be possible.
#include <sched.h>
#include <stdarg.h>

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

/* Where vfork() returns to, in the child and then in the parent. */
static _Thread_local void *back;

/* Called by vfork() with that address; it goes on at what this returns. */
__attribute__((used, visibility("hidden"))) any_function *vfork_begin(void *from);
any_function *vfork_begin(void *from)
{
  back = from;
  self_vfork(true);
  return (any_function *)real()->vfork;
}

/* Called with what the real one returned: 0 in the child. */
__attribute__((used, visibility("hidden"))) void *vfork_end(int child);
void *vfork_end(int child)
{
  if (child)
    self_vfork(false);
  return back;
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
