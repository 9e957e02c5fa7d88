// SPDX-License-Identifier: MIT
#include "cli/relay.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "record/clock.h"

/* An init system signals the processes of a cgroup one after the other, berth first: COMMAND and the
 * witness get theirs within this time, which a signal to berth alone is late by. A signal to a process
 * group needs none: the kernel goes from the newest process to the oldest (attach_pid() adds at the
 * head), so the witness has it before berth. */
#define GRACE_MS 50
#define GRACE_STEP_MS 2

/* A signal that was sent to one and then to all, as timeout(1) does, counts as one. */
#define SAME_NS 100000000

/* So long after it was seen at the witness berth's own is still to come. */
#define CREDIT_NS 1000000000

#define SIGNALS 65
#define BATCH 64

/* One stands in berth's process group, and one in a group of its own. */
enum { INSIDE, OUTSIDE, WITNESSES };
static struct witness {
  pid_t pid;                                /* 0: none could be made */
  uint64_t seen[SIGNALS], matched[SIGNALS]; /* when, CLOCK_MONOTONIC; 0: it was not */
} witnesses[WITNESSES];

static uint64_t mask_before;
static struct sigaction child_before;

/* glibc's own functions leave out two signals. */
static void set_mask(uint64_t mask, uint64_t *before)
{
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, before, sizeof mask);
}

void relay_begin(void)
{
  struct sigaction normal = {.sa_handler = SIG_DFL};
  sigaction(SIGCHLD, &normal, &child_before); /* ignored, it would take the status away */
  set_mask(UINT64_MAX, &mask_before);
}

void relay_restore(void)
{
  sigaction(SIGCHLD, &child_before, NULL);
  set_mask(mask_before, NULL);
}

/* --- the witnesses ------------------------------------------------------------------------- */

static pid_t fork_witness(void)
{
  pid_t parent = getpid(), pid = fork();
  if (pid)
    return pid > 0 ? pid : 0;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  while (getppid() == parent)
    pause();
  _exit(0);
}

static void end_witness(pid_t pid)
{
  if (!pid)
    return;
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
}

/* A bit for each signal that waits for it, from signal 1 on. */
static uint64_t waiting_for(pid_t pid)
{
  char path[64], text[4096];
  snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
  int fd = pid ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
  if (fd >= 0)
    close(fd);
  text[n > 0 ? n : 0] = '\0';
  const char *line = strstr(text, "\nShdPnd:");
  return line ? strtoull(line + sizeof "\nShdPnd:" - 1, NULL, 16) : 0;
}

/* One that was sent something before it had left the group tells nothing. */
static pid_t new_witness(int where)
{
  pid_t pid = fork_witness();
  while (where == OUTSIDE && pid && setpgid(pid, pid) == 0 && waiting_for(pid)) {
    end_witness(pid);
    pid = fork_witness();
  }
  return pid;
}

void relay_watch(void)
{
  for (int i = 0; i < WITNESSES; i++)
    witnesses[i].pid = new_witness(i);
}

void relay_end(void)
{
  for (int i = 0; i < WITNESSES; i++) {
    end_witness(witnesses[i].pid);
    witnesses[i].pid = 0;
  }
}

void relay_buried(pid_t pid)
{
  for (int i = 0; i < WITNESSES; i++)
    if (pid && pid == witnesses[i].pid)
      witnesses[i].pid = new_witness(i);
}

/* Puts a new one in its place, to which nothing was sent yet. Returns what was sent to the old one,
 * up to the last moment: the new one comes first, so that at no time there is none. What both of
 * them got is one signal, and makes the new one useless. */
static uint64_t renew_witness(int where)
{
  struct witness *w = &witnesses[where];
  uint64_t got = 0, both = 0;
  do {
    pid_t old = w->pid;
    uint64_t before = waiting_for(old);
    w->pid = new_witness(where);
    uint64_t late = waiting_for(old) & ~before;
    got |= before | late;
    both = late & waiting_for(w->pid);
    end_witness(old);
  } while (both);
  return got;
}

static void look_at_witnesses(uint64_t now)
{
  for (int i = 0; i < WITNESSES; i++) {
    uint64_t set = waiting_for(witnesses[i].pid);
    if (set)
      set |= renew_witness(i);
    for (int number = 1; number < SIGNALS; number++)
      if (set >> (number - 1) & 1)
        witnesses[i].seen[number] = now;
  }
}

static void forget(int number)
{
  for (int i = 0; i < WITNESSES; i++)
    witnesses[i].seen[number] = 0;
}

void relay_stops(void)
{
  look_at_witnesses(clock_ns(CLOCK_MONOTONIC));
  forget(SIGCONT);
}

/* --- what is passed on --------------------------------------------------------------------- */

struct batch {
  siginfo_t list[BATCH]; /* si_signo 0: not to be passed on */
  size_t count;
};

/* What the kernel says of berth's own doings; SIGCHLD is of berth's children. */
static bool is_own(const siginfo_t *info)
{
  static const int own[] = {SIGCHLD, SIGPIPE, SIGXFSZ, SIGXCPU, SIGIO, SIGURG};
  if (info->si_code <= 0) /* a process sent it */
    return false;
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (info->si_signo == own[i])
      return true;
  return false;
}

static bool take_one(siginfo_t *info, const struct timespec *time)
{
  sigset_t all;
  memset(&all, 0xff, sizeof all);
  return sigtimedwait(&all, info, time) > 0;
}

static bool is_stop(int number)
{
  return number == SIGTSTP || number == SIGTTIN || number == SIGTTOU;
}

