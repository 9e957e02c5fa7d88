// SPDX-License-Identifier: MIT
//
// vforks: calls vfork() in the child of a vfork(), three deep, and says how it ended; then again, and
// in the child of a fork().
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int status_of(pid_t child)
{
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child)
    _exit(99);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

/* Also twice in one function: from one place of the stack. */
static __attribute__((noinline)) int twice(void)
{
  pid_t child = vfork();
  if (child == 0) {
    pid_t grandchild = vfork();
    if (grandchild == 0)
      _exit(6);
    _exit(status_of(grandchild) + 1);
  }
  return status_of(child);
}

/* Ends with one more than the child that it made. */
static __attribute__((noinline)) int deep(int left)
{
  pid_t child = vfork();
  if (child == 0)
    _exit(left ? deep(left - 1) + 1 : 1);
  return status_of(child);
}

int main(void)
{
  printf("deep %d\n", deep(3));
  printf("twice %d\n", twice());
  printf("deep %d\n", deep(1));
  fflush(stdout);
  pid_t child = fork();
  if (child == 0)
    _exit(deep(2));
  printf("forked %d\n", status_of(child));
  return 0;
}
