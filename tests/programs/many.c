// SPDX-License-Identifier: MIT
//
// many [OPTION]... ADDRESS PORT [ADDRESS PORT]...: connections by the thousand, from several
// processes at once. The i-th call of a process goes to the i-th of the destinations, in turn.
//
//   -p N  processes               -n N  calls of each
//   -j    threads of one process instead of processes
//   -u    UDP instead of TCP      -m    MPTCP
//   -c    closes each socket at once
//   -t    the processes take turns, a call each
//   -o    the processes begin with different destinations
//   -r    the i-th calls of all processes are made at once, and closed together
//   -b    one bind() to port 0 of the destination's address, instead of the connect
//   -x N  so many calls more by the first process, once all others are done
//   -w    waits for a line on standard input before the first call
//
// Then a line for each call: when (a count), process, its pid, call, local port, errno. The sockets
// that are not closed stay open until standard input ends. All are closed by a reset, so that no
// port is held afterwards.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MPTCP 262

struct call {
  unsigned when; /* 0: was not made */
  unsigned short port;
  int error;
};

static struct {
  unsigned processes, calls, extra;
  int type, protocol, threads, closes, turns, offset, races, binds, waits;
} options = {.processes = 1, .calls = 1, .type = SOCK_STREAM};

static struct destination {
  struct sockaddr_storage address;
  socklen_t size;
} * destinations;
static unsigned destination_count;

/* Of all processes. */
static struct shared {
  atomic_uint made, turn;
  pthread_barrier_t barrier;
  pid_t pids[256];
  struct call calls[];
} * shared;

static void must(int ok, const char *what)
{
  if (ok)
    return;
  perror(what);
  exit(3);
}

static int parse_destination(const char *address, const char *port, struct destination *d)
{
  struct sockaddr_in *in = (void *)&d->address;
  struct sockaddr_in6 *in6 = (void *)&d->address;
  unsigned short n = htons((unsigned short)atoi(port));
  d->size = sizeof *in;
  in->sin_family = AF_INET;
  in->sin_port = n;
  if (inet_pton(AF_INET, address, &in->sin_addr) == 1)
    return 1;
  d->size = sizeof *in6;
  in6->sin6_family = AF_INET6;
  in6->sin6_port = n;
  return inet_pton(AF_INET6, address, &in6->sin6_addr) == 1;
}

static unsigned short port_of(int fd)
{
  struct sockaddr_in6 local;
  socklen_t size = sizeof local;
  memset(&local, 0, sizeof local);
  getsockname(fd, (struct sockaddr *)&local, &size);
  return ntohs(local.sin6_port); /* where AF_INET has it too */
}

static void wait_for_turn(unsigned process)
{
  while (atomic_load(&shared->turn) % options.processes != process)
    sched_yield();
}

static void make_call(unsigned process, unsigned i, struct call *call)
{
  const struct linger reset = {.l_onoff = 1};
  struct destination d = destinations[(i + (options.offset ? process : 0)) % destination_count];
  int fd = socket(d.address.ss_family, options.type, options.protocol);
  must(fd >= 0, "socket");
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  if (options.binds)
    ((struct sockaddr_in *)&d.address)->sin_port = 0;
  if (options.turns)
    wait_for_turn(process);
  if (options.races)
    pthread_barrier_wait(&shared->barrier);
  int failed = options.binds ? bind(fd, (struct sockaddr *)&d.address, d.size)
                             : connect(fd, (struct sockaddr *)&d.address, d.size);
  call->error = failed ? errno : 0;
  call->port = port_of(fd);
  call->when = atomic_fetch_add(&shared->made, 1) + 1;
  if (options.races)
    pthread_barrier_wait(&shared->barrier);
  if (options.closes)
    close(fd);
  if (options.turns)
    atomic_fetch_add(&shared->turn, 1);
}

static struct call *calls_of(unsigned process)
{
  return shared->calls + (size_t)process * (options.calls + options.extra);
}

