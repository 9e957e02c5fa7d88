// SPDX-License-Identifier: MIT
//
// connecting ADDRESS PORT THREADS: connects to ADDRESS:PORT in each thread, for ever. A thread
// waits until the server has closed a connection before it makes the next, so that no more of
// them are open than there are threads. To be killed.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in server;

static void *connect_for_ever(void *unused)
{
  for (;;) {
    char byte;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server)) {
      perror("connecting");
      exit(1);
    }
    while (read(fd, &byte, 1) > 0)
      ;
    close(fd);
  }
  return unused;
}

int main(int argc, char **argv)
{
  pthread_t thread;
  if (argc != 4 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
    return 2;
  server.sin_family = AF_INET;
  server.sin_port = htons((unsigned short)atoi(argv[2]));
  for (int i = atoi(argv[3]); i > 0; i--)
    if (pthread_create(&thread, NULL, connect_for_ever, NULL))
      return 1;
  pthread_exit(NULL);
}
