// SPDX-License-Identifier: MIT
//
// sockets OPEN WAITING: makes so many TCP sockets in this network namespace, says "made", and keeps
// them until stdin ends. OPEN of them are the ends of connections on loopback, two of each; processes
// of their own hold them, as many as they have descriptors for. WAITING are in TIME_WAIT, where
// nobody needs a descriptor; these come last, because they go after 60 seconds. Each destination
// address gets fewer than half of the default range's ports, so that connect() need not search.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT 8001
#define EACH 10000 /* connections to one address */
#define SPARE 64   /* descriptors that a process needs besides */

static void must(long result, const char *what)
{
  if (result >= 0)
    return;
  perror(what);
  exit(1);
}

/* The i-th connection goes to an address of 127.1.0.0/16. */
static struct sockaddr_in address_of(int connection)
{
  return (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port = htons(PORT),
                              .sin_addr = {htonl(0x7F010001U + (uint32_t)(connection / EACH))}};
}

static int connected(int listener, int connection, int *accepted)
{
  struct sockaddr_in to = address_of(connection);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(fd, "socket");
  must(connect(fd, (struct sockaddr *)&to, sizeof to), "connect");
  *accepted = accept(listener, NULL, NULL);
  must(*accepted, "accept");
  return fd;
}

/* A process that makes connections and holds both ends until stdin ends. */
static void hold(int listener, int first, int count)
{
  int ends[2], accepted;
  char made;
  must(pipe(ends), "pipe");
  pid_t child = fork();
  must(child, "fork");
  if (child == 0) {
    for (int i = 0; i < count; i++)
      connected(listener, first + i, &accepted);
    close(listener);
    must(write(ends[1], "", 1), "write");
    while (read(0, &made, 1) > 0)
      ;
    _exit(0);
  }
  close(ends[1]);
  if (read(ends[0], &made, 1) != 1)
    exit(1);
  close(ends[0]);
}

static void open_connections(int listener, int count)
{
  struct rlimit files;
  must(getrlimit(RLIMIT_NOFILE, &files), "getrlimit");
  files.rlim_cur = files.rlim_max;
  must(setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
  int most = ((int)files.rlim_max - SPARE) / 2;
  for (int first = 0; first < count; first += most)
    hold(listener, first, count - first < most ? count - first : most);
}

/* The client closes first, and the server's end is gone at once. */
static void leave_in_time_wait(int listener, int first, int count)
{
  int accepted;
  for (int i = 0; i < count; i++) {
    close(connected(listener, first + i, &accepted));
    close(accepted);
  }
}

int main(int argc, char **argv)
{
  struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  char end;
  if (argc != 3)
    return 2;
  int connections = atoi(argv[1]) / 2;
  must(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
  must(bind(listener, (struct sockaddr *)&any, sizeof any), "bind");
  must(listen(listener, 16), "listen");
  open_connections(listener, connections);
  leave_in_time_wait(listener, connections, atoi(argv[2]));
  puts("made");
  fflush(stdout);
  while (read(0, &end, 1) > 0)
    ;
  return 0;
}
