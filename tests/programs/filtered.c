// SPDX-License-Identifier: MIT
//
// filtered names
// filtered steps PORT
// filtered all PORT ACTION WAY FOLLOW [CALL...]
// filtered within 0 ACTION WAY FOLLOW CALL COMMAND [ARGUMENT...]
//
// "steps" connects, binds, listens and sends, and says how each call ended. 127.0.0.1:PORT is to
// listen. "all" makes the steps behind a seccomp filter that forbids one system call: for each CALL
// in a process of its own, with a line for what it said and how it ended. Without a CALL it takes
// those that libberth.so can make, which "names" prints. "within" executes a command behind the
// filter. CALL is a name of these, or a number. "setsockopt:1=0:2=51" forbids it only where the
// arguments 1 and 2, counted from 0, have these values. "getsockname?7" forbids it where the 7th of
// many calculations says so, and a child that tries it says whether it does.
//
// ACTION, what the filter does: kill (the process), kill-thread, trap, handled (a trap, with a
// handler of SIGSYS that returns), eperm, enosys, trace, notify, allow.
// WAY, how it is installed: prctl, seccomp (by syscall()), prctl-syscall, tsync (by a thread, for
// all), libseccomp, nested (between two others), listener (with a supervisor, who says * when a
// call is notified), failing (not at all: each call fails), strict (SECCOMP_MODE_STRICT), unseen (by
// a system call that is not made by libc), none.
// FOLLOW, where the steps are made: direct, early (with sockets that were made before the filter, of
// which one was connected), fork, clone (the system call), thread, apart (in a thread that installs
// it for itself, then in another), vfork (a child that ends, and one that executes "steps"),
// exec, spawn (posix_spawn), guarded (in the parent of a vfork child that installs the filter), ends
// (nowhere: the process ends, in strict mode by the system call).
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define NAMES(NAME)                                                                                \
  NAME(bind)                                                                                       \
  NAME(clock_gettime)                                                                              \
  NAME(close)                                                                                      \
  NAME(connect)                                                                                    \
  NAME(fallocate)                                                                                  \
  NAME(fcntl)                                                                                      \
  NAME(fstat)                                                                                      \
  NAME(fstatfs)                                                                                    \
  NAME(futex)                                                                                      \
  NAME(getcwd)                                                                                     \
  NAME(getdents64)                                                                                 \
  NAME(geteuid)                                                                                    \
  NAME(getpeername)                                                                                \
  NAME(getpid)                                                                                     \
  NAME(getppid)                                                                                    \
  NAME(getrandom)                                                                                  \
  NAME(getsockname)                                                                                \
  NAME(getsockopt)                                                                                 \
  NAME(gettid)                                                                                     \
  NAME(kcmp)                                                                                       \
  NAME(lseek)                                                                                      \
  NAME(madvise)                                                                                    \
  NAME(mkdirat)                                                                                    \
  NAME(mmap)                                                                                       \
  NAME(munmap)                                                                                     \
  NAME(nanosleep)                                                                                  \
  NAME(newfstatat)                                                                                 \
  NAME(openat)                                                                                     \
  NAME(ppoll)                                                                                      \
  NAME(prctl)                                                                                      \
  NAME(prlimit64)                                                                                  \
  NAME(pwritev2)                                                                                   \
  NAME(read)                                                                                       \
  NAME(readlinkat)                                                                                 \
  NAME(recvfrom)                                                                                   \
  NAME(rt_sigpending)                                                                              \
  NAME(rt_sigprocmask)                                                                             \
  NAME(rt_sigtimedwait)                                                                            \
  NAME(sendto)                                                                                     \
  NAME(setsockopt)                                                                                 \
  NAME(socket)                                                                                     \
  NAME(statx)                                                                                      \
  NAME(unlinkat)                                                                                   \
  NAME(write)

