// SPDX-License-Identifier: MIT
//
// sequences SEED LENGTH [STEP...]: makes LENGTH socket calls, drawn from SEED, and prints of each what
// it returned and what the socket's name is then. With STEPs it makes these alone: each is drawn by
// itself, so that a sequence which shows a fault can be made shorter. It is run in the namespace that
// `served` makes.
//
// In sequences of odd numbers a socket is closed after a connection of it failed or was dissolved:
// what the manual says of such sockets is not in the way of the rest. #N is the socket, whichever
// descriptor it has.
//
// Ports are printed as what they are: those of `served` and those that the program asks for as
// numbers, any other as a letter, a new one for each new port. After the name, behind a tab, are
// numbers that differ from run to run.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROTOCOL_MPTCP 262 /* IPPROTO_MPTCP, newer than some headers */
#define LOCAL_PORT_RANGE 51

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum {
  SLOTS = 5,
  STATE_FD = 200, /* where the state lies, for what is executed */
  MOST_PORTS = 26,
  MOST_SOCKETS = 256,
};

enum call {
  CALL_NONE,
  CALL_BIND,
  CALL_CONNECT,
  CALL_LISTEN,
  CALL_ACCEPT,
  CALL_CLOSE,
  CALL_DUP2,
  CALL_SETSOCKOPT,
  CALL_GETSOCKOPT,
  CALL_GETSOCKNAME,
  CALL_SENDTO,
  CALL_SENDMSG,
  CALL_SENDMMSG,
  CALL_SEND,
  CALL_SHUTDOWN,
};

/* Where a sockaddr lies. */
enum place { PLACE_STACK, PLACE_STATIC, PLACE_PAGE_END, PLACE_BEYOND, PLACE_NULL, PLACES };

enum manner {
  MANNER_PLAIN,
  MANNER_RAW,     /* by syscall(2), which no hook sees */
  MANNER_THREAD,  /* in a thread that ends */
  MANNER_HANDLER, /* in a signal handler */
  MANNER_FORK,    /* in a child that ends */
  MANNER_VFORK,
};

/* One call; the address is a copy, which is put where `place` says. */
struct request {
  enum call call;
  enum manner manner;
  enum place place;
  int fd, number, level, option, flags, count;
  struct sockaddr_storage address;
  socklen_t size;
  unsigned char value[16];
  long result;
  int error; /* errno after it: `untouched` before */
};

/* Shared by all processes of the sequence. */
struct state {
  int fds[SLOTS], domains[SLOTS], types[SLOTS];
  bool listens[SLOTS];
  uint64_t inodes[MOST_SOCKETS];
  uint16_t ports[MOST_SOCKETS][MOST_PORTS];
  unsigned port_counts[MOST_SOCKETS], socket_count, at;
  struct request request;
};

static struct state *state;
static char *page_end; /* of a page that nothing follows */
static const int untouched = EDOM;
static char **self;

/* --- chance ---------------------------------------------------------------------------------- */

static uint64_t chance;
static bool tidies; /* closes sockets of which a connection failed */

