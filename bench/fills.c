// SPDX-License-Identifier: MIT
//
// fills PORT: for each line with a number on stdin makes so many connects to 127.0.0.1:PORT, one
// after another, and answers with a line of what each connect() alone took, in nanoseconds. Each
// connection is reset, so that it leaves no TIME_WAIT and the ports that are taken stay the same.
// A connect() that fails with EADDRNOTAVAIL is told with a minus sign.
// Nobody accepts meanwhile: the listener's queue holds them, and no other process wakes up.
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
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

static long one(const struct sockaddr_in *to)
{
  struct linger at_once = {.l_onoff = 1};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  must(fd, "socket");
  must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), "SO_LINGER");
  long start = now();
  int result = connect(fd, (const struct sockaddr *)to, sizeof *to);
  long took = now() - start;
  bool none_left = result && errno == EADDRNOTAVAIL;
  must(none_left ? 0 : result, "connect");
  close(fd);
  return none_left ? -took : took;
}

static void round_of(int count, const struct sockaddr_in *to)
{
  long *took = calloc((size_t)count, sizeof *took);
  for (int i = 0; i < count; i++)
    took[i] = one(to);
  for (int i = 0; i < count; i++)
    printf("%ld%c", took[i], i + 1 < count ? ' ' : '\n');
  fflush(stdout);
  free(took);
}

int main(int argc, char **argv)
{
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  int count;
  if (argc != 2)
    return 2;
  to.sin_port = htons((uint16_t)atoi(argv[1]));
  while (scanf("%d", &count) == 1 && count > 0)
    round_of(count, &to);
  return 0;
}
