// SPDX-License-Identifier: MIT
//
// stack_use PORT BUSY: calls on threads whose stacks are painted, and how deep each went, in bytes:
// "connect 2480". BUSY is a port of which the destination refuses connections.
//
// stack_use small PORT: the calls on threads of PTHREAD_STACK_MIN, 16 KiB, at once.
#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAINTED (256 * 1024)
#define PAINT 0xA5

static struct sockaddr_in server, nobody, any_port;

static void *do_nothing(void *unused)
{
  return unused;
}

static void *do_connect(void *unused)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  connect(fd, (struct sockaddr *)&server, sizeof server);
  close(fd);
  return unused;
}

static void *do_refused(void *unused)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  connect(fd, (struct sockaddr *)&nobody, sizeof nobody);
  close(fd);
  return unused;
}

static void *do_bind(void *unused)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  bind(fd, (struct sockaddr *)&any_port, sizeof any_port);
  connect(fd, (struct sockaddr *)&server, sizeof server);
  close(fd);
  return unused;
}

static void *do_name(void *unused)
{
  struct sockaddr_in name;
  socklen_t size = sizeof name;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  bind(fd, (struct sockaddr *)&any_port, sizeof any_port);
  getsockname(fd, (struct sockaddr *)&name, &size);
  close(fd);
  return unused;
}

static void *do_listen(void *unused)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  listen(fd, 1);
  close(fd);
  return unused;
}

static void *do_sendto(void *unused)
{
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  sendto(fd, "x", 1, 0, (struct sockaddr *)&nobody, sizeof nobody);
  close(fd);
  return unused;
}

static void *do_sendmmsg(void *unused)
{
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  struct iovec iov = {(char[]){"x"}, 1};
  struct mmsghdr m = {
      .msg_hdr = {
          .msg_name = &nobody, .msg_namelen = sizeof nobody, .msg_iov = &iov, .msg_iovlen = 1}};
  sendmmsg(fd, &m, 1, 0);
  close(fd);
  return unused;
}

static void *do_fastopen(void *unused)
{
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&server, sizeof server);
  close(fd);
  return unused;
}

static const struct {
  const char *name;
  void *(*run)(void *);
} calls[] = {{"nothing", do_nothing}, {"connect", do_connect},   {"refused", do_refused},
             {"bind", do_bind},       {"name", do_name},         {"listen", do_listen},
             {"sendto", do_sendto},   {"sendmmsg", do_sendmmsg}, {"fastopen", do_fastopen}};
#define CALLS (sizeof calls / sizeof *calls)

static size_t depth_of(void *(*run)(void *))
{
  pthread_attr_t attributes;
  pthread_t thread;
  unsigned char *stack = mmap(NULL, PAINTED, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  memset(stack, PAINT, PAINTED);
  pthread_attr_init(&attributes);
  if (pthread_attr_setstack(&attributes, stack, PAINTED) ||
      pthread_create(&thread, &attributes, run, NULL))
    exit(1);
  pthread_join(thread, NULL);
  size_t untouched = 0;
  while (untouched < PAINTED && stack[untouched] == PAINT)
    untouched++;
  munmap(stack, PAINTED);
  return PAINTED - untouched;
}

static int small(void)
{
  pthread_attr_t attributes;
  pthread_t threads[CALLS];
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 16384);
  for (int round = 0; round < 20; round++) {
    for (size_t i = 0; i < CALLS; i++)
      if (pthread_create(&threads[i], &attributes, calls[i].run, NULL))
        return 1;
    for (size_t i = 0; i < CALLS; i++)
      pthread_join(threads[i], NULL);
  }
  puts("done");
  return 0;
}

int main(int argc, char **argv)
{
  if (argc < 3)
    return 2;
  int is_small = strcmp(argv[1], "small") == 0;
  server = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)atoi(argv[is_small ? 2 : 1]))};
  nobody = any_port = server;
  nobody.sin_port = htons(9);
  any_port.sin_port = 0;
  if (is_small)
    return small();
  for (int round = 0; round < 2; round++) /* the second has no first event of a process */
    for (size_t i = 0; i < CALLS; i++) {
      size_t depth = depth_of(calls[i].run);
      printf("%s%s %zu\n", round ? "" : "first-", calls[i].name, depth);
    }
  return 0;
}
