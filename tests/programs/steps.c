// SPDX-License-Identifier: MIT
//
// steps STEP [ARGUMENT]...: does what it is told, in this order.
//
//   connect PORT    makes a UDP socket and connects it to 127.0.0.1:PORT
//   tcp PORT        a TCP connect to 127.0.0.1:PORT
//   refused PORT    a TCP connect to 127.0.0.1:PORT, which fails
//   bad             a TCP connect() to an address that cannot be read, which fails
//   bind            binds a UDP socket to any port of 127.0.0.1
//   socket          makes the socket that the next connect takes
//   say WORD        prints it
//   wait            reads a line from its standard input
//   setuid UID      becomes this user, for good
//   chroot DIR      moves into it
//   chdir DIR
//   closefrom FD    closes all descriptors from here on
//   cover FILE      makes all descriptors from 3 to 1200 FILE, open for writing
//   error PORT      makes descriptor 2 a socket that is connected to 127.0.0.1:PORT
//   three PORT      likewise descriptors 0, 1 and 2
//   reborn FILE     makes descriptor 2 FILE, after the last that was left of its file is gone
//   files N         RLIMIT_NOFILE
//   memory BYTES    RLIMIT_AS: this many more than are in use
//   limit NAME=N    RLIMIT_NAME
//   lock            mlockall(2) of what is mapped, and of what will be
//   umask MODE      octal
//   exec PROGRAM    executes it; the steps that follow are its arguments
//   exit N
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int made = -1; /* by the step `socket` */

static void fail(const char *step)
{
  printf("%s: %s\n", step, strerror(errno));
  exit(3);
}

static struct sockaddr_in loopback(const char *port)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

static void connect_step(const char *port)
{
  struct sockaddr_in peer = loopback(port);
  int fd = made >= 0 ? made : socket(AF_INET, SOCK_DGRAM, 0);
  made = -1;
  if (fd < 0 || connect(fd, (struct sockaddr *)&peer, sizeof peer))
    fail("connect");
  puts("connected");
  close(fd);
}

static void refused_step(const char *port)
{
  struct sockaddr_in peer = loopback(port);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&peer, sizeof peer) == 0)
    fail("refused");
  printf("refused: %s\n", strerror(errno));
  close(fd);
}

static void tcp_step(const char *port)
{
  struct sockaddr_in peer = loopback(port);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&peer, sizeof peer))
    fail("tcp");
  puts("connected");
  close(fd);
}

static void bad_step(void)
{
  struct sockaddr *nowhere = (void *)sysconf(_SC_PAGESIZE);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, nowhere, sizeof(struct sockaddr_in)) == 0)
    fail("bad");
  printf("bad: %s\n", strerror(errno));
  close(fd);
}

static void bind_step(void)
{
  struct sockaddr_in local = loopback("0");
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&local, sizeof local))
    fail("bind");
  close(fd);
}

static void wait_step(void)
{
  char byte;
  fflush(stdout);
  while (read(0, &byte, 1) == 1 && byte != '\n')
    ;
}

static void closefrom_step(int first)
{
  for (int fd = first; fd < 4096; fd++)
    close(fd);
}

static void error_step(const char *port)
{
  struct sockaddr_in peer = loopback(port);
  close(2);
  if (socket(AF_INET, SOCK_DGRAM, 0) != 2 || connect(2, (struct sockaddr *)&peer, sizeof peer))
    fail("error");
}

static void three_step(const char *port)
{
  struct sockaddr_in peer = loopback(port);
  for (int fd = 0; fd < 3; fd++)
    close(fd);
  for (int fd = 0; fd < 3; fd++)
    if (socket(AF_INET, SOCK_DGRAM, 0) != fd || connect(fd, (struct sockaddr *)&peer, sizeof peer))
      _exit(3);
}

static void cover_step(const char *path)
{
  int fd = open(path, O_WRONLY | O_CREAT, 0600);
  if (fd < 0)
    fail("cover");
  for (int over = 3; over <= 1200; over++)
    if (dup2(fd, over) != over)
      fail("cover");
}

