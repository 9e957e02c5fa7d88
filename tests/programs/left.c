// SPDX-License-Identifier: MIT
//
// left cancel|asynchronous|jump PORT: connects that never return. Twenty threads, one after the
// other, block in a connect() to PORT of 127.0.1.1, 127.0.1.2 and so on, where the queue is full,
// and leave it: cancelled, or by siglongjmp() out of a signal handler. Says what that has left in
// the process, pages and descriptors, and of the last socket what SO_REUSEADDR is, which was set,
// and how another connect() on it ends.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALLS 20

static sigjmp_buf out;
static int jumps, asynchronous, last = -1;
static in_port_t port;
static atomic_int caller;

static void leave(int number)
{
  (void)number;
  siglongjmp(out, 1);
}

static struct sockaddr_in peer(int i)
{
  return (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port = port,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (1 << 8) + (unsigned)i)};
}

static void *block(void *number)
{
  const int on = 1;
  const struct sockaddr_in to = peer((int)(size_t)number);
  close(last);
  last = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(last, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (asynchronous)
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
  if (jumps && sigsetjmp(out, 1))
    return NULL;
  atomic_store(&caller, (int)syscall(SYS_gettid));
  connect(last, (const struct sockaddr *)&to, sizeof to);
  perror("connect() returned");
  exit(1);
}

/* Whether the thread sleeps in this system call: proc(5), /proc/pid/syscall. */
static int is_in(int thread, long call)
{
  char path[64], text[64] = "";
  snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  close(fd);
  return n > 0 && text[0] != 'r' && atol(text) == call;
}

static void call_and_leave(int i)
{
  pthread_t thread;
  atomic_store(&caller, 0);
  if (pthread_create(&thread, NULL, block, (void *)(size_t)i))
    exit(2);
  while (!is_in(atomic_load(&caller), SYS_connect))
    usleep(1000);
  if (jumps)
    pthread_kill(thread, SIGUSR1);
  else
    pthread_cancel(thread);
  pthread_join(thread, NULL);
}

static long pages(void)
{
  char text[32] = "";
  int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (read(fd, text, sizeof text - 1) < 0)
    exit(2);
  close(fd);
  return atol(text);
}

static int descriptors(void)
{
  int count = 0;
  for (int fd = 0; fd < 1024; fd++)
    count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

static int reuse(void)
{
  int value = -1;
  socklen_t size = sizeof value;
  getsockopt(last, SOL_SOCKET, SO_REUSEADDR, &value, &size);
  return value != 0;
}

static const char *again(int i)
{
  const struct sockaddr_in to = peer(i);
  fcntl(last, F_SETFL, O_NONBLOCK);
  int result = connect(last, (const struct sockaddr *)&to, sizeof to);
  return result == 0 ? "ok" : errno == EALREADY ? "EALREADY" : strerror(errno);
}

int main(int argc, char **argv)
{
  const struct sigaction action = {.sa_handler = leave};
  if (argc < 3 || sigaction(SIGUSR1, &action, NULL))
    return 2;
  jumps = strcmp(argv[1], "jump") == 0;
  asynchronous = strcmp(argv[1], "asynchronous") == 0;
  port = htons((uint16_t)atoi(argv[2]));
  call_and_leave(1); /* the first maps a stack, and what unwinds it */
  long pages_before = pages();
  int before = descriptors();
  for (int i = 2; i <= CALLS; i++)
    call_and_leave(i);
  printf("pages %ld descriptors %d reuse ", pages() - pages_before, descriptors() - before);
  printf("%d again ", reuse());
  puts(again(CALLS));
  return 0;
}