static struct {
  char name[24];
  unsigned number;
} names[] = {
#define NAME(call) {#call, __NR_##call},
    NAMES(NAME)
#undef NAME
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct {
  const char *name;
  unsigned answer;
} actions[] = {{"kill", SECCOMP_RET_KILL_PROCESS},   {"kill-thread", SECCOMP_RET_KILL_THREAD},
               {"trap", SECCOMP_RET_TRAP},           {"handled", SECCOMP_RET_TRAP},
               {"eperm", SECCOMP_RET_ERRNO | EPERM}, {"enosys", SECCOMP_RET_ERRNO | ENOSYS},
               {"trace", SECCOMP_RET_TRACE},         {"notify", SECCOMP_RET_USER_NOTIF},
               {"allow", SECCOMP_RET_ALLOW}};

static char *self, *port_text, *action, *way, *follow;
static unsigned number, forbids;
static struct sock_filter lines[128];
static struct sock_fprog filter = {0, lines};

static void say(const char *what)
{
  if (write(1, what, strlen(what)) < 0)
    return; /* a filter forbids it: the program goes on */
}

static void must(int ok, const char *what)
{
  if (ok)
    return;
  say(what);
  say(": failed\n");
  _exit(3);
}

/* --- the steps ------------------------------------------------------------------------------- */

enum {
  STREAM,
  LATER,
  DATAGRAM,
  SENDS,
  SENDS_MESSAGE,
  SENDS_MESSAGES,
  REFUSED,
  BOUND,
  LISTENS,
  LOCAL,
  SOCKETS
};

static int sockets[SOCKETS], pair[2], unseen;
static int made;

static struct sockaddr_in to(int port)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

static void make_sockets(void)
{
  static const int types[SOCKETS] = {
      [STREAM] = SOCK_STREAM,       [LATER] = SOCK_STREAM | SOCK_NONBLOCK,
      [DATAGRAM] = SOCK_DGRAM,      [SENDS] = SOCK_DGRAM,
      [SENDS_MESSAGE] = SOCK_DGRAM, [SENDS_MESSAGES] = SOCK_DGRAM,
      [REFUSED] = SOCK_STREAM,      [BOUND] = SOCK_STREAM,
      [LISTENS] = SOCK_STREAM,      [LOCAL] = SOCK_STREAM};
  for (int i = 0; i < SOCKETS; i++)
    sockets[i] = socket(i == LOCAL ? AF_UNIX : AF_INET, types[i], 0);
  unseen = dup(socket(AF_INET, SOCK_STREAM, 0));
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
    pair[0] = pair[1] = -1;
  made = 1;
}

/* Says "WHAT", or "WHAT!ERRNO" of a step that failed, or "WHAT?" where a success changed errno. */
static void step(const char *what, long result)
{
  char text[64];
  if (result < 0)
    snprintf(text, sizeof text, "%s!%d ", what, errno);
  else
    snprintf(text, sizeof text, errno ? "%s? " : "%s ", what);
  say(text);
  errno = 0;
}

static void streams(struct sockaddr_in *peer)
{
  struct sockaddr_in nobody = to(1), any = to(0);
  struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/socket"};
  errno = 0;
  step("connect", connect(sockets[STREAM], (struct sockaddr *)peer, sizeof *peer));
  step("unseen", connect(unseen, (struct sockaddr *)peer, sizeof *peer));
  step("later", connect(sockets[LATER], (struct sockaddr *)peer, sizeof *peer));
  connect(sockets[LATER], (struct sockaddr *)peer, sizeof *peer); /* done, or not yet */
  step("bad", connect(sockets[REFUSED], (void *)16, sizeof *peer));
  step("refused", connect(sockets[REFUSED], (struct sockaddr *)&nobody, sizeof nobody));
  step("refused", connect(sockets[REFUSED], (struct sockaddr *)&nobody, sizeof nobody));
  step("local", connect(sockets[LOCAL], (struct sockaddr *)&nowhere, sizeof nowhere));
  step("bind", bind(sockets[BOUND], (struct sockaddr *)&any, sizeof any));
  step("bound", connect(sockets[BOUND], (struct sockaddr *)peer, sizeof *peer));
  step("listen", listen(sockets[LISTENS], 1));
}

static void datagrams(struct sockaddr_in *peer)
{
  char x[] = "x";
  struct iovec v = {x, 1};
  struct msghdr m = {.msg_name = peer, .msg_namelen = sizeof *peer, .msg_iov = &v, .msg_iovlen = 1};
  struct mmsghdr two[2] = {{.msg_hdr = m}, {.msg_hdr = m}};
  struct msghdr plain = {.msg_iov = &v, .msg_iovlen = 1};
  struct sockaddr none = {.sa_family = AF_UNSPEC};
  errno = 0;
  step("pair", sendmsg(pair[0], &plain, 0));
  step("udp", connect(sockets[DATAGRAM], (struct sockaddr *)peer, sizeof *peer));
  step("unspec", connect(sockets[DATAGRAM], &none, sizeof none));
  step("udp", connect(sockets[DATAGRAM], (struct sockaddr *)peer, sizeof *peer));
  step("sendmsg", sendmsg(sockets[SENDS_MESSAGE], &m, 0));
  step("sendmmsg", sendmmsg(sockets[SENDS_MESSAGES], two, 2, 0));
  step("sendto", sendto(sockets[SENDS], x, 1, 0, (struct sockaddr *)peer, sizeof *peer));
}

static void steps(void)
{
  struct sockaddr_in peer = to(atoi(port_text));
  if (!made)
    make_sockets();
  datagrams(&peer);
  streams(&peer);
  for (int i = 0; i < SOCKETS; i++)
    close(sockets[i]);
  made = 0;
}

/* --- the filter ------------------------------------------------------------------------------ */

static void line(struct sock_filter l)
{
  must(filter.len < COUNT(lines), "a filter of this size");
  lines[filter.len++] = l;
}

/* Where this word of the call has another value, the filter allows it: its last line. */
static void test(size_t offset, unsigned value)
{
  line((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset));
  line((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 0));
}

static unsigned seed;
static int calculated;

static unsigned drawn(unsigned below)
{
  seed = seed * 1103515245 + 12345;
  return (seed >> 16) % below;
}

/* A line that the kernel accepts: of seccomp's instructions, with K or X, forward by little. */
static struct sock_filter drawn_line(void)
{
  static const unsigned short alu[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR,
                                       BPF_AND, BPF_XOR, BPF_LSH, BPF_RSH},
                              jumps[] = {BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET},
                              loads[] = {BPF_LD | BPF_IMM,
                                         BPF_LD | BPF_MEM,
                                         BPF_LDX | BPF_IMM,
                                         BPF_LDX | BPF_MEM,
                                         BPF_ST,
                                         BPF_STX,
                                         BPF_MISC | BPF_TAX,
                                         BPF_MISC | BPF_TXA,
                                         BPF_ALU | BPF_NEG,
                                         BPF_LD | BPF_W | BPF_LEN,
                                         BPF_LDX | BPF_W | BPF_LEN,
                                         BPF_LD | BPF_W | BPF_ABS};
  unsigned short source = drawn(2) ? BPF_X : BPF_K, code;
  unsigned k = drawn(2) ? drawn(64) : (drawn(0x8000) << 17 | drawn(0x8000) << 2 | drawn(4));
  switch (drawn(3)) {
  case 0:
    code = alu[drawn(COUNT(alu))];
    if (code == BPF_LSH || code == BPF_RSH)
      k %= 32;
    if (code == BPF_DIV && !k)
      k = 3;
    return (struct sock_filter)BPF_STMT((unsigned short)(BPF_ALU | code | source),
                                        source == BPF_X ? 0 : k);
  case 1:
    code = jumps[drawn(COUNT(jumps))];
    return (struct sock_filter)BPF_JUMP((unsigned short)(BPF_JMP | code | source),
                                        source == BPF_X ? 0 : k, (unsigned char)drawn(4),
                                        (unsigned char)drawn(4));
  default:
    code = loads[drawn(COUNT(loads))];
    if (code == (BPF_LD | BPF_W | BPF_ABS))
      k = 4 * drawn(2); /* the call's number, or the architecture */
    else if (code != (BPF_LD | BPF_IMM) && code != (BPF_LDX | BPF_IMM))
      k %= 4; /* of M */
    return (struct sock_filter)BPF_STMT(code, k);
  }
}

/* Calculates something with A, X and M; goes on where its lowest bit is set. */
static void calculate(void)
{
  for (unsigned i = 0; i < 4; i++)
    line((struct sock_filter)BPF_STMT(BPF_ST, i));
  for (unsigned i = 0; i < 40; i++)
    line(drawn_line());
  for (unsigned i = 0; i < 3; i++) /* where its last jumps may lead to */
    line((struct sock_filter)BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, i));
  line((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 1));
}

