// SPDX-License-Identifier: MIT
//
// cloned PORT: connects, and lets children of raw clone() connect: with memory of their own and with
// the parent's, with its descriptors and without, one after the other and in a chain. Prints how many
// connects were made.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in server;

static int connect_once(void *unused)
{
  (void)unused;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  int failed = connect(fd, (struct sockaddr *)&server, sizeof server);
  close(fd);
  return failed ? 1 : 0;
}

static int run_clone(int flags)
{
  int status;
  size_t size = 256 * 1024;
  char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pid_t child = clone(connect_once, stack + size, flags | SIGCHLD, NULL);
  if (child < 0 || waitpid(child, &status, 0) != child)
    return -1;
  munmap(stack, size);
  return status;
}

/* A fork that libc knows nothing of. */
static int run_raw(int depth)
{
  int status;
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
  if (child == 0) {
    int failed = connect_once(NULL);
    syscall(SYS_exit_group, failed || (depth > 1 && run_raw(depth - 1)));
  }
  return child < 0 || waitpid(child, &status, 0) != child ? -1 : status;
}

int main(int argc, char **argv)
{
  static const int flags[] = {0,
                              CLONE_VM,
                              CLONE_FILES,
                              CLONE_FS,
                              CLONE_VM | CLONE_FILES,
                              CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND,
                              CLONE_VFORK,
                              CLONE_VM | CLONE_VFORK};
  int made = 0;
  server = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)atoi(argc > 1 ? argv[1] : "9"))};
  for (int parent_first = 0; parent_first < 2; parent_first++) {
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
      int status = run_clone(flags[i]);
      if (status) {
        printf("clone %#x: status %#x\n", (unsigned)flags[i], (unsigned)status);
        return 1;
      }
      made++;
    }
    if (connect_once(NULL) || run_raw(3))
      return 1;
    made += 4;
  }
  printf("%d\n", made);
  return 0;
}