static uint64_t mix(void)
{
  uint64_t z = chance += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

static unsigned below(unsigned n)
{
  return (unsigned)(mix() % n);
}

static bool one_in(unsigned n)
{
  return below(n) == 0;
}

#define ONE_OF(array) ((array)[below(COUNT(array))])

static void draw_from(uint64_t seed, uint64_t step)
{
  chance = seed;
  chance = mix() + step;
}

/* --- what is said ---------------------------------------------------------------------------- */

static char line[1024], numbers[256];

static void append(char *to, size_t size, const char *format, va_list list)
{
  size_t n = strlen(to);
  vsnprintf(to + n, size - n, format, list);
}

static void say(const char *format, ...)
{
  va_list list;
  va_start(list, format);
  append(line, sizeof line, format, list);
  va_end(list);
}

static void note(const char *format, ...)
{
  va_list list;
  va_start(list, format);
  append(numbers, sizeof numbers, format, list);
  va_end(list);
}

/* At once, so that nothing is lost with a process. */
static void end_line(void)
{
  dprintf(1, "%s\t%s\n", line, numbers);
  line[0] = numbers[0] = '\0';
}

/* A number of its own for each socket, whichever descriptor it has. */
static unsigned socket_of(int fd)
{
  struct stat file;
  unsigned i = 0;
  if (fstat(fd, &file))
    return 0;
  while (i < state->socket_count && state->inodes[i] != file.st_ino)
    i++;
  if (i == state->socket_count && i < MOST_SOCKETS - 1)
    state->inodes[state->socket_count++] = file.st_ino;
  return i;
}

/* The letter says which of the socket's ports it is: others may have the same. */
static void say_port(int fd, unsigned port)
{
  unsigned i = 0, socket = socket_of(fd);
  if (port < 20000) {
    say("%u", port);
    return;
  }
  note(" %u", port);
  while (i < state->port_counts[socket] && state->ports[socket][i] != port)
    i++;
  if (i == state->port_counts[socket] && i < MOST_PORTS - 1)
    state->ports[socket][state->port_counts[socket]++] = (uint16_t)port;
  say("%c", 'A' + (int)i);
}

static void say_address(int fd, const struct sockaddr_storage *address, socklen_t size)
{
  char name[64] = "";
  const struct sockaddr_in *in = (const void *)address;
  const struct sockaddr_in6 *in6 = (const void *)address;
  if (address->ss_family == AF_INET && size >= sizeof *in) {
    say("%s:", inet_ntop(AF_INET, &in->sin_addr, name, sizeof name));
    say_port(fd, ntohs(in->sin_port));
  } else if (address->ss_family == AF_INET6 && size >= 24) {
    say("[%s]:", inet_ntop(AF_INET6, &in6->sin6_addr, name, sizeof name));
    say_port(fd, ntohs(in6->sin6_port));
  } else {
    say("family %u", address->ss_family);
  }
}

static void say_name(int fd)
{
  struct sockaddr_storage address = {0};
  socklen_t size = sizeof address;
  if (syscall(SYS_getsockname, fd, &address, &size)) {
    say(" name %s", strerrorname_np(errno));
    return;
  }
  say(" name ");
  say_address(fd, &address, size);
}

static void say_result(const struct request *r)
{
  if (r->result < 0)
    say(" = %s", strerrorname_np(r->error));
  else
    say(" = %ld", r->result);
  if (r->result >= 0 && r->error != untouched)
    say(" errno became %s", strerrorname_np(r->error));
}

/* --- a call, in its manner ------------------------------------------------------------------- */

static char data_sent[] = "message";

static long make_message(struct request *r, void *name)
{
  struct iovec data = {data_sent, 7};
  struct msghdr m = {.msg_name = name, .msg_namelen = r->size, .msg_iov = &data, .msg_iovlen = 1};
  return r->manner == MANNER_RAW ? syscall(SYS_sendmsg, r->fd, &m, r->flags)
                                 : sendmsg(r->fd, &m, r->flags);
}

static long make_messages(struct request *r, void *name)
{
  struct iovec data = {data_sent, 6};
  struct mmsghdr m[3] = {0};
  for (unsigned i = 0; i < COUNT(m); i++)
    m[i].msg_hdr = (struct msghdr){
        .msg_name = name, .msg_namelen = r->size, .msg_iov = &data, .msg_iovlen = 1};
  return r->manner == MANNER_RAW ? syscall(SYS_sendmmsg, r->fd, m, (unsigned)r->count, r->flags)
                                 : sendmmsg(r->fd, m, (unsigned)r->count, r->flags);
}

static long make_raw(struct request *r, void *name)
{
  socklen_t size = sizeof r->value;
  switch (r->call) {
  case CALL_BIND: return syscall(SYS_bind, r->fd, name, r->size);
  case CALL_CONNECT: return syscall(SYS_connect, r->fd, name, r->size);
  case CALL_LISTEN: return syscall(SYS_listen, r->fd, r->number);
  case CALL_ACCEPT: return syscall(SYS_accept4, r->fd, NULL, NULL, r->flags);
  case CALL_CLOSE: return syscall(SYS_close, r->fd);
  case CALL_DUP2: return syscall(SYS_dup3, r->fd, r->number, 0);
  case CALL_SETSOCKOPT:
    return syscall(SYS_setsockopt, r->fd, r->level, r->option, r->value, r->size);
  case CALL_GETSOCKOPT: return syscall(SYS_getsockopt, r->fd, r->level, r->option, r->value, &size);
  case CALL_SENDTO: return syscall(SYS_sendto, r->fd, "datagram", 8, r->flags, name, r->size);
  default: return -1;
  }
}

static long make_plain(struct request *r, void *name)
{
  socklen_t size = sizeof r->value;
  switch (r->call) {
  case CALL_BIND: return bind(r->fd, name, r->size);
  case CALL_CONNECT: return connect(r->fd, name, r->size);
  case CALL_LISTEN: return listen(r->fd, r->number);
  case CALL_ACCEPT: return accept4(r->fd, NULL, NULL, r->flags);
  case CALL_CLOSE: return close(r->fd);
  case CALL_DUP2: return dup2(r->fd, r->number);
  case CALL_SETSOCKOPT: return setsockopt(r->fd, r->level, r->option, r->value, r->size);
  case CALL_GETSOCKOPT: return getsockopt(r->fd, r->level, r->option, r->value, &size);
  case CALL_GETSOCKNAME:
    r->size = sizeof r->address;
    return getsockname(r->fd, (struct sockaddr *)&r->address, &r->size);
  case CALL_SENDTO: return sendto(r->fd, "datagram", 8, r->flags, name, r->size);
  case CALL_SEND: return send(r->fd, "sent", 4, r->flags);
  case CALL_SHUTDOWN: return shutdown(r->fd, r->number);
  default: return -1;
  }
}

static bool has_raw(enum call call)
{
  return call != CALL_GETSOCKNAME && call != CALL_SEND && call != CALL_SHUTDOWN;
}

static void make(struct request *r)
{
  static struct sockaddr_storage apart;
  struct sockaddr_storage near = r->address;
  socklen_t size = r->size <= sizeof near ? r->size : sizeof near;
  void *name = &near;
  apart = r->address;
  switch (r->place) {
  case PLACE_STATIC: name = &apart; break;
  case PLACE_PAGE_END: name = memcpy(page_end - size, &near, size); break;
  case PLACE_BEYOND: name = page_end - size / 2; break;
  case PLACE_NULL: name = NULL; break;
  default: break;
  }
  errno = untouched;
  r->result = r->call == CALL_SENDMSG    ? make_message(r, name)
              : r->call == CALL_SENDMMSG ? make_messages(r, name)
              : r->manner == MANNER_RAW  ? make_raw(r, name)
                                         : make_plain(r, name);
  r->error = errno;
}

static void *in_thread(void *request)
{
  make(request);
  return NULL;
}

static void in_handler(int signal)
{
  (void)signal;
  make(&state->request);
}

static void wait_for(pid_t child)
{
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR)
    ;
  if (status)
    say(" CHILD %x", status);
}