static void make_filter(char *call)
{
  char *more = call + strcspn(call, ":?");
  number = (unsigned)strtoul(call, NULL, 10);
  for (size_t i = 0; i < COUNT(names); i++)
    if (strncmp(names[i].name, call, (size_t)(more - call)) == 0 && !names[i].name[more - call])
      number = names[i].number;
  for (size_t i = 0; i < COUNT(actions); i++)
    if (strcmp(actions[i].name, action) == 0)
      forbids = actions[i].answer;
  test(offsetof(struct seccomp_data, nr), number);
  for (; *more == ':'; more += strcspn(more, ":")) {
    size_t argument = strtoul(more + 1, &more, 10);
    unsigned value = (unsigned)strtoul(more + 1, &more, 0);
    test(offsetof(struct seccomp_data, args) + 8 * argument, value); /* its lower half */
  }
  unsigned tests = filter.len;
  if (*more == '?') {
    seed = (unsigned)strtoul(more + 1, NULL, 10);
    calculated = 1;
    calculate();
  }
  line((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, forbids));
  line((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  for (unsigned i = 1; i < tests; i += 2)
    lines[i].jf = (unsigned char)(filter.len - 2 - i);
}

static void handle(int signal)
{
  (void)signal;
  say("handled ");
}

static long seccomp(unsigned flags, const struct sock_fprog *program)
{
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);
}

/* A system call that no function of libc makes. */
static long seccomp_unseen(void)
{
  long result;
#if defined __x86_64__
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(SYS_seccomp), "D"(SECCOMP_SET_MODE_FILTER), "S"(0), "d"(&filter)
                   : "rcx", "r11", "memory");
#elif defined __aarch64__
  register long x8 __asm__("x8") = SYS_seccomp, x0 __asm__("x0") = SECCOMP_SET_MODE_FILTER,
                   x1 __asm__("x1") = 0, x2 __asm__("x2") = (long)&filter;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
  result = x0;
#else
  result = seccomp(0, &filter);
#endif
  return result;
}