/* Whether what came later takes this back, as it does for the kernel while the signal waits. */
static bool takes_back(int later, int number)
{
  return (later == SIGCONT && is_stop(number)) || (is_stop(later) && number == SIGCONT);
}

static void add(struct batch *b, const siginfo_t *info)
{
  for (int number = 1; number < SIGNALS; number++)
    if (takes_back(info->si_signo, number))
      forget(number);
  for (size_t i = 0; i < b->count; i++)
    if (takes_back(info->si_signo, b->list[i].si_signo))
      b->list[i].si_signo = 0;
  b->list[b->count++] = *info;
}

/* All that wait now. */
static void take(struct batch *b, const struct timespec *time, pid_t ignored)
{
  static const struct timespec at_once;
  siginfo_t info;
  b->count = 0;
  while (b->count < BATCH && take_one(&info, time)) {
    time = &at_once;
    if (!is_own(&info) && !(info.si_signo == SIGCONT && ignored && info.si_pid == ignored))
      add(b, &info);
  }
}

static bool is_since(uint64_t time, uint64_t now, uint64_t nanoseconds)
{
  return time && now - time < nanoseconds;
}

/* Whether this witness got the signal too. */
static bool is_witnessed(struct witness *w, int number, uint64_t now)
{
  if (is_since(w->seen[number], now, CREDIT_NS)) {
    w->matched[number] = now;
    w->seen[number] = 0;
    return true;
  }
  bool undoes = number == SIGCONT || is_stop(number); /* something that came between */
  return !undoes && is_since(w->matched[number], now, SAME_NS);
}

/* COMMAND makes a process group or a session of its own. */
static bool has_left(pid_t command)
{
  pid_t group = getpgid(command);
  return group > 0 && group != getpgrp();
}

static bool has_been_told(pid_t command, int number, uint64_t now)
{
  if (!has_left(command))
    return is_witnessed(&witnesses[INSIDE], number, now);
  bool to_all = is_witnessed(&witnesses[OUTSIDE], number, now);
  if (to_all)
    witnesses[INSIDE].seen[number] = 0;
  return to_all;
}

/* Takes out what has reached COMMAND as well. Returns how many are left. */
static size_t drop_told(struct batch *b, pid_t command)
{
  uint64_t now = clock_ns(CLOCK_MONOTONIC);
  size_t left = 0;
  look_at_witnesses(now);
  for (size_t i = 0; i < b->count; i++) {
    int number = b->list[i].si_signo;
    if (number && has_been_told(command, number, now))
      b->list[i].si_signo = 0;
    left += b->list[i].si_signo != 0;
  }
  return left;
}

static bool has_ended(pid_t command)
{
  siginfo_t info = {0};
  return waitid(P_PID, (id_t)command, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid;
}

/* By a signal that waits, and will be passed on or has reached COMMAND. */
static bool is_taken_back(int number)
{
  uint64_t waiting = 0;
  syscall(SYS_rt_sigpending, &waiting, sizeof waiting);
  for (int later = 1; later < SIGNALS; later++)
    if (waiting >> (later - 1) & 1 && takes_back(later, number))
      return true;
  return false;
}

/* A shell that continues a job gives it the terminal, which is then berth's group's. */
static void give_terminal(pid_t group)
{
  int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
  if (terminal >= 0 && tcgetpgrp(terminal) == getpgrp())
    tcsetpgrp(terminal, group);
  if (terminal >= 0)
    close(terminal);
}

/* What was sent to berth's group, and COMMAND has left that. In berth's place, as the group's leader, it
 * could not have: then it is for the group that COMMAND leads now. Otherwise only who has started berth
 * can mean COMMAND, as timeout(1) does, which sends a signal to its child and to the group. */
static void pass_on_to_group(pid_t command, const siginfo_t *info)
{
  pid_t group = getpgid(command);
  bool leads = getpgrp() == getpid();
  if (leads && group == command && info->si_signo == SIGCONT)
    give_terminal(group);
  if (leads)
    kill(group == command ? -command : command, info->si_signo);
  else if (info->si_code == SI_USER && info->si_pid == getppid())
    kill(command, info->si_signo);
}

/* What comes with a value goes on with it, and with its sender. */
static void pass_on(pid_t command, siginfo_t *info)
{
  bool left = has_left(command);
  if (left && is_witnessed(&witnesses[INSIDE], info->si_signo, clock_ns(CLOCK_MONOTONIC)))
    pass_on_to_group(command, info);
  else if (info->si_code != SI_QUEUE ||
           syscall(SYS_rt_sigqueueinfo, command, info->si_signo, info) != 0)
    kill(command, info->si_signo);
}

void relay_wait(pid_t command, pid_t ignored)
{
  static struct batch b;
  const struct timespec step = {.tv_nsec = GRACE_STEP_MS * 1000000L};
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  take(&b, NULL, ignored);
  for (int waited = 0; b.count && drop_told(&b, command) && waited < GRACE_MS;
       waited += GRACE_STEP_MS) {
    sigtimedwait(&child, NULL, &step);
    if (has_ended(command))
      return;
  }
  for (size_t i = 0; i < b.count; i++)
    if (b.list[i].si_signo && !is_taken_back(b.list[i].si_signo))
      pass_on(command, &b.list[i]);
}

bool relay_asked_to_end(int milliseconds)
{
  static const int ends[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
  const struct timespec time = {.tv_nsec = milliseconds * 1000000L};
  siginfo_t info;
  if (!take_one(&info, &time))
    return false;
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    if (info.si_signo == ends[i])
      return true;
  return false;
}