static void make_in_manner(struct request *r)
{
  pthread_t thread;
  pid_t child;
  switch (r->manner) {
  case MANNER_THREAD:
    pthread_create(&thread, NULL, in_thread, r);
    pthread_join(thread, NULL);
    break;
  case MANNER_HANDLER: raise(SIGUSR1); break;
  case MANNER_FORK:
    child = fork();
    if (child == 0) {
      make(r);
      _exit(0);
    }
    wait_for(child);
    break;
  case MANNER_VFORK:
    child = vfork();
    if (child == 0) {
      make(r);
      _exit(0);
    }
    wait_for(child);
    break;
  default: make(r);
  }
}

/* --- addresses ------------------------------------------------------------------------------- */

static void put(struct request *r, int family, const char *text, unsigned port)
{
  struct sockaddr_in *in = (void *)&r->address;
  struct sockaddr_in6 *in6 = (void *)&r->address;
  memset(&r->address, 0, sizeof r->address);
  r->address.ss_family = (sa_family_t)family;
  if (family == AF_INET6) {
    inet_pton(AF_INET6, text, &in6->sin6_addr);
    in6->sin6_port = htons((uint16_t)port);
    r->size = sizeof *in6;
  } else {
    inet_pton(AF_INET, text, &in->sin_addr);
    in->sin_port = htons((uint16_t)port);
    r->size = sizeof *in;
  }
}

