// SPDX-License-Identifier: MIT
//
// leaving: binds, and its main thread ends; another one lives on until stdin ends.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void *live_on(void *unused)
{
  char byte;
  while (read(0, &byte, 1) > 0)
    ;
  exit(0);
  return unused;
}

int main(void)
{
  struct sockaddr_in any = {.sin_family = AF_INET};
  pthread_t thread;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any) ||
      pthread_create(&thread, NULL, live_on, NULL))
    return 2;
  pthread_exit(NULL);
}
