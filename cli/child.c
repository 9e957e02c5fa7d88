// SPDX-License-Identifier: MIT
#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/beside.h"
#include "cli/proc.h"
#include "cli/relay.h"

int child_start(struct child *child, char **argv)
{
  int report[2], error = 0;
  if (pipe2(report, O_CLOEXEC))
    return errno;
  relay_begin();
  child->pid = fork();
  if (child->pid < 0)
    return errno;
  if (child->pid == 0) {
    relay_restore();
    execvp(argv[0], argv);
    error = errno;
    if (write(report[1], &error, sizeof error) != sizeof error)
      _exit(126);
    _exit(127);
  }
  close(report[1]);
  if (read(report[0], &error, sizeof error) != sizeof error)
    error = 0;
  close(report[0]);
  if (error)
    waitpid(child->pid, NULL, 0);
  else
    relay_watch();
  return error;
}

/* --- job control --------------------------------------------------------------------------- */

static char state_letter(pid_t pid)
{
  struct proc_stat s;
  return proc_stat(pid, &s) ? s.letter : '\0';
}

/* While berth is stopped it cannot see that COMMAND was continued, or killed, by itself. */
static pid_t wake_when_continued(pid_t command)
{
  const struct timespec tick = {.tv_nsec = 20 * 1000000};
  pid_t parent = getpid();
  pid_t watcher = fork();
  if (watcher)
    return watcher;
  while (state_letter(command) == 'T' && getppid() == parent)
    nanosleep(&tick, NULL);
  kill(parent, SIGCONT);
  _exit(0);
}

static bool is_continued(void)
{
  sigset_t waiting;
  return sigpending(&waiting) == 0 && sigismember(&waiting, SIGCONT);
}

/* By the signal that stopped COMMAND, which berth's parent is told. In an orphaned process group SIGTSTP,
 * SIGTTIN and SIGTTOU stop nothing (setpgid(2)): where COMMAND is in another group than berth, whose own
 * may be orphaned, it is SIGSTOP. */
static void stop_by(int number, pid_t command)
{
  const struct sigaction by_default = {.sa_handler = SIG_DFL};
  struct sigaction before;
  sigset_t one;
  if (number == SIGSTOP || getpgid(command) != getpgrp()) {
    raise(SIGSTOP);
    return;
  }
  sigemptyset(&one);
  sigaddset(&one, number);
  sigaction(number, &by_default, &before); /* it may have been ignored from the start */
  raise(number);
  sigprocmask(SIG_UNBLOCK, &one, NULL); /* here berth stops */
  sigprocmask(SIG_BLOCK, &one, NULL);
  sigaction(number, &before, NULL);
}

/* Stops berth if COMMAND is stopped, and still is a moment later: a SIGCONT to the group
 * reaches berth before it reaches COMMAND. */
static void stop_likewise(struct child *child, int number)
{
  const struct timespec moment = {.tv_nsec = 10 * 1000000};
  nanosleep(&moment, NULL);
  if (state_letter(child->pid) != 'T' || getpid() == 1) /* which the kernel does not stop */
    return;
  child->watcher = wake_when_continued(child->pid);
  relay_stops();
  if (state_letter(child->pid) == 'T' && !is_continued())
    stop_by(number, child->pid);
  if (child->watcher > 0) {
    kill(child->watcher, SIGKILL);
    waitpid(child->watcher, NULL, 0);
  }
}

/* --- waiting ------------------------------------------------------------------------------- */

/* Returns whether COMMAND has ended. As process 1 berth is also given orphans to bury. */
static bool reap(struct child *child)
{
  bool ended = false;
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0;) {
    if (pid == child->pid && WIFSTOPPED(status)) {
      stop_likewise(child, WSTOPSIG(status));
    } else if (pid == child->pid) {
      child->status = status;
      ended = true;
    } else if (!WIFSTOPPED(status)) {
      relay_buried(pid);
      beside_buried(pid, status);
    }
  }
  return ended;
}

void child_wait(struct child *child)
{
  while (!reap(child))
    relay_wait(child->pid, child->watcher);
}

void child_end_likewise(const struct child *child)
{
  struct rlimit no_core = {0};
  if (WIFEXITED(child->status))
    exit(WEXITSTATUS(child->status));
  int signal_number = WTERMSIG(child->status);
  if (getpid() != 1) {
    setrlimit(RLIMIT_CORE, &no_core);
    prctl(PR_SET_DUMPABLE, 0); /* a core_pattern that is a pipe asks no limit */
    signal(signal_number, SIG_DFL);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signal_number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    raise(signal_number);
  }
  exit(128 + signal_number);
}