/* What is wrong with one in twelve. */
static void spoil(struct request *r)
{
  static const socklen_t sizes[] = {0,  1,  2,  8,   15,  16,   24,
                                    27, 28, 29, 128, 129, 4096, (socklen_t)-1};
  static const sa_family_t families[] = {AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, 77};
  if (!one_in(12))
    return;
  switch (below(3)) {
  case 0:
    r->size = ONE_OF(sizes);
    say(" size %d", (int)r->size);
    break;
  case 1:
    r->address.ss_family = ONE_OF(families);
    say(" as family %d", r->address.ss_family);
    break;
  default: r->place = one_in(2) ? PLACE_BEYOND : PLACE_NULL; say(" place %d", r->place);
  }
}

static void draw_place(struct request *r)
{
  r->place = (enum place)below(PLACE_BEYOND);
}

/* Somebody's name of this sequence: a socket may connect to another one, or to itself. */
static bool put_name_of(struct request *r, int fd)
{
  r->size = sizeof r->address;
  memset(&r->address, 0, sizeof r->address);
  return getsockname(fd, (struct sockaddr *)&r->address, &r->size) == 0 &&
         (r->address.ss_family == AF_INET || r->address.ss_family == AF_INET6);
}

static void draw_peer(struct request *r, int domain, int type)
{
  static const char *const in4[] = {"127.0.0.1", "127.0.0.1", "127.0.0.2", "192.0.2.1", "0.0.0.0"};
  static const char *const in6[] = {"::1", "::1", "::ffff:127.0.0.1", "::ffff:127.0.0.3", "::"};
  static const char *const odd4[] = {"10.9.8.7", "224.0.0.1", "255.255.255.255", "127.255.255.255"};
  static const char *const odd6[] = {"2001:db8::1", "ff02::1", "fe80::1", "::ffff:10.9.8.7"};
  bool six = domain == AF_INET6 && !one_in(10);
  bool odd = one_in(12);
  const char *text = six ? odd ? ONE_OF(odd6) : ONE_OF(in6) : odd ? ONE_OF(odd4) : ONE_OF(in4);
  bool as4 = !six || !strncmp(text, "::ffff:", 7);
  unsigned port = type == SOCK_DGRAM ? as4 ? 9003 : 9004 : as4 ? 9001 : 9002;
  unsigned which = below(16);
  port = which == 0 ? 0 : which == 1 ? 9005 : which == 2 ? 9007 : which < 6 ? 9006 : port;
  int other = state->fds[below(SLOTS)];
  bool to_other = one_in(8) && other >= 0 && put_name_of(r, other);
  if (!to_other)
    put(r, six ? AF_INET6 : AF_INET, text, port);
  if (domain == AF_UNIX && one_in(2)) {
    r->address = (struct sockaddr_storage){.ss_family = AF_UNIX};
    r->size = sizeof(struct sockaddr_un);
    strcpy(((struct sockaddr_un *)&r->address)->sun_path, "/nowhere/at/all");
  }
  draw_place(r);
  say(" ");
  if (to_other)
    say("to #%u", socket_of(other));
  else
    say_address(r->fd, &r->address, r->size);
  spoil(r);
}

static void draw_own(struct request *r, int domain)
{
  static const char *const in4[] = {"127.0.0.1", "0.0.0.0", "0.0.0.0", "127.0.0.5", "192.0.2.1"};
  static const char *const in6[] = {"::1", "::", "::", "::ffff:127.0.0.5", "::ffff:0.0.0.0"};
  bool six = domain == AF_INET6 && !one_in(12);
  const char *text = six ? ONE_OF(in6) : ONE_OF(in4);
  unsigned port = one_in(3) ? 10000 + below(8) : one_in(20) ? 80 : 0;
  if (one_in(16))
    text = six ? "2001:db8::1" : "10.9.8.7";
  put(r, six ? AF_INET6 : AF_INET, text, port);
  draw_place(r);
  say(" ");
  say_address(r->fd, &r->address, r->size);
  spoil(r);
}

