// SPDX-License-Identifier: MIT
//
// connects COUNT [seen|unseen]: makes COUNT loopback TCP connects, one after another, and
// prints the median nanoseconds of connect() alone. `unseen`: the socket comes from dup(), so
// that nobody who watches socket() knows its protocol. Each connection is reset, so that no
// TIME_WAIT changes the kernel's choice on the way.
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static long now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void must(int result, const char *what)
{
  if (result >= 0)
    return;
  perror(what);
  exit(1);
}

static int make_socket(int unseen)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  must(fd, "socket");
  if (unseen) {
    int copy = dup(fd);
    must(copy, "dup");
    close(fd);
    fd = copy;
  }
  return fd;
}

static void reset(int fd)
{
  struct linger at_once = {.l_onoff = 1};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(fd);
}

static long one(int listener, const struct sockaddr_in *to, int unseen)
{
  int fd = make_socket(unseen);
  long start = now();
  must(connect(fd, (const struct sockaddr *)to, sizeof *to), "connect");
  long took = now() - start;
  int accepted = accept(listener, NULL, NULL);
  must(accepted, "accept");
  reset(fd);
  close(accepted);
  return took;
}

static int by_value(const void *a, const void *b)
{
  long x = *(const long *)a, y = *(const long *)b;
  return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
  int count = argc > 1 ? atoi(argv[1]) : 10000;
  int unseen = argc > 2 && strcmp(argv[2], "unseen") == 0;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof to;
  long *took = calloc((size_t)count, sizeof *took);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  must(listener, "socket");
  must(bind(listener, (struct sockaddr *)&to, size), "bind");
  must(listen(listener, 16), "listen");
  must(getsockname(listener, (struct sockaddr *)&to, &size), "getsockname");
  for (int i = 0; i < count; i++)
    took[i] = one(listener, &to, unseen);
  qsort(took, (size_t)count, sizeof *took, by_value);
  printf("%ld\n", took[count / 2]);
  free(took);
  return 0;
}
