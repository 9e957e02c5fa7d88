// SPDX-License-Identifier: MIT
//
// without_vdso COMMAND [ARGUMENT...]: executes COMMAND, and takes the vDSO out of its auxiliary vector
// before its first instruction. What libc would ask the vDSO is a system call then, as on a machine
// whose clock the vDSO does not read.
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined __x86_64__
#define STACK(registers) ((registers).rsp)
#elif defined __i386__
#define STACK(registers) ((unsigned long)(registers).esp)
#endif

#ifdef STACK
static pid_t child;

static unsigned long word(unsigned long at)
{
  return (unsigned long)ptrace(PTRACE_PEEKDATA, child, (void *)at, NULL);
}

/* argc, the arguments, NULL, the environment, NULL, the vector (create_elf_tables() in
 * fs/binfmt_elf.c). */
static void take_out(void)
{
  struct user_regs_struct registers;
  ptrace(PTRACE_GETREGS, child, NULL, &registers);
  unsigned long at = STACK(registers) + sizeof at;
  for (int lists = 0; lists < 2; lists++) {
    while (word(at))
      at += sizeof at;
    at += sizeof at;
  }
  for (; word(at) != AT_NULL; at += sizeof(ElfW(auxv_t)))
    if (word(at) == AT_SYSINFO_EHDR || word(at) == AT_SYSINFO)
      ptrace(PTRACE_POKEDATA, child, (void *)at, (void *)AT_IGNORE);
}
#endif

int main(int argc, char **argv)
{
#ifdef STACK
  int status;
  if (argc < 2)
    return 125;
  child = fork();
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    execvp(argv[1], argv + 1);
    _exit(127);
  }
  if (waitpid(child, &status, 0) != child)
    return 125;
  if (WIFSTOPPED(status)) {
    take_out();
    ptrace(PTRACE_DETACH, child, NULL, NULL);
    waitpid(child, &status, 0);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
#else
  puts("not on this architecture");
  return argc ? 77 : 77;
#endif
}
