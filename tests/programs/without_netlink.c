// SPDX-License-Identifier: MIT
/* without_netlink EPERM|EAFNOSUPPORT COMMAND...: COMMAND, where socket(AF_NETLINK) fails with this
 * errno: as under systemd's RestrictAddressFamilies=, or in a container's seccomp profile. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The lower half of the first argument. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define FIRST offsetof(struct seccomp_data, args)
#else
#define FIRST (offsetof(struct seccomp_data, args) + 4)
#endif

static int forbid(unsigned error)
{
  struct sock_filter lines[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FIRST),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {sizeof lines / sizeof *lines, lines};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
}

int main(int argc, char **argv)
{
  if (argc < 3)
    return 2;
  if (forbid(strcmp(argv[1], "EPERM") == 0 ? EPERM : EAFNOSUPPORT)) {
    perror("seccomp");
    return 77;
  }
  execvp(argv[2], argv + 2);
  perror(argv[2]);
  return 127;
}
