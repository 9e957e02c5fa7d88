// SPDX-License-Identifier: MIT
//
// tree PORT: a tree of 200 processes, made by fork, a raw clone, vfork, posix_spawn and execve,
// by processes with threads and with a signal handler that connects. All connect to
// 127.0.0.1:PORT. Each image of a process prints "PID PARENT ROLE CALLS" before it ends, CALLS
// being the connects that it made, those of its vfork children included.
//
// `tree PORT ROLE` is one that was executed; `tree PORT lender` is none of them, but one whose
// vfork child connects before it does.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;
static char *port;
static const char *role;
static struct sockaddr_in server;
static _Atomic int calls;

static void fail(const char *what)
{
  perror(what);
  kill(getpid(), SIGABRT);
}

/* Signal-safe, as all that the children of a process with threads do. */
static void connect_once(void)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server))
    fail("connect");
  atomic_fetch_add(&calls, 1);
  close(fd);
}

static void connect_times(int n)
{
  while (n-- > 0)
    connect_once();
}

static void say(void)
{
  char line[128];
  int n = snprintf(line, sizeof line, "%d %d %s %d\n", (int)getpid(), (int)getppid(), role,
                   atomic_load(&calls));
  if (write(1, line, (size_t)n) != n)
    fail("write");
}

/* The child of a fork has made no calls yet. */
static void begin(const char *name)
{
  role = name;
  atomic_store(&calls, 0);
}

static void become(const char *next)
{
  char *argv[] = {"tree", port, (char *)(size_t)next, NULL};
  execve("/proc/self/exe", argv, environ);
  fail("execve");
}

/* --- what a process does besides ------------------------------------------------------------- */

static void *connect_in_thread(void *times)
{
  connect_times((int)(size_t)times);
  return NULL;
}

static void run_threads(int n)
{
  pthread_t threads[8];
  for (int i = 0; i < n; i++)
    if (pthread_create(&threads[i], NULL, connect_in_thread, (void *)(size_t)5))
      fail("pthread_create");
  connect_times(3);
  for (int i = 0; i < n; i++)
    pthread_join(threads[i], NULL);
}

static _Atomic int handled;

static void connect_in_handler(int number)
{
  (void)number;
  if (atomic_fetch_add(&handled, 1) < 20)
    connect_once();
}

/* Connects, interrupted by a handler that does: 20 times if there is time enough, and at the
 * least once. */
static void run_with_signals(void)
{
  struct sigaction action = {.sa_handler = connect_in_handler, .sa_flags = SA_RESTART};
  struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &often, NULL);
  connect_times(60);
  while (!atomic_load(&handled))
    pause();
  setitimer(ITIMER_REAL, &never, NULL);
  signal(SIGALRM, SIG_IGN);
}

/* --- the ways to make a process -------------------------------------------------------------- */

static void wait_for_all(void)
{
  while (wait(NULL) > 0)
    ;
}

static void forked(int i)
{
  begin("forked");
  connect_times(1 + i % 3);
  if (i % 4 == 0 && fork() == 0) {
    begin("grandchild");
    connect_times(2);
    say();
    _exit(0);
  }
  if (i % 4 == 1) {
    begin("killed");
    atomic_store(&calls, 1 + i % 3);
    say();
    kill(getpid(), SIGKILL);
  }
  say();
  if (i % 4 == 2) {
    wait_for_all();
    exit(0); /* with its handlers: the others end by _exit() */
  }
  wait_for_all();
  _exit(0);
}

static void cloned(void)
{
  begin("cloned");
  connect_times(2);
  say();
  _exit(0);
}

static void idle(void)
{
  begin("idle");
  say();
  _exit(0);
}

static void replacing(void)
{
  begin("replacing");
  connect_times(2);
  say();
  become("replacement");
}

static pid_t raw_clone(void)
{
  return (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, NULL, NULL, NULL, NULL);
}

/* The child connects in its parent's memory, then becomes another image. */
static void vfork_one(void)
{
  static char *argv[] = {"tree", NULL, "vforked", NULL};
  argv[1] = port;
  pid_t child = vfork();
  if (child == 0) {
    connect_once();
    execve("/proc/self/exe", argv, environ);
    _exit(127);
  }
  if (child < 0)
    fail("vfork");
}

/* ... or ends. */
static void vfork_and_exit(void)
{
  pid_t child = vfork();
  if (child == 0) {
    connect_once();
    _exit(0);
  }
}

static void spawn_one(void)
{
  char *argv[] = {"tree", port, "spawned", NULL};
  pid_t child;
  if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ))
    fail("posix_spawn");
}

/* 1 root, 64 forked, 16 grandchildren, 17 cloned, 16 replaced, 35 vforked, 35 spawned, 8 idle,
 * 8 vforked that end: 200. */
static void root(void)
{
  pthread_t beside;
  run_threads(4);
  if (pthread_create(&beside, NULL, connect_in_thread, (void *)(size_t)100))
    fail("pthread_create");
  for (int i = 0; i < 64; i++)
    if (fork() == 0)
      forked(i);
  for (int i = 0; i < 17; i++) {
    if (raw_clone() == 0)
      cloned();
    if (i > 0 && fork() == 0)
      replacing();
  }
  for (int i = 0; i < 35; i++) {
    vfork_one();
    spawn_one();
  }
  for (int i = 0; i < 8; i++) {
    if (fork() == 0)
      idle();
    vfork_and_exit();
  }
  run_with_signals();
  pthread_join(beside, NULL);
  wait_for_all();
  say();
}

/* The first connect of a process is made by its vfork child. */
static void lend(void)
{
  vfork_and_exit();
  wait_for_all();
  connect_once();
}

/* Made by execve: threads and signals again, in processes that nobody prepared. */
static void executed(void)
{
  if (strcmp(role, "lender") == 0)
    lend();
  else if (strcmp(role, "spawned") == 0)
    run_with_signals();
  else if (strcmp(role, "vforked") == 0)
    run_threads(2);
  else
    connect_times(4);
  say();
}

int main(int argc, char **argv)
{
  if (argc < 2)
    return 2;
  port = argv[1];
  server.sin_family = AF_INET;
  server.sin_port = htons((unsigned short)atoi(port));
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  role = argc > 2 ? argv[2] : "root";
  if (argc > 2)
    executed();
  else
    root();
  return 0;
}