/* On ext4, for one, a file that is made gets the inode of one that has just gone. */
static void reborn_step(const char *path)
{
  close(2);
  if (open(path, O_RDWR | O_CREAT | O_EXCL, 0666) != 2)
    fail("reborn");
}

static void limit(int resource, rlim_t value)
{
  struct rlimit l;
  getrlimit(resource, &l);
  l.rlim_cur = value;
  if (setrlimit(resource, &l))
    fail("setrlimit");
}

static rlim_t memory_in_use(void)
{
  unsigned long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (!f || fscanf(f, "%lu", &pages) != 1)
    fail("statm");
  fclose(f);
  return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void limit_step(const char *setting)
{
  static const struct {
    const char *name;
    int resource;
  } known[] = {{"CORE", RLIMIT_CORE},         {"CPU", RLIMIT_CPU},
               {"DATA", RLIMIT_DATA},         {"FSIZE", RLIMIT_FSIZE},
               {"LOCKS", RLIMIT_LOCKS},       {"MEMLOCK", RLIMIT_MEMLOCK},
               {"MSGQUEUE", RLIMIT_MSGQUEUE}, {"NOFILE", RLIMIT_NOFILE},
               {"NPROC", RLIMIT_NPROC},       {"SIGPENDING", RLIMIT_SIGPENDING},
               {"STACK", RLIMIT_STACK}};
  size_t length = strcspn(setting, "=");
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strlen(known[i].name) == length && strncmp(known[i].name, setting, length) == 0) {
      limit(known[i].resource, strtoul(setting + length + 1, NULL, 10));
      return;
    }
  errno = EINVAL;
  fail(setting);
}

/* Steps without an argument; returns whether it is one. */
static int do_alone(const char *step)
{
  if (strcmp(step, "bind") == 0)
    bind_step();
  else if (strcmp(step, "bad") == 0)
    bad_step();
  else if (strcmp(step, "wait") == 0)
    wait_step();
  else if (strcmp(step, "socket") == 0)
    made = socket(AF_INET, SOCK_DGRAM, 0);
  else if (strcmp(step, "lock") == 0)
    mlockall(MCL_CURRENT | MCL_FUTURE);
  else
    return 0;
  return 1;
}

/* Steps whose argument is text; returns whether it is one. */
static int do_with_text(const char *step, const char *argument)
{
  static const struct {
    const char *name;
    void (*call)(const char *);
  } steps[] = {{"connect", connect_step}, {"tcp", tcp_step},     {"refused", refused_step},
               {"error", error_step},     {"three", three_step}, {"cover", cover_step},
               {"reborn", reborn_step},   {"limit", limit_step}};
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
    if (strcmp(steps[i].name, step) == 0) {
      steps[i].call(argument);
      return 1;
    }
  return 0;
}

static void do_with(const char *step, const char *argument)
{
  int n = atoi(argument), failed = 0;
  if (do_with_text(step, argument))
    return;
  if (strcmp(step, "say") == 0)
    puts(argument);
  else if (strcmp(step, "setuid") == 0)
    failed = setgid((gid_t)n) || setuid((uid_t)n);
  else if (strcmp(step, "chroot") == 0)
    failed = chroot(argument) || chdir("/");
  else if (strcmp(step, "chdir") == 0)
    failed = chdir(argument);
  else if (strcmp(step, "closefrom") == 0)
    closefrom_step(n);
  else if (strcmp(step, "files") == 0)
    limit(RLIMIT_NOFILE, (rlim_t)n);
  else if (strcmp(step, "memory") == 0)
    limit(RLIMIT_AS, memory_in_use() + (rlim_t)n);
  else if (strcmp(step, "umask") == 0)
    umask((mode_t)strtol(argument, NULL, 8));
  else if (strcmp(step, "exit") == 0)
    exit(n);
  else
    failed = errno = EINVAL;
  if (failed)
    fail(step);
}

int main(int argc, char **argv)
{
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], "exec") == 0 && i + 1 < argc) {
      execv(argv[i + 1], argv + i + 1);
      fail("exec");
    } else if (!do_alone(argv[i])) {
      if (i + 1 == argc)
        return 2;
      do_with(argv[i], argv[i + 1]);
      i++;
    }
  return 0;
}
