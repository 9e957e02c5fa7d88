// SPDX-License-Identifier: MIT
//
// nested PORT: connects to 127.0.0.1:PORT, while the handlers of three timers connect, bind and send,
// in the middle of it and of one another's calls. They have a stack of their own with room for what
// the kernel puts there, half a kilobyte of theirs, and the four that a hook may need; below it is
// none. Prints how many calls there were, once the handlers were three deep.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CALLS 400
#define DEPTH 3
#define OWN (512 + 4096)
#define PAGE 65536 /* or less */
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static const int signals[DEPTH] = {SIGALRM, SIGUSR1, SIGUSR2};
static timer_t timers[DEPTH];
static atomic_int depth, deepest, calls;
static struct sockaddr_in server, any_port;

static void check(int right, const char *what)
{
  if (right)
    return;
  perror(what);
  _exit(1);
}

static void connect_once(void)
{
  const struct linger now = {1, 0};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  check(connect(fd, (const struct sockaddr *)&server, sizeof server) == 0, "connect");
  atomic_fetch_add(&calls, 1);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(fd);
}

static void bind_and_send(void)
{
  int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
  check(bind(tcp, (const struct sockaddr *)&any_port, sizeof any_port) == 0, "bind");
  check(sendto(udp, "x", 1, 0, (const struct sockaddr *)&server, sizeof server) == 1, "sendto");
  atomic_fetch_add(&calls, 2);
  close(tcp);
  close(udp);
}

static void arm_one(int i, int microseconds)
{
  struct itimerspec when = {.it_value.tv_nsec = 1000 * (microseconds % 200 + 1)};
  timer_settime(timers[i], 0, &when, NULL);
}

/* On a slow machine all three timers have expired before the first handler runs: until they were three
 * deep each arms the others again, so that they come in the middle of its calls. */
static void handle(int number)
{
  int error = errno, now = atomic_fetch_add(&depth, 1) + 1;
  if (now > atomic_load(&deepest))
    atomic_fetch_add(&deepest, 1);
  for (int i = 0; i < DEPTH && atomic_load(&deepest) < DEPTH; i++)
    if (signals[i] != number)
      arm_one(i, 7 * atomic_load(&calls));
  connect_once();
  bind_and_send();
  atomic_fetch_sub(&depth, 1);
  errno = error;
}

static char *small_stack(size_t *size)
{
  size_t frame = getauxval(AT_MINSIGSTKSZ) ? getauxval(AT_MINSIGSTKSZ) : MINSIGSTKSZ;
  *size = DEPTH * (frame + OWN);
  size_t room = (*size + PAGE - 1) / PAGE * PAGE;
  char *low = mmap(NULL, PAGE + room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (low == MAP_FAILED || mprotect(low + PAGE, room, PROT_READ | PROT_WRITE))
    return NULL;
  return low + PAGE; /* at its low end, so that what goes below the stack faults */
}

static void make_timers(void)
{
  for (int i = 0; i < DEPTH; i++) {
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART | SA_ONSTACK};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signals[i]};
    check(sigaction(signals[i], &action, NULL) == 0, "sigaction");
    check(timer_create(CLOCK_MONOTONIC, &event, &timers[i]) == 0, "timer_create");
  }
}

/* Once each, a little later than the one before: what is armed again by itself could leave the
 * program no time on a slow machine. */
static void arm(int microseconds)
{
  for (int i = 0; i < DEPTH; i++)
    arm_one(i, microseconds * (i + 1));
}

int main(int argc, char **argv)
{
  stack_t stack = {0};
  server = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "9"))};
  any_port = server;
  any_port.sin_port = 0;
  connect_once(); /* what binds lazily, and the recording, has the large stack */
  bind_and_send();
  stack.ss_sp = small_stack(&stack.ss_size);
  check(stack.ss_sp && sigaltstack(&stack, NULL) == 0, "sigaltstack");
  make_timers();
  for (int i = 0; i < CALLS || atomic_load(&deepest) < DEPTH; i++) {
    arm(i % 100);
    connect_once();
  }
  for (int i = 0; i < DEPTH; i++)
    signal(signals[i], SIG_IGN);
  printf("%d\n", atomic_load(&calls));
  return 0;
}
