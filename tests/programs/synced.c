// SPDX-License-Identifier: MIT
//
// synced ROUNDS PORT: in so many child processes a thread makes UDP connects to 127.0.0.1:PORT, while
// another has a filter come down on both (SECCOMP_FILTER_FLAG_TSYNC) that kills at getsockname(2),
// which the program does not call. Prints how many were killed; exits with 1 where there are any.
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MORE 20 /* connects after the filter has come down */

static atomic_bool begun, sealed;
static struct sockaddr_in peer = {.sin_family = AF_INET};

static void *connect_again_and_again(void *unused)
{
  for (int more = MORE; more;) {
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&peer, sizeof peer))
      _exit(2);
    close(s);
    atomic_store(&begun, true);
    more -= atomic_load(&sealed);
  }
  return unused;
}

static void seal(unsigned flags, unsigned answer)
{
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getsockname, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, answer),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program))
    _exit(3);
}

/* The kernel looks again at filters, while a tracer holds a call up, only where there was one. */
static void one_round(unsigned delay)
{
  pthread_t thread;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _exit(3);
  seal(0, SECCOMP_RET_ALLOW);
  if (pthread_create(&thread, NULL, connect_again_and_again, NULL))
    _exit(4);
  while (!atomic_load(&begun))
    ;
  for (volatile unsigned i = 0; i < delay; i++)
    ;
  seal(SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_RET_KILL_PROCESS);
  atomic_store(&sealed, true);
  pthread_join(thread, NULL);
  _exit(0);
}

int main(int argc, char **argv)
{
  int rounds = argc > 2 ? atoi(argv[1]) : 0, killed = 0;
  if (!rounds)
    return 5;
  peer.sin_port = htons((uint16_t)atoi(argv[2]));
  peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < rounds; i++) {
    int status;
    pid_t child = fork();
    if (child == 0)
      one_round((unsigned)i * 1000);
    if (child < 0 || waitpid(child, &status, 0) != child)
      return 6;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
      killed++;
    else if (status)
      return WIFEXITED(status) ? WEXITSTATUS(status) : 7;
  }
  printf("%d killed\n", killed);
  return killed != 0;
}
