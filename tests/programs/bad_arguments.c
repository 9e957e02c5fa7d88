// SPDX-License-Identifier: MIT
//
// bad_arguments PORT: every hooked call with pointers, lengths and descriptors that will not do, and
// some that will, a line each: what it returned, and errno. PORT is a TCP server's on 127.0.0.1.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE 4096
#define OPTION_LOCAL_PORT_RANGE 51

static struct sockaddr_in server, any_port, odd_family;
static char *hole;   /* a page that may be used, and behind it none */
static char *closed; /* a page that may not be read */

/* --- descriptors ----------------------------------------------------------------------------- */

enum descriptor { TCP, UDP, TCP6, LOCAL, PIPE, CONNECTED, CLOSED, NEGATIVE, LARGE, DESCRIPTORS };
static const char *const descriptor_names[] = {"tcp",       "udp",    "tcp6",     "unix", "pipe",
                                               "connected", "closed", "negative", "large"};

static int open_descriptor(enum descriptor which)
{
  int ends[2], fd;
  switch (which) {
  case TCP: return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  case UDP: return socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  case TCP6: return socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
  case LOCAL: return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  case PIPE:
    if (pipe(ends))
      exit(1);
    close(ends[1]);
    return ends[0];
  case CONNECTED:
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&server, sizeof server))
      exit(1);
    return fd;
  case CLOSED:
    fd = dup(0);
    close(fd);
    return fd;
  case NEGATIVE: return -1;
  default: return INT_MAX;
  }
}

static void close_descriptor(enum descriptor which, int fd)
{
  if (which < CLOSED)
    close(fd);
}

/* --- addresses ------------------------------------------------------------------------------- */

struct pointer {
  const char *name;
  void *at;
};

/* The address so that `size` bytes of it lie before the hole. */
static void *at_edge(const struct sockaddr_in *address, size_t size)
{
  char *at = hole + PAGE - size;
  memcpy(at, address, size);
  return at;
}

#define POINTERS 12
static int pointers(struct pointer list[POINTERS], const struct sockaddr_in *good)
{
  static char odd[64];
  static struct sockaddr_storage large;
  memcpy(odd + 1, good, sizeof *good);
  memcpy(&large, good, sizeof *good);
  static struct sockaddr_in copies[1];
  copies[0] = *good;
  struct pointer all[POINTERS] = {
      {"good", copies},
      {"storage", &large},
      {"unaligned", odd + 1},
      {"family", &odd_family},
      {"null", NULL},
      {"one", (void *)1},
      {"hole", hole + PAGE},
      {"closed", closed},
      {"kernel", (void *)(uintptr_t)UINT64_C(0xffff800000001000)},
      {"not canonical", (void *)(uintptr_t)UINT64_C(0x0000900000001000)},
      {"edge 1", at_edge(good, 1)},
  };
  memcpy(list, all, sizeof all);
  return 11;
}

static const socklen_t lengths[] = {
    0, 1, 2, 3, 4, 8, 15, 16, 17, 28, 110, 128, 129, 4096, (socklen_t)-1, (socklen_t)INT_MIN};
#define LENGTHS (sizeof lengths / sizeof *lengths)

static void say(const char *call, const char *what, const char *which, long length, long result)
{
  int error = errno;
  printf("%s %s %s %ld: %s\n", call, what, which, length,
         result < 0 ? strerrorname_np(error)
         : result   ? "more"
                    : "0");
}

/* --- connect, bind, sendto ------------------------------------------------------------------- */

typedef long with_address(int fd, const void *address, socklen_t length);

static long do_connect(int fd, const void *address, socklen_t length)
{
  return connect(fd, address, length);
}

static long do_bind(int fd, const void *address, socklen_t length)
{
  return bind(fd, address, length);
}

static long do_sendto(int fd, const void *address, socklen_t length)
{
  return sendto(fd, "x", 1, MSG_NOSIGNAL, address, length) - 1;
}

static long do_fastopen(int fd, const void *address, socklen_t length)
{
  return sendto(fd, "x", 1, MSG_NOSIGNAL | MSG_FASTOPEN, address, length) < 0 ? -1 : 0;
}

static long do_sendmsg(int fd, const void *address, socklen_t length)
{
  struct iovec iov = {(void *)(uintptr_t) "x", 1};
  struct msghdr m = {.msg_name = (void *)(uintptr_t)address,
                     .msg_namelen = length,
                     .msg_iov = &iov,
                     .msg_iovlen = 1};
  return sendmsg(fd, &m, MSG_NOSIGNAL) - 1;
}

