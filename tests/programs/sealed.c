// SPDX-License-Identifier: MIT
//
// sealed WHERE PORT CALL... [-- UID]: connects, binds, listens and sends in each way that there is,
// after it has locked itself in: but for its own system calls and the named ones, any is its end
// (SIGSYS). 127.0.0.1:PORT listens, PORT + 1 has a listener whose queue is full, PORT + 2 nobody.
//
// WHERE: main, thread, fork, fork-thread, twice (a grandchild), exit-thread (which calls exit()),
// clone, setuid. CALL "0" for none; "-CALL" fails with EPERM in place of it.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMES(NAME)                                                                                \
  NAME(bind)                                                                                       \
  NAME(close)                                                                                      \
  NAME(connect)                                                                                    \
  NAME(getpid)                                                                                     \
  NAME(getsockname)                                                                                \
  NAME(getsockopt)                                                                                 \
  NAME(gettid)                                                                                     \
  NAME(mmap)                                                                                       \
  NAME(munmap)                                                                                     \
  NAME(openat)                                                                                     \
  NAME(prlimit64)                                                                                  \
  NAME(read)                                                                                       \
  NAME(recvfrom)                                                                                   \
  NAME(sendto)                                                                                     \
  NAME(setsockopt)                                                                                 \
  NAME(socket)

static const struct {
  const char *name;
  unsigned number;
} names[] = {
#define NAME(call) {#call, __NR_##call},
    NAMES(NAME)
#undef NAME
};

/* What the steps below make themselves, and the end of a process or a thread. */
static const unsigned own[] = {
    __NR_socket,     __NR_connect,         __NR_bind,        __NR_listen, __NR_sendto,
    __NR_sendmsg,    __NR_sendmmsg,        __NR_dup,         __NR_write,  __NR_close,
    __NR_exit_group, __NR_restart_syscall, __NR_rt_sigreturn};

static struct sock_filter filter[128];
static unsigned short lines;
static int port;

static void say(const char *what)
{
  if (write(1, what, strlen(what)) < 0)
    _exit(4);
}

static void must(int ok, const char *what)
{
  if (ok)
    return;
  say(what);
  say(": failed\n");
  _exit(3);
}

static void add(struct sock_filter line)
{
  must(lines < sizeof filter / sizeof *filter, "a filter of this size");
  filter[lines++] = line;
}

static void answer(unsigned number, unsigned with)
{
  add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
  add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, with));
}

static void answer_name(const char *name)
{
  int refuse = name[0] == '-';
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(names[i].name, name + refuse) == 0) {
      answer(names[i].number, refuse ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_ALLOW);
      return;
    }
  must(strcmp(name, "0") == 0, name);
}

static void make_filter(char **calls)
{
  add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
  for (; *calls && strcmp(*calls, "--") != 0; calls++)
    answer_name(*calls);
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    answer(own[i], SECCOMP_RET_ALLOW);
  add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
}

static void seal(void)
{
  struct sock_fprog program = {lines, filter};
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0,
       "seccomp");
}

/* --- what is done behind the seal ------------------------------------------------------------ */

static int slow[2];      /* sockets whose connects end after 20 ms */
static void *unreadable; /* a page */

static struct sockaddr_in to(int p)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)p)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

static void prepare(void)
{
  const struct timeval soon = {.tv_usec = 20000};
  for (int i = 0; i < 2; i++) {
    slow[i] = socket(AF_INET, SOCK_STREAM, 0);
    must(setsockopt(slow[i], SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon) == 0, "SO_SNDTIMEO");
  }
  unreadable = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(unreadable != MAP_FAILED, "mmap");
}

static int fails(int result, int error)
{
  return result == -1 && errno == error;
}

static void streams(void)
{
  struct sockaddr_in open = to(port), full = to(port + 1), closed = to(port + 2);
  struct sockaddr *address = (struct sockaddr *)&open;
  struct sockaddr_un nowhere = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/socket"};
  int fd = socket(AF_INET, SOCK_STREAM, 0), unseen = dup(socket(AF_INET, SOCK_STREAM, 0));
  must(connect(fd, unreadable, sizeof open) && errno == EFAULT, "connect, unreadable");
  must(connect(fd, address, 3) && errno == EINVAL, "connect, too short");
  must(connect(fd, address, sizeof open) == 0, "connect");
  must(fails(connect(fd, address, sizeof open), EISCONN), "connect, again");
  must(connect(unseen, address, sizeof open) == 0, "connect, unseen");
  fd = socket(AF_INET, SOCK_STREAM, 0);
  must(fails(connect(fd, (struct sockaddr *)&closed, sizeof closed), ECONNREFUSED), "refused");
  must(fails(connect(fd, (struct sockaddr *)&closed, sizeof closed), ECONNREFUSED), "and again");
  for (int i = 0; i < 2; i++) {
    must(fails(connect(slow[i], (struct sockaddr *)&full, sizeof full), EINPROGRESS), "slow");
    must(fails(connect(slow[i], (struct sockaddr *)&full, sizeof full), EALREADY), "slow, again");
  }
  fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  must(fails(connect(fd, address, sizeof open), EINPROGRESS), "connect, not waiting");
  connect(fd, address, sizeof open);
  fd = socket(AF_INET, SOCK_STREAM, 0);
  must(sendto(fd, "x", 1, MSG_FASTOPEN, address, sizeof open) == 1, "fast open");
  must(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&nowhere, sizeof nowhere),
       "unix");
  must(fails(connect(1000, address, sizeof open), EBADF), "no descriptor");
}

