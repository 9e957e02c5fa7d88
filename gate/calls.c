// SPDX-License-Identifier: MIT
#include "gate/calls.h"

#include <assert.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#if defined __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined __i386__
#define ARCHITECTURE AUDIT_ARCH_I386
#elif defined __aarch64__ && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined __arm__
#define ARCHITECTURE AUDIT_ARCH_ARM
#elif defined __riscv && __riscv_xlen == 64
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#elif defined __s390x__
#define ARCHITECTURE AUDIT_ARCH_S390X
#elif defined __powerpc64__ && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCHITECTURE AUDIT_ARCH_PPC64LE
#else
#define ARCHITECTURE 0 /* a filter that looks at it then lets nothing of ours pass */
#endif

/* Where the call comes from: known where gate/raw.S makes it. */
#if (defined __x86_64__ && !defined __ILP32__) || defined __i386__ || defined __aarch64__
extern const char gate_after_call[] __attribute__((visibility("hidden")));
#define AFTER_CALL ((uint64_t)(uintptr_t)gate_after_call)
#else
#define AFTER_CALL UINT64_C(0)
#endif

#ifdef SYS_geteuid32
#define CALL_geteuid SYS_geteuid32
#else
#define CALL_geteuid SYS_geteuid
#endif
#ifdef SYS_fstatfs64
#define CALL_fstatfs SYS_fstatfs64
#else
#define CALL_fstatfs SYS_fstatfs
#endif
#ifdef SYS_newfstatat
#define CALL_fstatat SYS_newfstatat
#else
#define CALL_fstatat SYS_fstatat64
#endif

#define ANY_FD 5
#define LOADS (CALL_LOADER | CALL_LEAST)
#define MAKES CALL_RECORDS
enum { NONE, FIRST, SECOND, THIRD = 4 }; /* arguments that tell it from others of its number */

static const struct shape {
  int number;
  uint8_t flags, told_by;
  int32_t a[6];
} shapes[] = {
    {SYS_getsockname, CALL_LEAST, NONE, {ANY_FD}},
    {SYS_getsockopt, CALL_LEAST, SECOND | THIRD, {ANY_FD, SOL_SOCKET, -1}}, /* memory_ask() */
    {SYS_getsockopt, CALL_LEAST, SECOND, {ANY_FD, SOL_SOCKET, SO_PROTOCOL}},
    {SYS_getsockopt, CALL_LEAST, SECOND, {ANY_FD, IPPROTO_TCP, 11}},
    {SYS_getsockopt, CALL_LEAST, SECOND, {ANY_FD, 284, 3}}, /* SOL_MPTCP: steer/stray.c */
    {SYS_getsockopt, CALL_LEAST, NONE, {ANY_FD, IPPROTO_IP, 24}},
    {SYS_setsockopt, CALL_LEAST, SECOND | THIRD, {ANY_FD, IPPROTO_IP, 51, 0, 4}},
    {SYS_setsockopt, CALL_LEAST, SECOND | THIRD, {ANY_FD, IPPROTO_IP, 24, 0, 4}},
    {SYS_setsockopt, CALL_LEAST, SECOND | THIRD, {ANY_FD, SOL_SOCKET, SO_REUSEADDR, 0, 4}},
    {SYS_setsockopt, CALL_LEAST, NONE, {ANY_FD, SOL_SOCKET, 62, 0, 4}},
    {SYS_bind, CALL_LEAST, NONE, {ANY_FD, 0, 16}},
    {SYS_socket, CALL_LEAST, FIRST, {AF_INET, SOCK_DGRAM | SOCK_CLOEXEC}},
    {SYS_socket, CALL_LEAST, FIRST, {AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC}},
    {SYS_socket, CALL_LEAST, FIRST, {AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 4}},
    {SYS_connect, CALL_LEAST, NONE, {ANY_FD, 0, 16}},
    {SYS_sendto, CALL_LEAST, NONE, {ANY_FD, 0, 72, MSG_DONTWAIT | MSG_NOSIGNAL}},
    {SYS_recvfrom, CALL_LEAST, NONE, {ANY_FD, 0, 1024, MSG_DONTWAIT}},
    {SYS_openat, LOADS, THIRD, {AT_FDCWD, 0, O_RDONLY | O_CLOEXEC}},
    {SYS_openat, LOADS | MAKES, NONE, {ANY_FD, 0, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600}},
    {SYS_read, LOADS, NONE, {ANY_FD, 0, 1024}},
    {SYS_close, LOADS, NONE, {ANY_FD}},
    {CALL_mmap, LOADS | MAKES, NONE, {0, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, ANY_FD}},
    {SYS_munmap, LOADS, NONE, {0, 65536}},
    {CALL_fstatat, LOADS | MAKES, NONE, {ANY_FD}},
    {SYS_statx, MAKES, NONE, {ANY_FD}},
    {SYS_clock_gettime, CALL_LEAST, NONE, {CLOCK_REALTIME}},
#ifdef SYS_clock_gettime64
    {SYS_clock_gettime64, CALL_LEAST, NONE, {CLOCK_REALTIME}},
#endif
    {SYS_write, CALL_LEAST, NONE, {2, 0, 80}},
    {SYS_mkdirat, MAKES, NONE, {AT_FDCWD, 0, 0700}},
    {SYS_unlinkat, MAKES, NONE, {ANY_FD}},
    {SYS_readlinkat, MAKES, NONE, {AT_FDCWD, 0, 0, 48}},
    {SYS_fallocate, MAKES, NONE, {ANY_FD}},
    {SYS_prlimit64, MAKES, NONE, {0, 1}},
    {CALL_fstatfs, MAKES, NONE, {ANY_FD}},
    {SYS_lseek, MAKES, NONE, {ANY_FD}},
    {SYS_getdents64, MAKES, NONE, {ANY_FD}},
    {CALL_geteuid, MAKES, NONE, {0}},
    {SYS_fcntl, MAKES, SECOND, {ANY_FD, F_SETLEASE}},
    {SYS_fcntl, MAKES, SECOND, {ANY_FD, F_SETSIG, SIGURG}},
    {SYS_fcntl, 0, SECOND, {ANY_FD, F_DUPFD_CLOEXEC, 1024}},
    {SYS_fcntl, 0, NONE, {2, F_GETFL}},
    {SYS_madvise, 0, NONE, {0, 4096, 18}},
    {SYS_getpid, 0, NONE, {0}},
    {SYS_getppid, 0, NONE, {0}},
    {SYS_gettid, 0, NONE, {0}},
    {SYS_kcmp, 0, NONE, {0}},
    {SYS_rt_sigprocmask, MAKES, NONE, {SIG_SETMASK, 0, 0, 8}},
    {SYS_rt_sigpending, 0, NONE, {0}},
    {SYS_rt_sigtimedwait, 0, NONE, {0}},
    {SYS_getcwd, 0, NONE, {0}},
    {SYS_nanosleep, 0, NONE, {0}},
    {SYS_getrandom, 0, NONE, {0, 16, 1}},
    {SYS_pwritev2, 0, NONE, {2}},
    {SYS_ppoll, 0, NONE, {0}},
};
#define SHAPES (sizeof shapes / sizeof *shapes)
static_assert(SHAPES <= CALLS_MOST, "a bit each");