/* --- steps ----------------------------------------------------------------------------------- */

static void set_timeouts(int fd)
{
  const struct timeval t = {.tv_usec = 20000};
  syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
  syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
}

static void keep(unsigned slot, int fd, int domain, int type)
{
  state->fds[slot] = fd;
  state->domains[slot] = domain;
  state->types[slot] = type;
  state->listens[slot] = false;
}

static void forget(int fd)
{
  for (unsigned i = 0; i < SLOTS; i++)
    if (state->fds[i] == fd)
      state->fds[i] = -1;
}

static void step_socket(unsigned slot)
{
  static const struct kind {
    int domain, type, protocol;
  } usual[] = {{AF_INET, SOCK_STREAM, 0},
               {AF_INET, SOCK_DGRAM, 0},
               {AF_INET6, SOCK_STREAM, 0},
               {AF_INET6, SOCK_DGRAM, 0},
               {AF_INET, SOCK_STREAM, IPPROTO_TCP}},
    unusual[] = {{AF_INET, SOCK_STREAM, PROTOCOL_MPTCP},
                 {AF_INET6, SOCK_STREAM, PROTOCOL_MPTCP},
                 {AF_INET, SOCK_RAW, IPPROTO_ICMP},
                 {AF_INET, SOCK_RAW, IPPROTO_UDP},
                 {AF_INET, SOCK_DGRAM, IPPROTO_ICMP},
                 {AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE},
                 {AF_INET, SOCK_STREAM, IPPROTO_SCTP},
                 {AF_UNIX, SOCK_STREAM, 0},
                 {AF_UNIX, SOCK_DGRAM, 0},
                 {AF_NETLINK, SOCK_RAW, 0},
                 {AF_INET, SOCK_STREAM, 17},
                 {AF_INET6, SOCK_RAW, IPPROTO_TCP}};
  struct kind k = one_in(5) ? ONE_OF(unusual) : ONE_OF(usual);
  if (k.protocol == PROTOCOL_MPTCP && getenv("WITHOUT_MPTCP"))
    k.protocol = 0;
  int more = one_in(3) ? SOCK_NONBLOCK : 0;
  bool raw = one_in(20);
  errno = untouched;
  int fd = raw ? (int)syscall(SYS_socket, k.domain, k.type | more, k.protocol)
               : socket(k.domain, k.type | more, k.protocol);
  struct request r = {.result = fd < 0 ? fd : 0, .error = errno};
  say("%s(%d, %d, %d)", raw ? "raw socket" : "socket", k.domain, k.type | more, k.protocol);
  say_result(&r);
  if (fd < 0)
    return;
  if (!more)
    set_timeouts(fd);
  keep(slot, fd, k.domain, k.type);
}

static void draw_manner(struct request *r)
{
  static const enum manner some[] = {MANNER_RAW,     MANNER_RAW,  MANNER_THREAD,
                                     MANNER_HANDLER, MANNER_FORK, MANNER_VFORK};
  static const char *const names[] = {"", "raw ", "thread: ", "handler: ", "fork: ", "vfork: "};
  if (!one_in(5))
    return;
  enum manner m = ONE_OF(some);
  if (m != MANNER_RAW || has_raw(r->call))
    r->manner = m;
  say("%s", names[r->manner]);
}

static void make_and_say(struct request *r)
{
  state->request = *r;
  make_in_manner(&state->request);
  *r = state->request;
  say_result(r);
}

static void step_bind(struct request *r, unsigned slot)
{
  r->call = CALL_BIND;
  draw_manner(r);
  say("bind");
  draw_own(r, state->domains[slot]);
  make_and_say(r);
}

/* The connection of a socket that does not block is waited for, or not. */
static bool settle(int fd)
{
  struct pollfd p = {.fd = fd, .events = POLLOUT};
  int error = 0;
  socklen_t size = sizeof error;
  poll(&p, 1, 100);
  syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &size);
  say(" then %x %s", (unsigned)p.revents, error ? strerrorname_np(error) : "0");
  return !error;
}

