// SPDX-License-Identifier: MIT
#include "cli/killed.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "record/read.h"
#include "record/text.h"

#if defined __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined __i386__
#define ARCHITECTURE AUDIT_ARCH_I386
#elif defined __aarch64__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE 0 /* numbers are told as they are */
#endif

/* Of this architecture; made by the Makefile from <sys/syscall.h>. */
static const struct {
  long number;
  const char *name;
} names[] = {
#include "cli/syscall_names.inc"
};

/* An end by SIGSYS, as the kernel logged it. */
struct killed {
  unsigned long pid, call, architecture;
  char name[32]; /* of the thread, as the kernel keeps it */
};

static void put_call(char *to, size_t size, unsigned long call, unsigned long architecture)
{
  for (size_t i = 0; architecture == ARCHITECTURE && i < sizeof names / sizeof *names; i++)
    if (names[i].number == (long)call) {
      snprintf(to, size, "%s(2)", names[i].name);
      return;
    }
  snprintf(to, size, "system call %lu of architecture %lx", call, architecture);
}

int killed_begin(void)
{
  int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (log >= 0)
    lseek(log, 0, SEEK_END);
  return log;
}

static bool number_after(const char *line, const char *label, int base, unsigned long *n)
{
  const char *at = strstr(line, label);
  if (!at)
    return false;
  char *end;
  *n = strtoul(at + strlen(label), &end, base);
  return end != at + strlen(label);
}

/* "6,1234,5678,-;audit: type=1326 audit(...): ... pid=1 comm="x" ... sig=31 arch=c000003e syscall=41
 * ..." (Documentation/ABI/testing/dev-kmsg). */
static bool read_line(const char *line, struct killed *k)
{
  unsigned long sig;
  const char *name = strstr(line, " comm=\"");
  if (!strstr(line, "audit: type=1326 ") || !number_after(line, " pid=", 10, &k->pid) ||
      !number_after(line, " sig=", 10, &sig) || sig != SIGSYS ||
      !number_after(line, " arch=", 16, &k->architecture) ||
      !number_after(line, " syscall=", 10, &k->call))
    return false;
  struct text t = TEXT_INIT(k->name);
  if (name)
    text_name(&t, name + 7, strcspn(name + 7, "\""));
  text_end(&t);
  return true;
}

/* The row of a process that has it now: the last of several with this pid. */
static bool find_row(struct record_reader *reader, unsigned long pid, struct record_process *row)
{
  static struct record_process one;
  bool found = false;
  uint32_t used = reader ? record_processes_used(reader) : 0;
  for (uint32_t i = 0; i < used; i++)
    if (record_read_process(reader, i, &one) && one.pid == pid) {
      memcpy((void *)row, (const void *)&one, sizeof one);
      found = true;
    }
  return found;
}

static void say_one(const struct killed *k, const struct record_process *row)
{
  char call[64];
  put_call(call, sizeof call, k->call, k->architecture);
  bool ours = row && row->in_call && row->in_call == k->call;
  complain(
      "run", "%s (pid %lu) was ended by SIGSYS: a seccomp filter forbids %s%s",
      k->name[0] ? k->name : "a process", k->pid, call,
      ours ? ", which libberth.so called: run it without berth, or let the filter pass that call"
           : ", which it called");
}

/* Returns whether COMMAND was among them. */
static bool say_logged(int log, struct record_reader *reader, pid_t command)
{
  static struct record_process row;
  char line[8192];
  bool told = false;
  for (;;) {
    ssize_t n = read(log, line, sizeof line - 1);
    if (n < 0 && errno == EPIPE) /* records were overwritten meanwhile */
      continue;
    if (n <= 0)
      return told;
    line[n] = '\0';
    struct killed k = {0};
    if (!read_line(line, &k))
      continue;
    bool recorded = find_row(reader, k.pid, &row);
    if (!recorded && k.pid != (unsigned long)command)
      continue;
    say_one(&k, recorded ? &row : NULL);
    told |= k.pid == (unsigned long)command;
  }
}

static void say_command(struct record_reader *reader, pid_t command, bool readable)
{
  static struct record_process row;
  struct killed k = {
      .pid = (unsigned long)command, .name = "COMMAND", .architecture = ARCHITECTURE};
  if (find_row(reader, k.pid, &row) && row.in_call) {
    k.call = row.in_call;
    say_one(&k, &row);
    return;
  }
  complain(
      "run",
      "COMMAND (pid %d) was ended by SIGSYS, as a seccomp filter does at a system call that it "
      "forbids: %s",
      (int)command,
      readable ? "the kernel's log (dmesg, type=1326) names none; it may have left it out, or a "
                 "process sent the signal"
               : "the kernel's log (dmesg, type=1326) would tell which, and is not to be read "
                 "here");
}

bool killed_any(const struct killed_command *c)
{
  struct pollfd p = {.fd = c->log, .events = POLLIN};
  if ((WIFSIGNALED(c->status) && WTERMSIG(c->status) == SIGSYS) || poll(&p, 1, 0) > 0)
    return true;
  if (c->log >= 0)
    close(c->log);
  return false;
}

void killed_say(const void *context)
{
  const struct killed_command *c = context;
  struct record_reader reader;
  bool recorded = c->recording[0] && !record_open(&reader, AT_FDCWD, c->recording);
  struct record_reader *rows = recorded ? &reader : NULL;
  bool told = c->log >= 0 && say_logged(c->log, rows, c->pid);
  if (!told && WIFSIGNALED(c->status) && WTERMSIG(c->status) == SIGSYS)
    say_command(rows, c->pid, c->log >= 0);
  if (recorded)
    record_close(&reader);
  if (c->log >= 0)
    close(c->log);
}
