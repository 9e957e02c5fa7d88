// SPDX-License-Identifier: MIT
//
// served FIRST COUNT SECONDS COMMAND [ARGUMENT]... : for each number from FIRST on, runs COMMAND with
// each @ among its arguments replaced by the number, in a network namespace of its own, beside
// servers and strangers who hold ports. After what COMMAND printed, a line says how it ended. One
// that takes longer than SECONDS is killed.
//
// Servers: TCP 9001 (0.0.0.0), 9002 (:: alone), UDP 9003 and 9004 likewise, TCP 9005 of 127.0.0.1,
// which answers no SYN, MPTCP 9007. Nobody has 9006. Strangers have every third port from 20000 to
// 20099 and from 41000 to 41099, each in another way. 192.0.2.1 is an address of lo, too.
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROTOCOL_MPTCP 262 /* IPPROTO_MPTCP, newer than some headers */

static void fail(const char *what)
{
  fprintf(stderr, "served: %s: %s\n", what, strerror(errno));
  _exit(125);
}

static void set_up_loopback(void)
{
  struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  struct ifreq more = {.ifr_name = "lo:1"};
  struct sockaddr_in address = {.sin_family = AF_INET};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  inet_pton(AF_INET, "192.0.2.1", &address.sin_addr);
  memcpy(&more.ifr_addr, &address, sizeof address);
  if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &up) || ioctl(fd, SIOCSIFADDR, &more))
    fail("lo");
  close(fd);
}

static int bound(int domain, int type, int protocol, const char *address, unsigned port, int shared)
{
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  const int on = 1;
  int fd = socket(domain, type | SOCK_CLOEXEC, protocol);
  if (domain == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (shared)
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  inet_pton(domain, address, domain == AF_INET ? (void *)&in.sin_addr : (void *)&in6.sin6_addr);
  if (fd < 0 || bind(fd, domain == AF_INET ? (void *)&in : (void *)&in6,
                     domain == AF_INET ? sizeof in : sizeof in6))
    fail("bind");
  return fd;
}

static void connect_to(int fd, unsigned port)
{
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof in))
    fail("connect");
}

static void serve(void)
{
  listen(bound(AF_INET, SOCK_STREAM, 0, "0.0.0.0", 9001, 0), 200);
  listen(bound(AF_INET6, SOCK_STREAM, 0, "::", 9002, 0), 200);
  bound(AF_INET, SOCK_DGRAM, 0, "0.0.0.0", 9003, 0);
  bound(AF_INET6, SOCK_DGRAM, 0, "::", 9004, 0);
  listen(bound(AF_INET, SOCK_STREAM, 0, "127.0.0.1", 9005, 0), 0);
  connect_to(bound(AF_INET, SOCK_STREAM, 0, "127.0.0.1", 9999, 0), 9005);
  int mptcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, PROTOCOL_MPTCP);
  if (mptcp >= 0) {
    close(mptcp);
    listen(bound(AF_INET, SOCK_STREAM, PROTOCOL_MPTCP, "0.0.0.0", 9007, 0), 200);
  }
}

static void hold(unsigned port)
{
  switch (port % 5) {
  case 0: listen(bound(AF_INET, SOCK_STREAM, 0, "0.0.0.0", port, 0), 1); break;
  case 1: bound(AF_INET, SOCK_STREAM, 0, "127.0.0.1", port, 1); break;
  case 2: connect_to(bound(AF_INET, SOCK_STREAM, 0, "127.0.0.1", port, 1), 9001); break;
  case 3: bound(AF_INET, SOCK_DGRAM, 0, "0.0.0.0", port, 0); break;
  case 4: bound(AF_INET6, SOCK_STREAM, 0, "::1", port, 0); break;
  }
}

static void hold_all(void)
{
  for (unsigned port = 0; port < 100; port += 3) {
    hold(20000 + port);
    hold(41000 + port);
  }
}

/* What it starts, and leaves behind, is of its group. */
static void run(char **command, char *number, unsigned seconds)
{
  sigset_t wanted;
  const struct timespec limit = {.tv_sec = seconds};
  int status = 0;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGCHLD);
  sigprocmask(SIG_BLOCK, &wanted, NULL);
  pid_t child = fork();
  if (child == 0) {
    setpgid(0, 0);
    sigprocmask(SIG_UNBLOCK, &wanted, NULL);
    for (char **word = command; *word; word++)
      if (!strcmp(*word, "@"))
        *word = number;
    execvp(*command, command);
    fail(*command);
  }
  setpgid(child, child);
  int in_time = sigtimedwait(&wanted, NULL, &limit) == SIGCHLD;
  kill(-child, SIGKILL);
  waitpid(child, &status, 0);
  while (waitpid(-1, NULL, 0) > 0) /* as its subreaper */
    ;
  if (!in_time)
    printf("ends: hangs\n");
  else if (WIFSIGNALED(status))
    printf("ends: %s\n", strsignal(WTERMSIG(status)));
  else
    printf("ends: %d\n", WEXITSTATUS(status));
  fflush(stdout);
}

int main(int count, char **arguments)
{
  if (count < 5)
    return 125;
  unsigned long first = strtoul(arguments[1], NULL, 10), many = strtoul(arguments[2], NULL, 10);
  for (unsigned long i = first; i < first + many; i++) {
    pid_t child = fork();
    if (child == 0) {
      char number[24];
      snprintf(number, sizeof number, "%lu", i);
      prctl(PR_SET_CHILD_SUBREAPER, 1);
      if (unshare(CLONE_NEWNET))
        fail("unshare");
      set_up_loopback();
      serve();
      hold_all();
      run(arguments + 4, number, (unsigned)strtoul(arguments[3], NULL, 10));
      _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    if (status)
      return 125;
  }
  return 0;
}
