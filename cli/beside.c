// SPDX-License-Identifier: MIT
#include "cli/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/relay.h"
#include "record/clock.h"

#define STEP_MS 50
#define STEPS (BESIDE_PATIENCE_S * 1000 / STEP_MS)
#define STEPS_TO_SAY 4
#define STEPS_WHEN_ASKED 4

static pid_t second; /* 0: there is none, or it was reaped */
static int ended;    /* its status, then */
static int line[2];  /* from the first to the second: a byte when COMMAND has ended */

static struct page {
  _Atomic(uint64_t) next;
  atomic_int answer; /* 0: none yet; 1: no; 2: yes */
} nowhere, *shared = &nowhere;

/* What would be without a parent ends as berth does, also where it is killed. */
static void stay_with(pid_t parent)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(0);
}

pid_t beside_begin(void)
{
  pid_t parent = getpid();
  if (pipe2(line, O_CLOEXEC))
    return -1;
  struct page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                           -1, 0);
  if (page != MAP_FAILED)
    shared = page;
  second = fork();
  if (second == 0)
    stay_with(parent);
  close(line[second == 0]);
  if (second < 0)
    close(line[1]);
  return second;
}

/* --- the second process -------------------------------------------------------------------- */

bool beside_waits(int milliseconds)
{
  struct pollfd p = {.fd = line[0], .events = POLLIN};
  char byte;
  if (poll(&p, 1, milliseconds) < 1)
    return true;
  if (read(line[0], &byte, 1) != 1)
    _exit(0);
  return false;
}

void beside_shown(uint64_t next)
{
  atomic_store(&shared->next, next);
}

void beside_answers(bool yes)
{
  atomic_store(&shared->answer, yes ? 2 : 1);
}

/* --- the first ----------------------------------------------------------------------------- */

void beside_buried(pid_t pid, int status)
{
  if (pid != second)
    return;
  second = 0;
  ended = status;
}

/* The number behind the first of these words. */
static uint64_t number_behind(const char *text, const char *begin)
{
  const char *at = strstr(text, begin);
  return at ? strtoull(at + strlen(begin), NULL, 10) : 0;
}

static void read_of(pid_t pid, const char *name, char text[4096])
{
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, text, 4095) : 0;
  if (fd >= 0)
    close(fd);
  text[n > 0 ? n : 0] = '\0';
}

/* What grows while it runs: how often it was taken off a processor, and its ticks on one. Of a process
 * that waits in write(2) nothing does. */
static uint64_t progress_of(pid_t pid)
{
  char text[4096];
  unsigned long long user = 0, kernel = 0;
  read_of(pid, "stat", text);
  const char *paren = strrchr(text, ')');
  if (!paren || sscanf(paren + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
                       &kernel) != 2)
    return 0;
  read_of(pid, "status", text);
  return user + kernel + number_behind(text, "\nvoluntary_ctxt_switches:") +
         number_behind(text, "\nnonvoluntary_ctxt_switches:");
}

static bool reaped(pid_t pid, int *status)
{
  return waitpid(pid, status, WNOHANG) != 0;
}

static void end_now(pid_t pid)
{
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
}

/* A step in which no signal came, and it did not get on. */
static bool stands_still(uint64_t *progress, int *patience)
{
  uint64_t began = clock_ns(CLOCK_MONOTONIC), before = *progress;
  if (relay_asked_to_end(STEP_MS))
    *patience = STEPS_WHEN_ASKED;
  *progress = progress_of(second);
  return *progress == before && clock_ns(CLOCK_MONOTONIC) - began >= STEP_MS * UINT64_C(1000000);
}

/* Returns whether it ended by itself. */
static bool wait_while_it_gets_on(void)
{
  uint64_t progress = 0;
  int still = 0, patience = STEPS;
  while (!reaped(second, &ended)) {
    uint64_t before = progress;
    if (stands_still(&progress, &patience))
      still++;
    else if (progress != before)
      still = 0;
    if (still > patience)
      return false;
  }
  return true;
}

struct beside_result beside_end(void)
{
  bool whole = true;
  if (second > 0) {
    whole = write(line[1], "", 1) >= 0 || errno == EPIPE; /* it has just died */
    whole = whole && wait_while_it_gets_on();
    if (!whole)
      end_now(second);
  }
  second = 0;
  close(line[1]);
  int answer = atomic_load(&shared->answer);
  return (struct beside_result){
      .whole = whole && WIFEXITED(ended) && WEXITSTATUS(ended) == 0,
      .answered = answer != 0,
      .answer = answer == 2,
      .next = atomic_load(&shared->next),
  };
}

void beside_say(void (*say)(const void *context), const void *context)
{
  int status;
  pid_t parent = getpid(), pid = fork();
  if (pid < 0)
    return;
  if (pid == 0) {
    stay_with(parent);
    say(context);
    _exit(0);
  }
  for (int i = 0; i < STEPS_TO_SAY; i++) {
    if (reaped(pid, &status))
      return;
    poll(NULL, 0, STEP_MS);
  }
  end_now(pid);
}