static atomic_long synced = -1;
static atomic_int created; /* pthread_create() returned, which makes calls of its own */
static pthread_t first;

/* The thread stays, since its end would be calls of its own, of which the filter may forbid one. It
   ends the process where the filter killed the main thread. */
static void *sync_filter(void *nothing)
{
  while (!created)
    sched_yield();
  synced = seccomp(SECCOMP_FILTER_FLAG_TSYNC, &filter);
  while (forbids != SECCOMP_RET_KILL_THREAD)
    pause();
  while (pthread_tryjoin_np(first, NULL) == EBUSY)
    sched_yield();
  _exit(4);
  return nothing;
}

static long by_thread(void)
{
  pthread_t t;
  first = pthread_self();
  must(pthread_create(&t, NULL, sync_filter, NULL) == 0, "pthread_create");
  created = 1;
  while (synced < 0)
    sched_yield();
  return synced;
}

static long by_libseccomp(void)
{
  void *library = dlopen("libseccomp.so.2", RTLD_NOW);
  if (!library) {
    say("no libseccomp\n");
    _exit(3);
  }
  void *(*init)(uint32_t) = (void *(*)(uint32_t))dlsym(library, "seccomp_init");
  int (*add)(void *, uint32_t, int, unsigned, ...) = (int (*)(
      void *, uint32_t, int, unsigned, ...))dlsym(library, "seccomp_rule_add");
  int (*load)(void *) = (int (*)(void *))dlsym(library, "seccomp_load");
  must(init && add && load, "libseccomp");

  void *context = init(SECCOMP_RET_ALLOW);
  must(context && add(context, forbids, (int)number, 0) == 0, "seccomp_rule_add");
  return load(context);
}

static atomic_int listener = -1;

static void *supervise(void *nothing)
{
  while (listener < 0)
    sched_yield();
  for (;;) {
    struct seccomp_notif asked = {0};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked))
      continue;
    struct seccomp_notif_resp answer = {.id = asked.id, .error = -EPERM};
    say("* ");
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
  }
  return nothing;
}

static long by_supervisor(void)
{
  pthread_t t;
  must(pthread_create(&t, NULL, supervise, NULL) == 0, "pthread_create");
  long fd = seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
  must(fd >= 0, "a listener");
  listener = (int)fd;
  return 0;
}