static long do_sendmmsg(int fd, const void *address, socklen_t length)
{
  struct iovec iov = {(void *)(uintptr_t) "x", 1};
  struct mmsghdr m[2] = {{.msg_hdr = {.msg_name = (void *)(uintptr_t)address,
                                      .msg_namelen = length,
                                      .msg_iov = &iov,
                                      .msg_iovlen = 1}}};
  m[1] = m[0];
  m[1].msg_hdr.msg_iov = (void *)1;
  return sendmmsg(fd, m, 2, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static void addresses(const char *call, with_address *f, const struct sockaddr_in *good)
{
  struct pointer list[POINTERS];
  int count = pointers(list, good);
  for (enum descriptor d = 0; d < DESCRIPTORS; d++)
    for (int i = 0; i < count; i++)
      for (size_t j = 0; j < LENGTHS; j++) {
        char what[64];
        int fd = open_descriptor(d);
        snprintf(what, sizeof what, "%s, %s,", descriptor_names[d], list[i].name);
        errno = 0;
        say(call, what, "length", (long)(int)lengths[j], f(fd, list[i].at, lengths[j]));
        close_descriptor(d, fd);
      }
  for (size_t size = 1; size <= sizeof *good; size++) { /* across the edge */
    int fd = open_descriptor(TCP), udp = open_descriptor(UDP);
    say(call, "tcp, edge", "size", (long)size, f(fd, at_edge(good, size), sizeof *good));
    say(call, "udp, edge", "size", (long)size, f(udp, at_edge(good, size), sizeof *good));
    close(fd);
    close(udp);
  }
}

/* --- the parts of a message ------------------------------------------------------------------ */

static void message(const char *what, const struct msghdr *m)
{
  for (enum descriptor d = 0; d <= UDP; d++) {
    int fd = open_descriptor(d);
    say("sendmsg", what, descriptor_names[d], 0, sendmsg(fd, m, MSG_NOSIGNAL) < 0 ? -1 : 0);
    close(fd);
    fd = open_descriptor(d);
    say("sendmsg", what, descriptor_names[d], MSG_FASTOPEN,
        sendmsg(fd, m, MSG_NOSIGNAL | MSG_FASTOPEN) < 0 ? -1 : 0);
    close(fd);
  }
}

static void messages(void)
{
  struct iovec iov = {(void *)(uintptr_t) "x", 1}, bad = {hole + PAGE, 1},
               long_one = {hole, SIZE_MAX};
  struct msghdr good = {
      .msg_name = &server, .msg_namelen = sizeof server, .msg_iov = &iov, .msg_iovlen = 1};
  struct msghdr m = good;
  message("good", &m);
  message("null", NULL);
  message("hole", (void *)(hole + PAGE));
  message("edge", (void *)(hole + PAGE - 8));
  m.msg_iov = &bad;
  message("bad buffer", &m);
  m.msg_iov = &long_one;
  message("long buffer", &m);
  m.msg_iov = (void *)1;
  message("bad vector", &m);
  m = good;
  m.msg_iovlen = 1025;
  message("long vector", &m);
  m.msg_iovlen = SIZE_MAX;
  message("longest vector", &m);
  m = good;
  m.msg_control = (void *)1;
  m.msg_controllen = 64;
  message("bad control", &m);
  m = good;
  m.msg_control = NULL;
  m.msg_controllen = SIZE_MAX;
  message("long control", &m);
  for (unsigned n = 0; n < 4; n++) {
    static const unsigned counts[] = {0, 1, 1025, UINT_MAX};
    struct mmsghdr one = {.msg_hdr = good};
    int fd = open_descriptor(UDP);
    say("sendmmsg", "hole", "count", (long)counts[n],
        sendmmsg(fd, (void *)(hole + PAGE), counts[n], 0));
    say("sendmmsg", "good", "count", (long)(counts[n] > 1 ? 0 : counts[n]),
        sendmmsg(fd, &one, counts[n] > 1 ? 0 : counts[n], 0));
    close(fd);
  }
}

/* --- the rest -------------------------------------------------------------------------------- */

static void names(void)
{
  struct sockaddr_storage name;
  static const socklen_t sizes[] = {0, 1, 15, 16, 128, (socklen_t)-1};
  void *places[] = {&name, NULL, (void *)1, hole + PAGE, hole + PAGE - 4};
  for (enum descriptor d = 0; d < DESCRIPTORS; d++)
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
      for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
        socklen_t size = sizes[j];
        int fd = open_descriptor(d);
        say("getsockname", descriptor_names[d], "place", (long)i,
            getsockname(fd, places[i], &size));
        say("getsockname", descriptor_names[d], "size", (long)size,
            getsockname(fd, places[i], (void *)(hole + PAGE)));
        say("accept", descriptor_names[d], "place", (long)i, accept(fd, places[i], &size));
        say("accept4", descriptor_names[d], "flags", -1, accept4(fd, places[i], &size, -1));
        close_descriptor(d, fd);
      }
}

static void options(void)
{
  static const int which[][2] = {{IPPROTO_IP, OPTION_LOCAL_PORT_RANGE},
                                 {SOL_SOCKET, SO_REUSEADDR},
                                 {IPPROTO_TCP, TCP_NODELAY},
                                 {-1, -1},
                                 {SOL_SOCKET, INT_MAX}};
  static const socklen_t sizes[] = {0, 1, 3, 4, 8, (socklen_t)-1};
  uint32_t value = 0;
  void *places[] = {&value, NULL, (void *)1, hole + PAGE, hole + PAGE - 2};
  for (enum descriptor d = 0; d < DESCRIPTORS; d++)
    for (size_t o = 0; o < sizeof which / sizeof *which; o++)
      for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
          socklen_t size = sizes[j];
          int fd = open_descriptor(d);
          say("setsockopt", descriptor_names[d], "option", which[o][1],
              setsockopt(fd, which[o][0], which[o][1], places[i], size));
          say("getsockopt", descriptor_names[d], "option", which[o][1],
              getsockopt(fd, which[o][0], which[o][1], places[i], &size));
          say("getsockopt", descriptor_names[d], "size", (long)(int)size,
              getsockopt(fd, which[o][0], which[o][1], places[i], (void *)(hole + PAGE)));
          close_descriptor(d, fd);
        }
}