unsigned calls_count(void)
{
  return SHAPES;
}

/* On a machine of 32 bits the kernel hands arguments on without their sign. */
struct seccomp_data calls_data(long number, long a, long b, long c, long d, long e, long f)
{
  return (struct seccomp_data){
      .nr = (int)number,
      .arch = ARCHITECTURE,
      .instruction_pointer = AFTER_CALL,
      .args = {(unsigned long)a, (unsigned long)b, (unsigned long)c, (unsigned long)d,
               (unsigned long)e, (unsigned long)f},
  };
}

struct seccomp_data calls_shape(unsigned number)
{
  const struct shape *s = &shapes[number];
  return calls_data(s->number, s->a[0], s->a[1], s->a[2], s->a[3], s->a[4], s->a[5]);
}

unsigned calls_flags(unsigned number)
{
  return shapes[number].flags;
}

unsigned calls_flags_of(long system_call)
{
  unsigned flags = 0;
  for (unsigned i = 0; i < SHAPES; i++)
    if (shapes[i].number == system_call)
      flags |= shapes[i].flags;
  return flags;
}

static bool is_of(const struct shape *s, const struct seccomp_data *call)
{
  if (s->number != call->nr)
    return false;
  for (unsigned i = 0; i < 3; i++)
    if (s->told_by >> i & 1 && (uint32_t)call->args[i] != (uint32_t)s->a[i])
      return false;
  return true;
}

bool calls_refused(uint64_t map, const struct seccomp_data *call)
{
  bool refused = false, known = false;
  for (unsigned i = 0; i < SHAPES; i++) {
    if (shapes[i].number != call->nr)
      continue;
    if (is_of(&shapes[i], call))
      return map >> i & 1;
    refused |= map >> i & 1;
    known = true;
  }
  return refused || !known;
}

/* FNV-1a, over what a map's bits are about. */
uint32_t calls_tag(void)
{
  uint32_t hash = 2166136261u ^ ARCHITECTURE;
  for (unsigned i = 0; i < SHAPES; i++) {
    hash = (hash ^ (uint32_t)shapes[i].number) * 16777619u;
    hash = (hash ^ shapes[i].told_by) * 16777619u;
    for (unsigned k = 0; k < 6; k++)
      hash = (hash ^ (uint32_t)shapes[i].a[k]) * 16777619u;
  }
  return hash;
}
