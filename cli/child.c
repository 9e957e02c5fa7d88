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

#include "cli/proc.h"

/* A terminal sends these to COMMAND too: they are its to heed. */
static const int ignored[] = {SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE};
#define IGNORED (sizeof ignored / sizeof *ignored)
static struct sigaction before[IGNORED], child_before;

static sigset_t awaited, mask_before;

static void take_signals(void)
{
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  for (size_t i = 0; i < IGNORED; i++)
    sigaction(ignored[i], &ignore, &before[i]);
  struct sigaction normal = {.sa_handler = SIG_DFL};
  sigaction(SIGCHLD, &normal, &child_before); /* ignored, it would take the status away */
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGCHLD);
  sigaddset(&awaited, SIGTERM);
  sigaddset(&awaited, SIGHUP);
  sigaddset(&awaited, SIGUSR1);
  sigaddset(&awaited, SIGUSR2);
  sigprocmask(SIG_BLOCK, &awaited, &mask_before);
}

static void give_signals_back(void)
{
  for (size_t i = 0; i < IGNORED; i++)
    sigaction(ignored[i], &before[i], NULL);
  sigaction(SIGCHLD, &child_before, NULL);
  sigprocmask(SIG_SETMASK, &mask_before, NULL);
}

int child_start(struct child *child, char **argv)
{
  int report[2], error = 0;
  if (pipe2(report, O_CLOEXEC))
    return errno;
  take_signals();
  child->pid = fork();
  if (child->pid < 0)
    return errno;
  if (child->pid == 0) {
    give_signals_back();
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

/* Stops berth if COMMAND is stopped, and still is a moment later: a SIGCONT to the group
 * reaches berth before it reaches COMMAND. */
static void stop_likewise(const struct child *child)
{
  const struct timespec moment = {.tv_nsec = 10 * 1000000};
  nanosleep(&moment, NULL);
  if (state_letter(child->pid) != 'T')
    return;
  pid_t watcher = wake_when_continued(child->pid);
  raise(SIGSTOP);
  if (watcher > 0) {
    kill(watcher, SIGKILL);
    waitpid(watcher, NULL, 0);
  }
  kill(child->pid, SIGCONT);
}

/* --- waiting ------------------------------------------------------------------------------- */

/* Returns whether COMMAND has ended. As process 1 berth is also given orphans to bury. */
static bool reap(struct child *child)
{
  bool ended = false;
  int status;
  for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0;) {
    if (pid != child->pid)
      continue;
    if (WIFSTOPPED(status)) {
      stop_likewise(child);
    } else {
      child->status = status;
      ended = true;
    }
  }
  return ended;
}

/* The kernel's own (a terminal that hung up) went to the whole group, COMMAND included. */
static void pass_on(const struct child *child, const siginfo_t *info)
{
  if (info->si_signo != SIGCHLD && info->si_code <= 0)
    kill(child->pid, info->si_signo);
}

bool child_wait(struct child *child, int milliseconds)
{
  struct timespec time = {.tv_nsec = milliseconds * 1000000L};
  siginfo_t info;
  if (reap(child))
    return true;
  if (sigtimedwait(&awaited, &info, &time) < 0)
    return false;
  pass_on(child, &info);
  return reap(child);
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
