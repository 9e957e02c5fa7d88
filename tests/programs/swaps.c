// SPDX-License-Identifier: MIT
//
// swaps FILE COUNT: connects COUNT times, while one thread makes descriptor 2 FILE and again what it
// was, and two others open files of their own, write a byte and close them, so that each free number
// is theirs all the time. Exit status 1 if one of these files has more than that byte.
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int before, file;
static atomic_int done, foreign;

static void *swap(void *unused)
{
  while (!done) {
    dup2(file, 2);
    dup2(before, 2);
  }
  return unused;
}

static void *open_and_close(void *path)
{
  while (!done) {
    struct stat s;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1 || fstat(fd, &s) || s.st_size != 1)
      foreign = 1;
    close(fd);
  }
  return NULL;
}

static void connect_once(void)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9)};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a))
    exit(3);
  close(fd);
}

int main(int argc, char **argv)
{
  char path[2][4096];
  pthread_t threads[3];
  if (argc != 3)
    return 2;
  before = fcntl(2, F_DUPFD, 50);
  file = open(argv[1], O_RDWR | O_CREAT | O_EXCL, 0600);
  pthread_create(&threads[0], NULL, swap, NULL);
  for (int i = 0; i < 2; i++) {
    snprintf(path[i], sizeof path[i], "%s-%d", argv[1], i);
    pthread_create(&threads[i + 1], NULL, open_and_close, path[i]);
  }
  for (int i = atoi(argv[2]); i; i--)
    connect_once();
  done = 1;
  for (int i = 0; i < 3; i++)
    pthread_join(threads[i], NULL);
  return foreign;
}
