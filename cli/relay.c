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

static pid_t witness; /* 0: none could be made, and everything is passed on */
static uint64_t mask_before;
static uint64_t seen[SIGNALS], matched[SIGNALS]; /* when, CLOCK_MONOTONIC; 0: it was not */
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

/* --- the witness --------------------------------------------------------------------------- */

static pid_t new_witness(void)
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

void relay_watch(void)
{
  witness = new_witness();
}

void relay_end(void)
{
  end_witness(witness);
  witness = 0;
}

void relay_buried(pid_t pid)
{
  if (pid == witness && pid)
    witness = new_witness();
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

/* Puts a new one in its place, to which nothing was sent yet. Returns what was sent to the old one,
 * up to the last moment: the new one comes first, so that at no time there is none. What both of
 * them got is one signal, and makes the new one useless. */
static uint64_t renew_witness(void)
{
  uint64_t got = 0, both = 0;
  do {
    pid_t old = witness;
    uint64_t before = waiting_for(old);
    witness = new_witness();
    uint64_t late = waiting_for(old) & ~before;
    got |= before | late;
    both = late & waiting_for(witness);
    end_witness(old);
  } while (both);
  return got;
}

static void look_at_witness(uint64_t now)
{
  uint64_t set = waiting_for(witness);
  if (set)
    set |= renew_witness();
  for (int number = 1; number < SIGNALS; number++)
    if (set >> (number - 1) & 1)
      seen[number] = now;
}

void relay_stops(void)
{
  look_at_witness(clock_ns(CLOCK_MONOTONIC));
  seen[SIGCONT] = 0;
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
      seen[number] = 0;
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

static bool is_of_all(int number, uint64_t now)
{
  if (is_since(seen[number], now, CREDIT_NS)) {
    matched[number] = now;
    seen[number] = 0;
    return true;
  }
  bool undoes = number == SIGCONT || is_stop(number); /* something that came between */
  return !undoes && is_since(matched[number], now, SAME_NS);
}

/* Takes out what the witness got as well. Returns how many are left. */
static size_t drop_seen(struct batch *b)
{
  uint64_t now = clock_ns(CLOCK_MONOTONIC);
  size_t left = 0;
  look_at_witness(now);
  for (size_t i = 0; i < b->count; i++) {
    int number = b->list[i].si_signo;
    if (number && is_of_all(number, now))
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

/* What comes with a value goes on with it, and with its sender. */
static void pass_on(pid_t command, siginfo_t *info)
{
  if (info->si_code != SI_QUEUE || syscall(SYS_rt_sigqueueinfo, command, info->si_signo, info) != 0)
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
  for (int waited = 0; b.count && drop_seen(&b) && waited < GRACE_MS; waited += GRACE_STEP_MS) {
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
