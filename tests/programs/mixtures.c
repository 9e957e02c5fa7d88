// SPDX-License-Identifier: MIT
//
// mixtures HOW PORT: two that share what libc thinks is one's own, and connect to 127.0.0.1:PORT at
// the same time, or in each other's way. Prints "ok" if every call ended as it should. HOW is
//
//   memory       a process of the same memory, with a stack of its own (CLONE_VM)
//   thread       a thread that libc knows nothing of (CLONE_THREAD): with main()'s errno, too
//   descriptors  a process that puts other sockets where its parent has some (CLONE_FILES)
//   handler      children that a signal handler forks in the middle of the program's connects
//   exec         a thread that is not the main one executes this program
#include <arpa/inet.h>
#include <errno.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS 200
#define FORKS 40
#define STACK (256 * 1024)

static struct sockaddr_in server;
static char **arguments;
static atomic_int wrong;

static void check(int right, const char *what)
{
  if (right)
    return;
  atomic_fetch_add(&wrong, 1);
  perror(what);
}

/* Closed by a reset, which leaves the port to the next one. */
static void reset(int fd)
{
  const struct linger now = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(fd);
}

static int connect_to(int fd)
{
  return connect(fd, (const struct sockaddr *)&server, sizeof server);
}

static void connect_once(void)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0), result;
  while ((result = connect_to(fd)) && errno == EINTR)
    check(0, "connect"); /* SA_RESTART says that there is none */
  check(result == 0, "connect");
  reset(fd);
}

static int connect_often(void *unused)
{
  (void)unused;
  for (int i = 0; i < CALLS; i++)
    connect_once();
  return 0;
}

static char *new_stack(void)
{
  char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK,
                     -1, 0);
  return stack == MAP_FAILED ? NULL : stack + STACK;
}

static void wait_for(pid_t child)
{
  int status = -1;
  check(waitpid(child, &status, 0) == child && status == 0, "a child's status");
}

static void share_memory(void)
{
  pid_t child = clone(connect_often, new_stack(), CLONE_VM | SIGCHLD, NULL);
  connect_often(NULL);
  wait_for(child);
}

static void share_thread(void)
{
  static int alive = 1; /* the kernel clears it, and wakes who waits */
  const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                    CLONE_SYSVSEM | CLONE_CHILD_CLEARTID;
  pid_t thread = clone(connect_often, new_stack(), flags, NULL, NULL, NULL, &alive);
  check(thread > 0, "clone");
  connect_often(NULL);
  while (__atomic_load_n(&alive, __ATOMIC_ACQUIRE))
    syscall(SYS_futex, &alive, FUTEX_WAIT, 1, NULL, NULL, 0);
}

/* --- descriptors ----------------------------------------------------------------------------- */

static const struct kind {
  int domain, type;
} kinds[] = {
    {AF_INET, SOCK_STREAM}, {AF_INET, SOCK_DGRAM}, {AF_UNIX, SOCK_STREAM}, {AF_INET6, SOCK_STREAM}};
#define KINDS (sizeof kinds / sizeof *kinds)
static int fds[KINDS][KINDS];

static int of_kind(size_t i)
{
  return socket(kinds[i].domain, kinds[i].type, 0);
}

/* Puts a socket of each kind where the parent has made one of another. */
static int replace(void *unused)
{
  (void)unused;
  for (size_t was = 0; was < KINDS; was++)
    for (size_t is = 0; is < KINDS; is++) {
      int fd = of_kind(is);
      if (dup2(fd, fds[was][is]) < 0)
        return 1;
      close(fd);
    }
  return 0;
}

static void share_descriptors(void)
{
  for (size_t was = 0; was < KINDS; was++)
    for (size_t is = 0; is < KINDS; is++)
      fds[was][is] = of_kind(was);
  wait_for(clone(replace, new_stack(), CLONE_FILES | SIGCHLD, NULL));
  for (size_t was = 0; was < KINDS; was++)
    for (size_t is = 0; is < KINDS; is++) {
      errno = 77;
      int result = connect_to(fds[was][is]);
      printf("%zu for %zu: %d %d\n", is, was, result, errno);
      reset(fds[was][is]);
    }
}

/* --- signals and exec ------------------------------------------------------------------------ */

static atomic_int forks;

static void fork_and_connect(int number)
{
  int error = errno;
  (void)number;
  if (atomic_load(&forks) >= FORKS)
    return;
  atomic_fetch_add(&forks, 1);
  pid_t child = fork();
  if (child == 0) {
    connect_once();
    _exit(atomic_load(&wrong) != 0);
  }
  wait_for(child);
  errno = error;
}

static void fork_in_handler(void)
{
  const struct sigaction action = {.sa_handler = fork_and_connect, .sa_flags = SA_RESTART};
  const struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &often, NULL);
  connect_often(NULL);
  while (atomic_load(&forks) < FORKS)
    usleep(1000);
  setitimer(ITIMER_REAL, &never, NULL);
}

static void *execute(void *unused)
{
  static char after[] = "executed";
  char *argv[] = {arguments[0], after, arguments[2], NULL};
  connect_often(NULL);
  execv("/proc/self/exe", argv);
  perror("execv");
  return unused;
}

static void exec_in_thread(void)
{
  pthread_t thread;
  connect_often(NULL);
  pthread_create(&thread, NULL, execute, NULL);
  pthread_join(thread, NULL);
  check(0, "exec");
}

static void connect_alone(void)
{
  connect_often(NULL);
}

int main(int argc, char **argv)
{
  static const struct {
    const char *name;
    void (*run)(void);
  } ways[] = {{"memory", share_memory},           {"thread", share_thread},
              {"descriptors", share_descriptors}, {"handler", fork_in_handler},
              {"exec", exec_in_thread},           {"executed", connect_alone}};
  if (argc < 3)
    return 2;
  arguments = argv;
  server = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)atoi(argv[2]))};
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
    if (strcmp(argv[1], ways[i].name) == 0)
      ways[i].run();
  if (!atomic_load(&wrong))
    puts("ok");
  return atomic_load(&wrong) != 0;
}