static void listeners(void)
{
  struct sockaddr_in any = to(0), taken = to(port);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  must(fails(bind(fd, (struct sockaddr *)&taken, sizeof taken), EADDRINUSE), "bind, in use");
  must(fails(bind(fd, unreadable, sizeof any), EFAULT), "bind, unreadable");
  must(bind(fd, (struct sockaddr *)&any, sizeof any) == 0, "bind");
  must(listen(fd, 1) == 0, "listen");
  must(listen(socket(AF_INET, SOCK_STREAM, 0), 1) == 0, "listen, unbound");
}

static void datagrams(void)
{
  struct sockaddr_in peer = to(port);
  struct sockaddr *address = (struct sockaddr *)&peer;
  char x[] = "x";
  struct iovec v = {x, 1};
  struct msghdr m = {.msg_name = &peer, .msg_namelen = sizeof peer, .msg_iov = &v, .msg_iovlen = 1};
  struct mmsghdr two[2] = {{.msg_hdr = m}, {.msg_hdr = m}};
  must(connect(socket(AF_INET, SOCK_DGRAM, 0), address, sizeof peer) == 0, "udp");
  must(sendto(socket(AF_INET, SOCK_DGRAM, 0), x, 1, 0, address, sizeof peer) == 1, "sendto");
  must(sendmsg(socket(AF_INET, SOCK_DGRAM, 0), &m, 0) == 1, "sendmsg");
  must(sendmmsg(socket(AF_INET, SOCK_DGRAM, 0), two, 2, 0) == 2, "sendmmsg");
  must(sendto(dup(socket(AF_INET, SOCK_DGRAM, 0)), x, 1, 0, address, sizeof peer) == 1, "unseen");
  must(fails((int)sendmsg(socket(AF_INET, SOCK_DGRAM, 0), unreadable, 0), EFAULT), "sendmsg, bad");
}

static void sealed(void)
{
  seal();
  streams();
  listeners();
  datagrams();
  say("done\n");
}

/* --- where ----------------------------------------------------------------------------------- */

static void *in_thread(void *exits)
{
  sealed();
  if (exits)
    exit(0);
  _exit(0);
}

static void thread(int exits)
{
  pthread_t t;
  must(pthread_create(&t, NULL, in_thread, exits ? &t : NULL) == 0, "pthread_create");
  for (;;)
    pause();
}

static void wait_for(pid_t child)
{
  int status = 0;
  must(child > 0 && waitpid(child, &status, 0) == child, "fork");
  if (WIFSIGNALED(status))
    raise(WTERMSIG(status));
  _exit(WEXITSTATUS(status));
}

static void in_child(pid_t child)
{
  if (child)
    wait_for(child);
}

static void become(int uid)
{
  must(setgid((gid_t)uid) == 0 && setuid((uid_t)uid) == 0, "setuid");
}

int main(int argc, char **argv)
{
  if (argc < 4)
    return 2;
  const char *where = argv[1];
  port = atoi(argv[2]);
  make_filter(argv + 3);
  prepare();
  if (strcmp(where, "thread") == 0)
    thread(0);
  if (strcmp(where, "exit-thread") == 0)
    thread(1);
  if (strcmp(where, "fork") == 0 || strcmp(where, "fork-thread") == 0)
    in_child(fork());
  if (strcmp(where, "fork-thread") == 0)
    thread(0);
  if (strcmp(where, "twice") == 0) {
    in_child(fork());
    in_child(fork());
  }
  if (strcmp(where, "clone") == 0)
    in_child((pid_t)syscall(__NR_clone, SIGCHLD, NULL, NULL, NULL, NULL));
  if (strcmp(where, "setuid") == 0) {
    in_child(fork());
    become(atoi(argv[argc - 1]));
  }
  sealed();
  return 0;
}
