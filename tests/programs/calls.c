// SPDX-License-Identifier: MIT
//
// calls KIND COUNT [PORT]: makes COUNT calls of one kind, and around them the same calls
// whatever COUNT is: what one call costs is told by two runs. PORT is a TCP server's.
//
// Kinds that need sockets which nobody in the program made ("inherited") make them first, and
// then execute the program again: `calls KIND COUNT PORT FIRST`, FIRST being their first
// descriptor.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_in server, nobody; /* nobody: a port where none listens */
static int count;

static void must(int ok, const char *what)
{
  if (ok)
    return;
  perror(what);
  exit(1);
}

static struct sockaddr *any(void *address)
{
  return address;
}

static int udp(void)
{
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  must(fd >= 0, "socket");
  return fd;
}

static int tcp_connected(void)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  must(connect(fd, any(&server), sizeof server) == 0, "connect");
  return fd;
}

/* --- connects ------------------------------------------------------------------------------ */

static void connect_each(int inherited, struct sockaddr_in *to, int fails)
{
  for (int i = 0; i < count; i++) {
    int fd = inherited ? inherited + i : socket(AF_INET, SOCK_STREAM, 0);
    must((connect(fd, any(to), sizeof *to) != 0) == fails, "connect");
    close(fd);
  }
}

static void connect_local(int inherited, int fails)
{
  static struct sockaddr_un a = {.sun_family = AF_UNIX}; /* static: it crosses no page */
  int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "berth-calls-%d", (int)getpid());
  must(bind(listener, any(&a), sizeof a) == 0 && listen(listener, 4096) == 0, "listen");
  if (fails)
    a.sun_path[1] = '-';
  for (int i = 0; i < count; i++) {
    int fd = inherited ? inherited + i : socket(AF_UNIX, SOCK_STREAM, 0);
    must((connect(fd, any(&a), sizeof a) != 0) == fails, "connect");
    close(fd);
  }
}

static void connect_udp(int sends)
{
  for (int i = 0; i < count; i++) {
    int fd = udp();
    if (sends)
      must(sendto(fd, "x", 1, 0, any(&nobody), sizeof nobody) == 1, "sendto");
    else
      must(connect(fd, any(&nobody), sizeof nobody) == 0, "connect");
    close(fd);
  }
}

/* --- sends --------------------------------------------------------------------------------- */

static void send_each(int fd, struct sockaddr_in *to)
{
  char x[] = "x";
  struct iovec v = {x, 1};
  struct msghdr m = {
      .msg_name = to, .msg_namelen = to ? sizeof *to : 0, .msg_iov = &v, .msg_iovlen = 1};
  struct mmsghdr mm[2] = {{.msg_hdr = m}, {.msg_hdr = m}};
  for (int i = 0; i < count; i++) {
    must(send(fd, "x", 1, 0) == 1 || to, "send");
    must(sendto(fd, "x", 1, 0, any(to), m.msg_namelen) == 1, "sendto");
    must(sendmsg(fd, &m, 0) == 1, "sendmsg");
    must(sendmmsg(fd, mm, 2, 0) == 2, "sendmmsg");
    must(write(fd, "x", 1) == 1 || to, "write");
  }
}

/* A UDP socket bound to loopback, and where that is: datagrams to it come to nothing. */
static int udp_bound(struct sockaddr_in *local)
{
  int fd = udp();
  socklen_t size = sizeof *local;
  memset(local, 0, sizeof *local);
  local->sin_family = AF_INET;
  local->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  must(bind(fd, any(local), size) == 0, "bind");
  must(getsockname(fd, any(local), &size) == 0, "getsockname");
  return fd;
}

static void send_bound(void)
{
  struct sockaddr_in sink, local;
  udp_bound(&sink);
  send_each(udp_bound(&local), &sink);
}

static void send_used(void)
{
  struct sockaddr_in sink;
  int fd = udp();
  udp_bound(&sink);
  must(sendto(fd, "x", 1, 0, any(&sink), sizeof sink) == 1, "sendto");
  send_each(fd, &sink);
}

static void send_connected_udp(void)
{
  struct sockaddr_in sink;
  int fd = udp();
  udp_bound(&sink);
  must(connect(fd, any(&sink), sizeof sink) == 0, "connect");
  send_each(fd, NULL);
}

