// SPDX-License-Identifier: MIT
//
// steady RATE ADDRESS PORT [ADDRESS PORT]...: connects to each in turn, at most RATE times a second,
// waits until the server has closed the connection, and closes it too, until its standard input
// ends. Then prints how many connects succeeded, and how many failed.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static unsigned long ok, failed;

static void connect_once(const char *address, const char *port)
{
  struct sockaddr_in6 peer = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port))};
  struct sockaddr_in *ipv4 = (void *)&peer; /* the port lies at the same place */
  int family = strchr(address, ':') ? AF_INET6 : AF_INET;
  socklen_t size = family == AF_INET6 ? sizeof peer : sizeof *ipv4;
  char byte;
  peer.sin6_family = (sa_family_t)family;
  inet_pton(family, address, family == AF_INET6 ? (void *)&peer.sin6_addr : &ipv4->sin_addr);
  int fd = socket(family, SOCK_STREAM, 0);
  if (fd < 0) {
    perror("socket");
    exit(1);
  }
  if (connect(fd, (struct sockaddr *)&peer, size) == 0) {
    ok++;
    while (read(fd, &byte, 1) > 0)
      ;
  } else {
    failed++;
  }
  close(fd);
}

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Whether the input goes on, after as long as it takes to be no faster than asked. */
static int wait_for_turn(double begin, double rate)
{
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  double early = begin + (double)(ok + failed) / rate - now();
  return poll(&input, 1, early > 0 ? (int)(early * 1000) + 1 : 0) <= 0;
}

int main(int argc, char **argv)
{
  double rate = argc > 1 ? atof(argv[1]) : 0, begin = now();
  if (argc < 4 || rate <= 0)
    return 2;
  for (int i = 2; wait_for_turn(begin, rate); i = i + 3 < argc ? i + 2 : 2)
    connect_once(argv[i], argv[i + 1]);
  printf("%lu %lu\n", ok, failed);
  return 0;
}
