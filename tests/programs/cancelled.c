// SPDX-License-Identifier: MIT
//
// cancelled: a thread that is to be cancelled at the next cancellation point binds, which is
// none. Says whether bind() returned to it.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

static int returned;

static void *bind_while_cancelled(void *unused)
{
  struct sockaddr_in any = {.sin_family = AF_INET};
  pthread_cancel(pthread_self());
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  returned = fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0;
  return unused;
}

int main(void)
{
  pthread_t thread;
  if (pthread_create(&thread, NULL, bind_while_cancelled, NULL) || pthread_join(thread, NULL))
    return 2;
  puts(returned ? "returned" : "cancelled");
  return 0;
}