/* Every descriptor of the socket. */
static void discard(int fd)
{
  struct stat socket, other;
  if (!tidies || fstat(fd, &socket))
    return;
  say(" discarded");
  for (unsigned i = 0; i < SLOTS; i++)
    if (state->fds[i] >= 0 && fstat(state->fds[i], &other) == 0 && other.st_ino == socket.st_ino) {
      close(state->fds[i]);
      state->fds[i] = -1;
    }
}

static bool has_failed(const struct request *r)
{
  return r->result < 0 && r->error != EISCONN && r->error != EALREADY && r->error != EFAULT &&
         r->error != EINVAL && r->error != EINPROGRESS;
}

static void step_connect(struct request *r, unsigned slot)
{
  r->call = CALL_CONNECT;
  draw_manner(r);
  say("connect");
  draw_peer(r, state->domains[slot], state->types[slot]);
  make_and_say(r);
  if ((r->result < 0 && r->error == EINPROGRESS && !settle(r->fd)) || has_failed(r))
    discard(r->fd);
}

static void step_dissolve(struct request *r)
{
  r->call = CALL_CONNECT;
  draw_manner(r);
  say("connect AF_UNSPEC");
  r->size = one_in(4) ? 2 : 16;
  make_and_say(r);
  discard(r->fd);
}

static void step_listen(struct request *r, unsigned slot)
{
  r->call = CALL_LISTEN;
  r->number = 8;
  draw_manner(r);
  say("listen");
  make_and_say(r);
  state->listens[slot] |= r->result == 0;
}

static void step_accept(struct request *r, unsigned slot)
{
  struct pollfd p = {.fd = r->fd, .events = POLLIN};
  unsigned to = below(SLOTS);
  r->call = CALL_ACCEPT;
  r->flags = SOCK_NONBLOCK;
  draw_manner(r);
  if (r->manner == MANNER_FORK) /* it would have the connection */
    r->manner = MANNER_PLAIN;
  say("accept");
  if (state->listens[slot] && (state->fds[to] >= 0 || poll(&p, 1, 0) != 1)) {
    say(" not");
    return;
  }
  make_and_say(r);
  if (r->result >= 0)
    keep(to, (int)r->result, state->domains[slot], state->types[slot]);
}

static void step_close(struct request *r)
{
  r->call = CALL_CLOSE;
  draw_manner(r);
  say("close");
  make_and_say(r);
  if (r->manner != MANNER_FORK && r->manner != MANNER_VFORK)
    forget(r->fd);
}

static void step_dup(struct request *r, unsigned slot)
{
  unsigned to = below(SLOTS);
  int fd = state->fds[to];
  bool over = fd >= 0 && to != slot;
  if (over) {
    r->call = CALL_DUP2;
    r->number = fd;
    draw_manner(r);
    if (r->manner == MANNER_FORK || r->manner == MANNER_VFORK)
      r->manner = MANNER_PLAIN;
    say("dup2 to [%u]", to);
    make_in_manner(r);
    say(r->result == fd ? " = it" : " = %s", strerrorname_np(r->error));
    forget(fd);
  } else if (fd < 0) {
    unsigned how = below(3);
    fd = how == 0   ? dup(r->fd)
         : how == 1 ? fcntl(r->fd, F_DUPFD_CLOEXEC, 0)
                    : (int)syscall(SYS_dup, r->fd);
    if (how == 1)
      fcntl(fd, F_SETFD, 0);
    say("dup (%u) to [%u]", how, to);
  } else {
    say("dup not");
    return;
  }
  keep(to, fd, state->domains[slot], state->types[slot]);
  state->listens[to] = state->listens[slot];
}

/* Over a socket, as to another process. */
static void step_pass(struct request *r, unsigned slot)
{
  unsigned to = below(SLOTS);
  int pair[2], got = -1;
  char space[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec data = {data_sent, 1};
  struct msghdr m = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
  say("pass to [%u]", to);
  if (state->fds[to] >= 0 || socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair))
    return;
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  *c = (struct cmsghdr){CMSG_LEN(sizeof got), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(c), &r->fd, sizeof got);
  sendmsg(pair[0], &m, 0);
  if (recvmsg(pair[1], &m, 0) == 1)
    memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof got);
  close(pair[0]);
  close(pair[1]);
  keep(to, got, state->domains[slot], state->types[slot]);
  state->listens[to] = state->listens[slot];
}

