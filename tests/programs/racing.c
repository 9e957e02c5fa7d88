// SPDX-License-Identifier: MIT
//
// racing threads|signal: two first calls at once, by two threads, or by main() and the handler
// of a signal that comes while it makes them. Says how many calls of bind() there were.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

static atomic_int calls, ready;

static void call_bind(void)
{
  struct sockaddr_in any = {.sin_family = AF_INET};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0)
    atomic_fetch_add(&calls, 1);
}

static void *race(void *unused)
{
  atomic_fetch_add(&ready, 1);
  while (atomic_load(&ready) < 2)
    ;
  call_bind();
  return unused;
}

static void handle(int number)
{
  const struct itimerval off = {0};
  (void)number;
  setitimer(ITIMER_REAL, &off, NULL);
  call_bind();
}

static int race_threads(void)
{
  pthread_t thread;
  if (pthread_create(&thread, NULL, race, NULL))
    return 2;
  race(NULL);
  return pthread_join(thread, NULL) ? 2 : 0;
}

static int race_signal(void)
{
  const struct itimerval soon = {.it_value.tv_usec = 50};
  struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
  if (sigaction(SIGALRM, &action, NULL) || setitimer(ITIMER_REAL, &soon, NULL))
    return 2;
  do
    call_bind();
  while (atomic_load(&calls) < 2);
  return 0;
}

int main(int argc, char **argv)
{
  int result = argc == 2 && strcmp(argv[1], "signal") == 0 ? race_signal() : race_threads();
  printf("%d\n", atomic_load(&calls));
  return result;
}