static long nested(void)
{
  static struct sock_filter allows[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  static const struct sock_fprog outer = {1, allows};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &outer) | seccomp(0, &filter) |
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &outer);
}

static void *other_filter(void *done)
{
  static struct sock_filter allows[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  static const struct sock_fprog other = {1, allows};
  *(atomic_long *)done = seccomp(0, &other);
  for (;;)
    pause();
  return NULL;
}

/* None of these installs anything. */
static long failing(void)
{
  static atomic_long other = -1;
  struct sock_filter wrong[] = {BPF_STMT(0xffff, 0)};
  struct sock_filter endless[] = {lines[0]};
  void *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(page != MAP_FAILED && munmap((char *)page + 4096, 4096) == 0, "mmap");
  struct sock_fprog *straddling = (void *)((char *)page + 4096 - 8);
  memcpy(straddling, &(struct sock_fprog){4, NULL}, 8);
  int installed = 0;
#define FAILS(call) installed |= (call) == 0
  FAILS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL));
  FAILS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 16));
  FAILS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, straddling));
  FAILS(prctl(PR_SET_SECCOMP, 77, &filter));
  FAILS(seccomp(0, (const struct sock_fprog *)16));
  FAILS(seccomp(0x4000, &filter));
  FAILS(seccomp(0, &(struct sock_fprog){4, (struct sock_filter *)16}));
  FAILS(seccomp(0, &(struct sock_fprog){4, (struct sock_filter *)((char *)page + 4096 - 16)}));
  FAILS(seccomp(0, &(struct sock_fprog){0, lines}));
  FAILS(seccomp(0, &(struct sock_fprog){65535, lines}));
  FAILS(seccomp(0, &(struct sock_fprog){1, wrong}));
  FAILS(seccomp(0, &(struct sock_fprog){1, endless}));
  FAILS(syscall(SYS_seccomp, 77, 0, &filter));
  pthread_t t;
  must(pthread_create(&t, NULL, other_filter, &other) == 0, "pthread_create");
  while (other < 0)
    sched_yield();
  FAILS(seccomp(SECCOMP_FILTER_FLAG_TSYNC, &filter)); /* the other thread's id: nothing was done */
#undef FAILS
  errno = 0;
  return installed;
}

static long install(void)
{
  static const struct {
    const char *way;
    long (*install)(void);
  } ways[] = {{"tsync", by_thread}, {"libseccomp", by_libseccomp},
              {"nested", nested},   {"listener", by_supervisor},
              {"failing", failing}, {"unseen", seccomp_unseen}};
  struct sigaction handles = {.sa_handler = handle};
  if (strcmp(action, "handled") == 0)
    must(sigaction(SIGSYS, &handles, NULL) == 0, "sigaction");
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  for (size_t i = 0; i < COUNT(ways); i++)
    if (strcmp(way, ways[i].way) == 0)
      return ways[i].install();
  if (strcmp(way, "prctl") == 0)
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
  if (strcmp(way, "prctl-syscall") == 0)
    return syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0);
  if (strcmp(way, "seccomp") == 0)
    return seccomp(0, &filter);
  if (strcmp(way, "strict") == 0)
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
  return strcmp(way, "none");
}

/* --- where ----------------------------------------------------------------------------------- */

static void say_end(const char *whose, int status)
{
  char text[64];
  if (WIFSIGNALED(status))
    snprintf(text, sizeof text, "%s signal %d ", whose, WTERMSIG(status));
  else
    snprintf(text, sizeof text, "%s status %d ", whose, WEXITSTATUS(status));
  say(text);
}

static void wait_for(pid_t child)
{
  int status;
  if (child < 0)
    say("no child ");
  else if (waitpid(child, &status, 0) == child)
    say_end("child", status);
  else
    say("no wait ");
}

static void in_child(pid_t child)
{
  if (child)
    wait_for(child);
}

static void *in_thread(void *nothing)
{
  steps();
  _exit(0);
  return nothing;
}

/* The thread ends the process, unless it is killed. */
static void in_a_thread(void)
{
  pthread_t t;
  must(pthread_create(&t, NULL, in_thread, NULL) == 0, "pthread_create");
  while (pthread_tryjoin_np(t, NULL) == EBUSY)
    sched_yield();
  say("its end ");
}