static void descriptors(void)
{
  static const int odd[] = {-1, INT_MIN, INT_MAX, 1 << 20};
  for (enum descriptor d = 0; d < DESCRIPTORS; d++) {
    int fd = open_descriptor(d);
    say("listen", descriptor_names[d], "backlog", -1, listen(fd, -1));
    say("listen", descriptor_names[d], "backlog", INT_MAX, listen(fd, INT_MAX));
    close_descriptor(d, fd);
  }
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    say("close", "odd", "fd", odd[i], close(odd[i]));
    say("dup2", "odd", "to", odd[i], dup2(0, odd[i]) < 0 ? -1 : 0);
    say("dup2", "odd", "from", odd[i], dup2(odd[i], 100) < 0 ? -1 : 0);
    say("dup2", "odd", "both", odd[i], dup2(odd[i], odd[i]) < 0 ? -1 : 0);
    say("dup3", "odd", "flags", odd[i], dup3(0, 100, odd[i]) < 0 ? -1 : 0);
    say("socket", "odd", "family", odd[i], socket(odd[i], SOCK_STREAM, 0) < 0 ? -1 : 0);
    say("socket", "odd", "type", odd[i], socket(AF_INET, odd[i], 0) < 0 ? -1 : 0);
    say("socket", "odd", "protocol", odd[i], socket(AF_INET, SOCK_STREAM, odd[i]) < 0 ? -1 : 0);
    say("close_range", "odd", "flags", odd[i], close_range(500, 600, odd[i]));
  }
  say("dup3", "same", "fd", 0, dup3(0, 0, 0));
  say("close_range", "backwards", "", 0, close_range(600, 500, 0));
  say("close_range", "all above", "", 0, close_range(500, UINT_MAX, 0));
}

static void executions(void)
{
  const char *volatile nothing = NULL; /* so that no compiler knows */
  char *const good[] = {(char *)(uintptr_t) "x", NULL};
  char *const bad[] = {(char *)1, NULL};
  say("execve", "path", "null", 0, execve(nothing, good, good));
  say("execve", "path", "hole", 0, execve(hole + PAGE, good, good));
  say("execve", "path", "none", 0, execve("/nonexistent", good, good));
  say("execve", "argv", "bad", 0, execve("/bin/true", bad, good));
  say("execve", "argv", "hole", 0, execve("/bin/true", (void *)(hole + PAGE), good));
  say("execve", "envp", "bad", 0, execve("/bin/true", good, bad));
  say("execv", "path", "none", 0, execv("/nonexistent", good));
  say("execvp", "path", "none", 0, execvp("nonexistent-program", good));
  say("execvpe", "path", "none", 0, execvpe("nonexistent-program", good, good));
  say("execveat", "fd", "closed", 0, execveat(77, "x", good, good, 0));
  say("execveat", "flags", "odd", 0, execveat(AT_FDCWD, "/bin/true", good, good, -1));
  say("fexecve", "fd", "negative", 0, fexecve(-1, good, good));
  say("execl", "path", "none", 0, execl("/nonexistent", "x", (char *)NULL));
}

int main(int argc, char **argv)
{
  server = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "9"))};
  any_port = server;
  any_port.sin_port = 0;
  odd_family = server;
  odd_family.sin_family = 77;
  hole = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  closed = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (hole == MAP_FAILED || closed == MAP_FAILED || munmap(hole + PAGE, PAGE))
    return 1;
  addresses("connect", do_connect, &server);
  addresses("bind", do_bind, &any_port);
  addresses("sendto", do_sendto, &server);
  addresses("fastopen", do_fastopen, &server);
  addresses("sendmsg", do_sendmsg, &server);
  addresses("sendmmsg", do_sendmmsg, &server);
  messages();
  names();
  options();
  descriptors();
  executions();
  return 0;
}
