// SPDX-License-Identifier: MIT
//
// flood PROCESSES THREADS COUNT: in each of so many processes, all at once, each of so many
// threads calls connect() COUNT times on a UDP socket of its own: the cheapest event there is.
// COUNT 0 is for ever.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static long count;

static void *connect_often(void *unused)
{
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(9)};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (long i = 0; i < count || !count; i++)
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer)) {
      perror("flood");
      exit(1);
    }
  close(fd);
  return unused;
}

static int run_threads(int threads)
{
  pthread_t others[512];
  for (int i = 1; i < threads; i++)
    if (pthread_create(&others[i], NULL, connect_often, NULL))
      return 1;
  connect_often(NULL);
  for (int i = 1; i < threads; i++)
    pthread_join(others[i], NULL);
  return 0;
}

int main(int argc, char **argv)
{
  int processes = argc == 4 ? atoi(argv[1]) : 0, threads = argc == 4 ? atoi(argv[2]) : 0;
  int failed = 0, status, gate[2];
  char byte;
  if (processes < 1 || threads < 1 || threads > 512 || pipe(gate))
    return 2;
  count = atol(argv[3]);
  if (processes == 1)
    return run_threads(threads);
  for (int i = 0; i < processes; i++)
    if (fork() == 0) {
      close(gate[1]);
      if (read(gate[0], &byte, 1)) /* until all have been started */
        return 1;
      return run_threads(threads);
    }
  close(gate[1]);
  while (wait(&status) > 0)
    failed |= status != 0;
  return failed;
}