static void end(void)
{
  say("lives ");
  if (strcmp(way, "strict") == 0)
    syscall(SYS_exit, 7);
  _exit(7);
}

/* For itself: it stays, as sync_filter() does. */
static atomic_int apart_done;

static void *filtered_thread(void *nothing)
{
  must(install() == 0, "the filter");
  steps();
  apart_done = 1;
  for (;;)
    pause();
  return nothing;
}

static void apart(void)
{
  pthread_t t;
  must(pthread_create(&t, NULL, filtered_thread, NULL) == 0, "pthread_create");
  while (!apart_done && pthread_tryjoin_np(t, NULL) == EBUSY)
    sched_yield();
  say("main ");
}

/* Says whether the filter forbids the call. */
static void try_it(void)
{
  int status = 0;
  pid_t child = fork();
  if (child == 0) {
    syscall(number, -1, 0, 0, 0, 0, 0);
    _exit(0);
  }
  must(waitpid(child, &status, 0) == child, "wait");
  say(WIFSIGNALED(status) ? "forbidden " : "allowed ");
}

static void guarded(void)
{
  pid_t child = vfork();
  if (child == 0)
    _exit(install() == 0 ? 0 : 3);
  wait_for(child);
}

static void forbidden(void)
{
  static char steps_word[] = "steps";
  char *execute[] = {self, steps_word, port_text, NULL};
  pid_t child = -1;
  if (strcmp(follow, "early") == 0 || strcmp(follow, "ends") == 0) {
    struct sockaddr_in peer = to(atoi(port_text));
    make_sockets();
    must(connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&peer, sizeof peer) == 0, "connect");
  }
  if (strcmp(follow, "guarded") == 0)
    guarded();
  else if (strcmp(follow, "apart") == 0)
    apart();
  else
    must(install() == 0, "the filter");
  if (calculated)
    try_it();
  if (strcmp(follow, "ends") == 0)
    end();
  if (strcmp(follow, "fork") == 0)
    in_child(fork());
  else if (strcmp(follow, "clone") == 0)
    in_child((pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL));
  else if (strcmp(follow, "thread") == 0)
    in_a_thread();
  else if (strcmp(follow, "exec") == 0) {
    execv(self, execute);
    _exit(5);
  } else if (strcmp(follow, "spawn") == 0) {
    posix_spawn(&child, self, NULL, NULL, execute, environ);
    wait_for(child);
  } else if (strcmp(follow, "vfork") == 0) {
    if ((child = vfork()) == 0)
      _exit(6);
    wait_for(child);
    if ((child = vfork()) == 0) {
      execv(self, execute);
      _exit(5);
    }
    wait_for(child);
  }
  steps();
}

static void try_one(char *call)
{
  static char word[] = "one";
  int status;
  say(call);
  say(": ");
  pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    char *one[] = {self, word, port_text, action, way, follow, call, NULL};
    execv(self, one);
    _exit(5);
  }
  must(waitpid(child, &status, 0) == child, "wait");
  while (wait(NULL) > 0) /* what it left: PR_SET_CHILD_SUBREAPER */
    ;
  say_end("", status);
  say("\n");
}

int main(int argc, char **argv)
{
  const char *what = argc > 1 ? argv[1] : "";
  self = argv[0];
  if (strcmp(what, "names") == 0)
    for (size_t i = 0; i < COUNT(names); i++)
      puts(names[i].name);
  if (argc < 3)
    return 0;
  port_text = argv[2];
  if (strcmp(what, "steps") == 0)
    steps();
  if (argc < 6)
    return 0;
  action = argv[3];
  way = argv[4];
  follow = argv[5];
  if (strcmp(what, "within") == 0) {
    make_filter(argv[6]);
    must(install() == 0, "the filter");
    execvp(argv[7], argv + 7);
    return 5;
  }
  if (strcmp(what, "one") == 0) {
    make_filter(argv[6]);
    forbidden();
    return 0;
  }
  must(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, "subreaper");
  for (int i = 6; i < argc; i++)
    try_one(argv[i]);
  for (size_t i = 0; argc == 6 && i < COUNT(names); i++)
    try_one(names[i].name);
  return 0;
}
