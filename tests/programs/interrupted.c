// SPDX-License-Identifier: MIT
//
// interrupted restart|eintr PORT ROUNDS: connects while a signal handler, on a small stack of its own,
// connects, binds and sends too, 300 us after the last. Prints how many calls were made:
// "connects C binds B sends S handled H jumps J", the handler's and the program's together.
//
// interrupted jump PORT ROUNDS: likewise, and the handler leaves by siglongjmp().
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define SMALL_STACK 16384

static struct sockaddr_in server, nobody, any_port;
static atomic_int connects, binds, sends, handled, jumps; /* the handler's ++ amid the program's */
static sigjmp_buf out;
static volatile sig_atomic_t may_jump;

static void say_and_end(const char *what)
{
  perror(what);
  _exit(1);
}

static void connect_to(const struct sockaddr_in *to, int flags)
{
  int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
  if (fd < 0)
    say_and_end("socket");
  errno = 0;
  int result = connect(fd, (const struct sockaddr *)to, sizeof *to), error = errno;
  if (result && error != EINTR && error != EINPROGRESS && error != ECONNREFUSED)
    say_and_end("connect");
  connects++;
  struct linger reset = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(fd);
}

/* Once, and again after each signal, so that the program gets on however slow the handler is. */
static void set_timer(int microseconds)
{
  struct itimerval once = {.it_value.tv_usec = microseconds};
  setitimer(ITIMER_REAL, &once, NULL);
}

static void handler(int number)
{
  int saved = errno;
  (void)number;
  connect_to(&server, SOCK_NONBLOCK);
  int fd = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
  binds += bind(fd, (struct sockaddr *)&any_port, sizeof any_port) == 0;
  sends += sendto(udp, "x", 1, 0, (struct sockaddr *)&nobody, sizeof nobody) == 1;
  close(fd);
  close(udp);
  handled++;
  set_timer(300);
  errno = saved;
  if (may_jump)
    siglongjmp(out, 1);
}

static void set_handler(int flags)
{
  static char stack[SMALL_STACK];
  stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags | SA_ONSTACK};
  if (sigaltstack(&own, NULL) || sigaction(SIGALRM, &action, NULL))
    say_and_end("sigaction");
}

int main(int argc, char **argv)
{
  if (argc < 4)
    return 2;
  int rounds = atoi(argv[3]), jumping = strcmp(argv[1], "jump") == 0;
  server = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)atoi(argv[2]))};
  nobody = any_port = server;
  nobody.sin_port = htons(9);
  any_port.sin_port = 0;
  set_handler(strcmp(argv[1], "restart") == 0 ? SA_RESTART : 0);
  sigset_t alarms;
  sigemptyset(&alarms);
  sigaddset(&alarms, SIGALRM);
  set_timer(300);
  for (volatile int i = 0; i < rounds || (jumping && !jumps); i++) {
    if (!jumping || !sigsetjmp(out, 0)) {
      may_jump = jumping;
      connect_to(&server, 0);
      connect_to(&nobody, 0);
      may_jump = 0;
    } else {
      may_jump = 0;
      jumps++;
      /* Here, and not by siglongjmp(), which would let the next one in on the handler's stack. */
      sigprocmask(SIG_UNBLOCK, &alarms, NULL);
    }
  }
  set_timer(0);
  printf("connects %d binds %d sends %d handled %d jumps %d\n", connects, binds, sends, handled,
         jumps);
  return 0;
}