static void send_accepted(void)
{
  struct sockaddr_in a = {.sin_family = AF_INET};
  socklen_t size = sizeof a;
  int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  must(bind(listener, any(&a), sizeof a) == 0 && listen(listener, 8) == 0, "listen");
  must(getsockname(listener, any(&a), &size) == 0, "getsockname");
  must(connect(client, any(&a), size) == 0, "connect");
  send_each(accept(listener, NULL, NULL), NULL);
}

static void read_and_write(void)
{
  char byte;
  int pair[2];
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
  for (int i = 0; i < count; i++) {
    must(write(pair[0], "x", 1) == 1, "write");
    must(read(pair[1], &byte, 1) == 1, "read");
  }
}

static void send_pair(void)
{
  int pair[2];
  must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0, "socketpair");
  for (int i = 0; i < count; i++) {
    char x[] = "x";
    struct iovec v = {x, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    char byte;
    must(sendmsg(pair[0], &m, 0) == 1 && read(pair[1], &byte, 1) == 1, "sendmsg");
  }
}

/* --- the rest ------------------------------------------------------------------------------ */

static void bind_each(void)
{
  for (int i = 0; i < count; i++) {
    struct sockaddr_in local = {.sin_family = AF_INET};
    int fd = udp();
    must(bind(fd, any(&local), sizeof local) == 0, "bind");
    close(fd);
  }
}

static void make_and_close(void)
{
  for (int i = 0; i < count; i++) {
    int fd = udp();
    must(dup2(fd, 100) == 100, "dup2");
    close(100);
    close(fd);
  }
}

/* Makes `count` sockets that outlive execve(). */
static void execute_again(char **argv, int domain)
{
  char first[16];
  char *again[] = {argv[0], argv[1], argv[2], argv[3], first, NULL};
  int fd = socket(domain, SOCK_STREAM, 0);
  snprintf(first, sizeof first, "%d", fd);
  for (int i = 1; i < count; i++)
    must(socket(domain, SOCK_STREAM, 0) == fd + i, "socket");
  execv("/proc/self/exe", again);
  must(0, "execv");
}

static int is(const char *kind, const char *name)
{
  return strcmp(kind, name) == 0;
}

static void call(const char *kind, int inherited)
{
  if (is(kind, "connect") || is(kind, "connect-inherited"))
    connect_each(inherited, &server, 0);
  else if (is(kind, "refused") || is(kind, "refused-inherited"))
    connect_each(inherited, &nobody, 1);
  else if (is(kind, "no-port"))
    connect_each(0, &server, 1);
  else if (is(kind, "udp") || is(kind, "udp-sendto"))
    connect_udp(is(kind, "udp-sendto"));
  else if (is(kind, "unix") || is(kind, "unix-inherited"))
    connect_local(inherited, 0);
  else if (is(kind, "unix-refused") || is(kind, "unix-refused-inherited"))
    connect_local(inherited, 1);
  else if (is(kind, "send-tcp"))
    send_each(tcp_connected(), NULL);
  else if (is(kind, "send-connected"))
    send_connected_udp();
  else if (is(kind, "send-bound"))
    send_bound();
  else if (is(kind, "send-used"))
    send_used();
  else if (is(kind, "send-accepted"))
    send_accepted();
  else if (is(kind, "send-pair"))
    send_pair();
  else if (is(kind, "read-write"))
    read_and_write();
  else if (is(kind, "bind"))
    bind_each();
  else if (is(kind, "socket"))
    make_and_close();
  else
    exit(2);
}

int main(int argc, char **argv)
{
  if (argc < 4)
    return 2;
  count = atoi(argv[2]);
  server.sin_family = AF_INET;
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  server.sin_port = htons((unsigned short)atoi(argv[3]));
  nobody = server;
  nobody.sin_port = htons(1);
  if (argc == 4 && strstr(argv[1], "-inherited"))
    execute_again(argv, strncmp(argv[1], "unix", 4) ? AF_INET : AF_UNIX);
  call(argv[1], argc == 5 ? atoi(argv[4]) : 0);
  return 0;
}