static const struct option {
  const char *name;
  int level, option;
} options[] = {
    {"SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR},
    {"SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR},
    {"SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT},
    {"IP_BIND_ADDRESS_NO_PORT", IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT},
    {"IP_BIND_ADDRESS_NO_PORT", IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT},
    {"IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY},
    {"SO_MARK", SOL_SOCKET, SO_MARK},
    {"SO_BROADCAST", SOL_SOCKET, SO_BROADCAST},
    {"IP_FREEBIND", IPPROTO_IP, IP_FREEBIND},
    {"IP_TRANSPARENT", IPPROTO_IP, IP_TRANSPARENT},
    {"TCP_FASTOPEN_CONNECT", IPPROTO_TCP, TCP_FASTOPEN_CONNECT},
    {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY},
    {"IP_LOCAL_PORT_RANGE", IPPROTO_IP, LOCAL_PORT_RANGE},
    {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE},
};

static void step_set_option(struct request *r)
{
  static const socklen_t sizes[] = {0, 1, 3, 8, 16, (socklen_t)-1};
  struct option o = ONE_OF(options);
  uint32_t value = one_in(3) ? 0 : 1;
  if (o.option == LOCAL_PORT_RANGE && o.level == IPPROTO_IP && value)
    value = one_in(6) ? 5 << 16 | 9 : 52000u << 16 | 51000;
  r->call = CALL_SETSOCKOPT;
  r->level = o.level;
  r->option = o.option;
  r->size = one_in(12) ? ONE_OF(sizes) : sizeof value;
  memcpy(r->value, &value, sizeof value);
  draw_manner(r);
  say("setsockopt %s %x size %d", o.name, value, (int)r->size);
  make_and_say(r);
}

static void step_get_option(struct request *r)
{
  static const struct option more[] = {{"SO_ERROR", SOL_SOCKET, SO_ERROR},
                                       {"SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL},
                                       {"SO_TYPE", SOL_SOCKET, SO_TYPE},
                                       {"SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN}};
  struct option o = one_in(3) ? ONE_OF(more) : ONE_OF(options);
  int value = 0;
  r->call = CALL_GETSOCKOPT;
  r->level = o.level;
  r->option = o.option;
  draw_manner(r);
  say("getsockopt %s", o.name);
  make_and_say(r);
  memcpy(&value, r->value, sizeof value);
  if (r->result == 0)
    say(" value %x", (unsigned)value);
}

static void step_name(struct request *r)
{
  r->call = CALL_GETSOCKNAME;
  draw_manner(r);
  say("getsockname");
  make_and_say(r);
  if (r->result == 0) {
    say(" ");
    say_address(r->fd, &r->address, r->size);
  }
}

static void step_send(struct request *r, unsigned slot)
{
  static const enum call calls[] = {CALL_SENDTO, CALL_SENDTO, CALL_SENDMSG, CALL_SENDMMSG};
  static const char *const names[] = {
      [CALL_SENDTO] = "sendto", [CALL_SENDMSG] = "sendmsg", [CALL_SENDMMSG] = "sendmmsg"};
  r->call = ONE_OF(calls);
  r->count = one_in(6) ? 0 : 1 + (int)below(3);
  r->flags = MSG_NOSIGNAL | (one_in(state->types[slot] == SOCK_STREAM ? 2 : 10) ? MSG_FASTOPEN : 0);
  draw_manner(r);
  say("%s %s", names[r->call], r->flags & MSG_FASTOPEN ? "fast open" : "");
  if (one_in(6)) {
    r->place = PLACE_NULL;
    r->size = 0;
    say("nowhere");
  } else {
    draw_peer(r, state->domains[slot], state->types[slot]);
  }
  make_and_say(r);
  if ((r->result < 0 && r->error == EINPROGRESS && !settle(r->fd)) || has_failed(r))
    discard(r->fd);
}

static void step_plain_send(struct request *r)
{
  r->call = CALL_SEND;
  r->flags = MSG_NOSIGNAL | MSG_DONTWAIT;
  draw_manner(r);
  say("send");
  make_and_say(r);
}

static void step_shutdown(struct request *r)
{
  r->call = CALL_SHUTDOWN;
  r->number = (int)below(3);
  draw_manner(r);
  say("shutdown %d", r->number);
  make_and_say(r);
}

/* The sequence goes on in a child, and its parent ends with it. */
static void step_fork(void)
{
  int status = 0;
  pid_t child = fork();
  if (child == 0)
    return;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) {
    signal(WTERMSIG(status), SIG_DFL);
    raise(WTERMSIG(status));
  }
  exit(WEXITSTATUS(status));
}

static void step_execute(void)
{
  char at[16];
  say("execute");
  end_line();
  snprintf(at, sizeof at, "%u", state->at + 1);
  setenv("SEQUENCES_AT", at, 1);
  execv("/proc/self/exe", self);
  _exit(99);
}

static void make_step(unsigned step)
{
  unsigned slot = below(SLOTS);
  struct request r = {.fd = state->fds[slot]};
  say("%u [%u] ", step, slot);
  if (r.fd < 0) {
    step_socket(slot);
    end_line();
    return;
  }
  say("#%u ", socket_of(r.fd));
  unsigned which = below(46);
  if (which < 6)
    step_bind(&r, slot);
  else if (which < 17)
    step_connect(&r, slot);
  else if (which < 19)
    step_dissolve(&r);
  else if (which < 21)
    step_listen(&r, slot);
  else if (which < 22)
    step_accept(&r, slot);
  else if (which < 25)
    step_close(&r);
  else if (which < 27)
    step_dup(&r, slot);
  else if (which < 28)
    step_pass(&r, slot);
  else if (which < 32)
    step_set_option(&r);
  else if (which < 34)
    step_get_option(&r);
  else if (which < 35)
    step_name(&r);
  else if (which < 41)
    step_send(&r, slot);
  else if (which < 42)
    step_plain_send(&r);
  else if (which < 43)
    step_shutdown(&r);
  else if (which < 44) {
    step_fork();
    say("fork");
  } else if (which < 45)
    step_execute();
  else
    say("nothing");
  if (state->fds[slot] >= 0)
    say_name(state->fds[slot]);
  end_line();
}

/* --- the sequence ---------------------------------------------------------------------------- */

static bool is_wanted(unsigned step, char **wanted)
{
  bool any = *wanted;
  for (; *wanted; wanted++)
    if (strtoul(*wanted, NULL, 10) == step)
      return true;
  return !any;
}

static void find_state(void)
{
  bool goes_on = getenv("SEQUENCES_AT");
  if (!goes_on &&
      (dup2(memfd_create("state", 0), STATE_FD) < 0 || ftruncate(STATE_FD, sizeof *state)))
    exit(98);
  state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, STATE_FD, 0);
  char *pages = mmap(NULL, 3 * 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (state == MAP_FAILED || pages == MAP_FAILED || mprotect(pages + 65536, 2 * 65536, PROT_NONE))
    exit(98);
  page_end = pages + 65536;
  for (unsigned i = 0; !goes_on && i < SLOTS; i++)
    state->fds[i] = -1;
}

int main(int count, char **arguments)
{
  if (count < 3)
    return 125;
  self = arguments;
  uint64_t seed = strtoul(arguments[1], NULL, 10);
  unsigned length = (unsigned)strtoul(arguments[2], NULL, 10);
  const char *at = getenv("SEQUENCES_AT");
  struct sigaction handler = {.sa_handler = in_handler, .sa_flags = SA_NODEFER};
  sigaction(SIGUSR1, &handler, NULL);
  tidies = seed % 2;
  find_state();
  for (state->at = at ? (unsigned)atoi(at) : 0; state->at < length; state->at++) {
    draw_from(seed, state->at);
    if (is_wanted(state->at, arguments + 3))
      make_step(state->at);
  }
  return 0;
}
