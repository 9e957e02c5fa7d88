// SPDX-License-Identifier: MIT
//
// prctl() and syscall(), of which the filters of seccomp(2) are installed: by libseccomp too, which
// has no other way (there is no function of libc's for it).
#include <assert.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "gate/gate.h"
#include "preload/hook.h"
#include "steer/seal.h"
#include "steer/self.h"

#define OPTION_SET_SECCOMP 22     /* PR_SET_SECCOMP of <linux/prctl.h> */
#define MODE_STRICT 1             /* SECCOMP_MODE_STRICT */
#define FLAG_TSYNC 1              /* SECCOMP_FILTER_FLAG_TSYNC */
#define FLAG_TSYNC_ESRCH (1 << 4) /* by which TSYNC's failure is an error, since Linux 5.7 */

/* Their own declarations, in headers that are not included here, are variadic. */
HOOK int prctl(int option, long a, long b, long c, long d);
#if !((defined __x86_64__ && !defined __ILP32__) || defined __i386__)
HOOK long syscall(long number, long a, long b, long c, long d, long e, long f);
#endif

typedef int prctl_function(int option, long a, long b, long c, long d);
typedef long syscall_function(long number, long a, long b, long c, long d, long e, long f);

static prctl_function *prctl_of(const struct real *functions)
{
  return (prctl_function *)(void (*)(void))functions->prctl;
}

static syscall_function *syscall_of(const struct real *functions)
{
  return (syscall_function *)(void (*)(void))functions->syscall;
}

static const struct real *found(void)
{
  return atomic_load_explicit(&real_found, memory_order_acquire);
}

/* A thread that could not be synchronized is an answer above 0 (seccomp(2)). */
static bool is_installed(long result, bool positive_is_failure)
{
  return positive_is_failure ? result == 0 : result >= 0;
}

static __attribute__((noinline)) int seal_by_prctl(int option, long mode, long filter, long c,
                                                   long d)
{
  prctl_function *next = prctl_of(init());
  if (mode != MODE_STRICT && !filter)
    return next(option, mode, filter, c, d); /* which the kernel answers by EFAULT */
  struct gate_filter *kept = seal_begin(mode == MODE_STRICT ? NULL : (const void *)filter);
  int result = next(option, mode, filter, c, d);
  if (!is_installed(result, false))
    seal_failed(kept);
  return result;
}

HOOK int prctl(int option, long a, long b, long c, long d)
{
  if (option == OPTION_SET_SECCOMP)
    return seal_by_prctl(option, a, b, c, d);
  if (!found())
    return (int)gate_make(SYS_prctl, option, a, b, c, d, 0);
  return prctl_of(found())(option, a, b, c, d);
}

/* seccomp(2) has no function of its own; libseccomp calls it with a NULL filter to look what the
 * kernel knows. */
static __attribute__((noinline)) long seal_by_syscall(long operation, long flags, long filter)
{
  syscall_function *next = syscall_of(init());
  if (operation == SECCOMP_SET_MODE_FILTER && !filter)
    return next(SYS_seccomp, operation, flags, filter, 0, 0, 0);
  struct gate_filter *kept = seal_begin(
      operation == SECCOMP_SET_MODE_STRICT ? NULL : (const void *)filter);
  if (kept && (flags & FLAG_TSYNC))
    gate_wait();
  long result = next(SYS_seccomp, operation, flags, filter, 0, 0, 0);
  if (!is_installed(result, (flags & FLAG_TSYNC) && !(flags & FLAG_TSYNC_ESRCH)))
    seal_failed(kept);
  return result;
}

/* What preload/syscall.S hands on: of the calls below, none has more arguments. */
__attribute__((used, visibility("hidden"))) long syscall_look(long number, long a, long b, long c,
                                                              long d, long e);
long syscall_look(long number, long a, long b, long c, long d, long e)
{
  switch (number) {
  case SYS_seccomp:
    if (a == SECCOMP_SET_MODE_FILTER || a == SECCOMP_SET_MODE_STRICT)
      return seal_by_syscall(a, b, c);
    break;
  case SYS_prctl:
    if (a == OPTION_SET_SECCOMP)
      return seal_by_prctl((int)a, b, c, d, e);
    break;
  case SYS_clone: /* its flags come first on these machines */
    if ((a & CLONE_VM) && !(a & CLONE_THREAD))
      self_lend();
    break;
  default: self_lend(); break;
  }
  return syscall_of(real())(number, a, b, c, d, e, 0);
}

#if defined __x86_64__ && !defined __ILP32__
static_assert(offsetof(struct real, syscall) == 0, "preload/syscall.S takes it from there");
#elif defined __i386__
/* Where libc's was not found yet, the call as it is. */
__attribute__((used, visibility("hidden"))) syscall_function *syscall_next(void);
syscall_function *syscall_next(void)
{
  return found() ? syscall_of(found()) : gate_make;
}
#else
/* All arguments are in registers (AAPCS64), so that C will do. */
HOOK long syscall(long number, long a, long b, long c, long d, long e, long f)
{
  switch (number) {
  case SYS_seccomp:
  case SYS_prctl:
  case SYS_clone:
  case SYS_clone3: return syscall_look(number, a, b, c, d, e);
  default:
    return found() ? syscall_of(found())(number, a, b, c, d, e, f)
                   : gate_make(number, a, b, c, d, e, f);
  }
}
#endif