static void make_calls(unsigned process)
{
  shared->pids[process] = getpid();
  pthread_barrier_wait(&shared->barrier);
  for (unsigned i = 0; i < options.calls; i++)
    make_call(process, i, &calls_of(process)[i]);
}

static void *run_thread(void *process)
{
  make_calls((unsigned)(uintptr_t)process);
  return NULL;
}

static void run_threads(void)
{
  pthread_t threads[256];
  for (unsigned p = 0; p < options.processes; p++)
    must(!pthread_create(&threads[p], NULL, run_thread, (void *)(uintptr_t)p), "pthread_create");
  for (unsigned p = 0; p < options.processes; p++)
    pthread_join(threads[p], NULL);
}

/* One that is ended by a signal closes `done` too. */
static void run_process(unsigned process, int done, int end)
{
  char byte;
  make_calls(process);
  close(done);
  must(read(end, &byte, 1) == 0, "read");
  exit(0);
}

static void print_calls(void)
{
  for (unsigned p = 0; p < options.processes; p++)
    for (unsigned i = 0; i < options.calls + options.extra; i++) {
      struct call *c = &calls_of(p)[i];
      pid_t pid = i < options.calls ? shared->pids[p] : getpid();
      if (c->when)
        printf("%u %u %d %u %u %d\n", c->when, p, (int)pid, i, c->port, c->error);
    }
  fflush(stdout);
}

/* None is left over where a test is ended. */
static void prepare(void)
{
  struct rlimit files;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

static void make_barrier(void)
{
  pthread_barrierattr_t attributes;
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&shared->barrier, &attributes, options.processes);
}

static void start(const int done[2], const int end[2])
{
  for (unsigned p = 0; p < options.processes && !options.threads; p++) {
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid)
      continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(done[0]);
    close(end[1]);
    run_process(p, done[1], end[0]);
  }
  close(done[1]);
  close(end[0]);
}

static void parse(int argc, char **argv)
{
  for (int c; (c = getopt(argc, argv, "p:n:x:jumctorbw")) != -1;)
    switch (c) {
    case 'p': options.processes = (unsigned)atoi(optarg); break;
    case 'n': options.calls = (unsigned)atoi(optarg); break;
    case 'x': options.extra = (unsigned)atoi(optarg); break;
    case 'j': options.threads = 1; break;
    case 'u': options.type = SOCK_DGRAM; break;
    case 'm': options.protocol = MPTCP; break;
    case 'c': options.closes = 1; break;
    case 't': options.turns = 1; break;
    case 'o': options.offset = 1; break;
    case 'r': options.races = options.closes = 1; break;
    case 'b': options.binds = 1; break;
    case 'w': options.waits = 1; break;
    default: exit(2);
    }
  destinations = calloc((size_t)argc, sizeof *destinations);
  for (int i = optind; i + 1 < argc; i += 2)
    if (!parse_destination(argv[i], argv[i + 1], &destinations[destination_count++]))
      exit(2);
  if (!destination_count || !options.processes || options.processes > 256)
    exit(2);
}

int main(int argc, char **argv)
{
  char byte;
  int done[2], end[2];
  parse(argc, argv);
  size_t count = (size_t)options.processes * (options.calls + options.extra);
  shared = mmap(NULL, sizeof *shared + count * sizeof *shared->calls, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  must(shared != MAP_FAILED && !pipe(done) && !pipe(end), "mmap and pipe");
  make_barrier();
  prepare();
  if (options.waits)
    must(read(0, &byte, 1) == 1, "read");
  start(done, end);
  if (options.threads)
    run_threads();
  must(read(done[0], &byte, 1) == 0, "read");
  options.turns = options.races = 0;
  for (unsigned i = 0; i < options.extra; i++)
    make_call(0, options.calls + i, &calls_of(0)[options.calls + i]);
  print_calls();
  while (read(0, &byte, 1) > 0)
    ;
  close(end[1]);
  while (wait(NULL) > 0)
    ;
  return 0;
}
