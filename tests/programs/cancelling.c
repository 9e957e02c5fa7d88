// SPDX-License-Identifier: MIT
//
// cancelling deferred|asynchronous FULL OPEN: cancels twenty threads, one after the other, that are in
// a connect() to FULL, a port whose queue is full; then connects to OPEN.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define THREADS 20

static int asynchronous;
static struct sockaddr_in full, open_one;

static int connect_to(const struct sockaddr_in *to)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  return connect(fd, (const struct sockaddr *)to, sizeof *to);
}

static void *block(void *unused)
{
  if (asynchronous)
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
  connect_to(&full);
  return unused;
}

int main(int argc, char **argv)
{
  if (argc < 4)
    return 2;
  asynchronous = strcmp(argv[1], "asynchronous") == 0;
  full = (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                              .sin_port = htons((uint16_t)atoi(argv[2]))};
  open_one = full;
  open_one.sin_port = htons((uint16_t)atoi(argv[3]));
  int cancelled = 0;
  for (int i = 0; i < THREADS; i++) {
    pthread_t thread;
    void *end;
    if (pthread_create(&thread, NULL, block, NULL))
      return 1;
    usleep(10000 + i * 1000);
    pthread_cancel(thread);
    pthread_join(thread, &end);
    cancelled += end == PTHREAD_CANCELED;
  }
  int failed = connect_to(&open_one);
  printf("cancelled %d, then %s\n", cancelled, failed ? "failed" : "connected");
  return 0;
}
