// SPDX-License-Identifier: MIT
//
// counting PORT[:LOW-HIGH][w]...: a TCP server on all addresses, IPv4 and IPv6, that counts. Each
// connection is closed at once, or, with w, when the client has closed it. UDP is received there,
// too. At each line of standard input it prints "PORT ACCEPTED OUTSIDE" for each port, OUTSIDE
// being the connections that came from a port not in LOW-HIGH, and "."; it ends with its input.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 64

/* The descriptor alone names a connection: these are the others. */
static struct server {
  int tcp, udp;
  unsigned port, low, high, waits;
  unsigned long accepted, outside;
} servers[MOST];
static int server_count, epoll;

static void must(int ok, const char *what)
{
  if (ok)
    return;
  perror(what);
  exit(1);
}

static void watch(int fd)
{
  struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
  must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0, "epoll_ctl");
}

static int listener(int type, unsigned port)
{
  const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
  const int on = 1;
  int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  must(fd >= 0, "socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  must(bind(fd, (const struct sockaddr *)&any, sizeof any) == 0, "bind");
  must(type == SOCK_DGRAM || listen(fd, 4096) == 0, "listen");
  watch(fd);
  return fd;
}

static void add(const char *text)
{
  struct server *s = &servers[server_count++];
  must(server_count <= MOST, "too many");
  s->high = 65535;
  sscanf(text, "%u:%u-%u", &s->port, &s->low, &s->high);
  s->waits = strchr(text, 'w') != NULL;
  s->tcp = listener(SOCK_STREAM, s->port);
  s->udp = listener(SOCK_DGRAM, s->port);
}

static void accept_all(struct server *s)
{
  struct sockaddr_in6 peer;
  socklen_t size = sizeof peer;
  int fd;
  while ((fd = accept4(s->tcp, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK)) >= 0) {
    unsigned port = ntohs(peer.sin6_port);
    s->accepted++;
    s->outside += port < s->low || port > s->high;
    if (s->waits)
      watch(fd);
    else
      close(fd);
    size = sizeof peer;
  }
  must(errno == EAGAIN || errno == ECONNABORTED, "accept");
}

static void print_counts(void)
{
  char line[256];
  if (!fgets(line, sizeof line, stdin))
    exit(0);
  for (struct server *s = servers; s < servers + server_count; s++) {
    accept_all(s);
    printf("%u %lu %lu\n", s->port, s->accepted, s->outside);
  }
  puts(".");
  fflush(stdout);
}

/* Returns whether a stream has ended. */
static int receive(int fd)
{
  char bytes[4096];
  ssize_t n;
  while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0)
    ;
  return n == 0 || errno != EAGAIN;
}

static void handle(int fd)
{
  if (fd == STDIN_FILENO) {
    print_counts();
    return;
  }
  for (struct server *s = servers; s < servers + server_count; s++)
    if (s->tcp == fd || s->udp == fd) {
      if (s->tcp == fd)
        accept_all(s);
      else
        receive(fd);
      return;
    }
  if (receive(fd))
    close(fd); /* and so epoll forgets it */
}

int main(int argc, char **argv)
{
  struct epoll_event events[64];
  epoll = epoll_create1(EPOLL_CLOEXEC);
  must(epoll >= 0, "epoll_create1");
  setvbuf(stdin, NULL, _IONBF, 0); /* or a line could lie in the buffer, and epoll not tell */
  watch(STDIN_FILENO);
  for (int i = 1; i < argc; i++)
    add(argv[i]);
  puts(".");
  fflush(stdout);
  for (;;) {
    int n = epoll_wait(epoll, events, 64, -1);
    must(n >= 0 || errno == EINTR, "epoll_wait");
    for (int i = 0; i < n; i++)
      handle(events[i].data.fd);
  }
}
