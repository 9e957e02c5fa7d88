// SPDX-License-Identifier: MIT
#include "steer/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "record/layout.h"
#include "record/sys.h"
#include "record/text.h"
#include "steer/descriptor.h"

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x8
#endif
#ifndef RWF_NOSIGNAL /* Linux 6.18 */
#define RWF_NOSIGNAL 0x100
#endif

/* A descriptor and the file that it was when it became ours. The number of an inode alone would not
 * do: ext4 gives the next new file that of one which has gone. */
static struct sink {
  int fd; /* -1: none */
  uint32_t device_major, device_minor, mode;
  uint64_t inode;
  struct statx_timestamp born; /* zero where the file system does not say */
} sink = {.fd = -1}, standard_error = {.fd = -1};

static bool remember(struct sink *s, int fd)
{
  struct statx st = {0};
  if (sys_stat(fd, "", &st))
    return false;
  *s = (struct sink){fd, st.stx_dev_major, st.stx_dev_minor, st.stx_mode, st.stx_ino, st.stx_btime};
  return true;
}

static bool is(const struct sink *s, int fd)
{
  struct sink now;
  return remember(&now, fd) && now.device_major == s->device_major &&
         now.device_minor == s->device_minor && now.inode == s->inode && now.mode == s->mode &&
         now.born.tv_sec == s->born.tv_sec && now.born.tv_nsec == s->born.tv_nsec;
}

/* Not to be waited for, and no signal; where the kernel takes no flags for this file, plainly. */
static long write_at_once(int fd, const char *line, size_t size, int flags)
{
  struct iovec v = {(void *)(uintptr_t)line, size};
  long n = SYS_CALL(SYS_pwritev2, fd, &v, 1, -1L, -1L, flags);
  if (n < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS))
    n = SYS_CALL(SYS_write, fd, line, size);
  return n;
}

/* Signals that a write may raise in the thread that makes it: SIGPIPE where nobody reads,
 * SIGXFSZ past RLIMIT_FSIZE, SIGTTOU on a terminal that is another's. Held back, and taken away
 * if the write raised one. */
static void write_without_signal(int fd, const char *line, size_t size, int flags)
{
  const uint64_t all = UINT64_C(1) << (SIGPIPE - 1) | UINT64_C(1) << (SIGXFSZ - 1) |
                       UINT64_C(1) << (SIGTTOU - 1);
  const struct timespec at_once = {0};
  uint64_t old = 0, before = 0;
  if (SYS_CALL(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, sizeof all))
    return;
  SYS_CALL(SYS_rt_sigpending, &before, sizeof before);
  if (write_at_once(fd, line, size, flags) < 0 && (errno == EPIPE || errno == EFBIG)) {
    uint64_t raised = all & ~before;
    SYS_CALL(SYS_rt_sigtimedwait, &raised, NULL, &at_once, sizeof raised);
  }
  SYS_CALL(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof old);
}

static bool would_wait(int fd)
{
  struct pollfd p = {.fd = fd, .events = POLLOUT};
  const struct timespec at_once = {0};
  return SYS_CALL(SYS_ppoll, &p, 1, &at_once, NULL, 8) != 1 || !(p.revents & POLLOUT);
}

static void write_line(const struct sink *s, const char *line, size_t size)
{
  struct iovec v = {(void *)(uintptr_t)line, size};
  if (S_ISSOCK(s->mode)) {
    SYS_CALL(SYS_sendto, s->fd, line, size, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
    return;
  }
  if (S_ISFIFO(s->mode)) {
    long n = SYS_CALL(SYS_pwritev2, s->fd, &v, 1, -1L, -1L, RWF_NOWAIT | RWF_NOSIGNAL);
    if (n >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS))
      return;
  }
  if (S_ISREG(s->mode) || !would_wait(s->fd))
    write_without_signal(s->fd, line, size, S_ISFIFO(s->mode) ? RWF_NOWAIT : 0);
}

/* Above what select(2) and most programs' own descriptors reach, below what would make the
 * kernel's table large. */
static int high_duplicate(int fd)
{
  uint64_t limit = sys_limit(RLIMIT_NOFILE);
  uint64_t high = limit > 1100 ? 1024 : limit * 3 / 4;
  return sys_fcntl(fd, F_DUPFD_CLOEXEC, (long)high);
}

static int moved_high(int fd)
{
  int moved = high_duplicate(fd);
  if (moved < 0)
    return fd;
  sys_close(fd);
  return moved;
}

/* Another thread may make the number another file's between the look and the write: so both are at
 * a duplicate. A regular file has none: closing it would drop the locks (fcntl(2)) that the program
 * has on it. */
static void write_if_still(const struct sink *s, const char *line, size_t size)
{
  int fd = S_ISREG(s->mode) ? -1 : high_duplicate(s->fd);
  struct sink to = *s;
  if (fd >= 0)
    to.fd = fd;
  if (is(s, to.fd))
    write_line(&to, line, size);
  if (fd >= 0)
    sys_close(fd);
}

static int open_log(const char *path)
{
  int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  int fd = sys_open(AT_FDCWD, path, flags, 0666);
  return fd < 0 ? fd : moved_high(fd);
}

/* inetd(8) and its kin execute a program with its connection as 0 to 2: a line of ours would be
 * part of what the peer reads. The journal's socket, and one that a parent reads, is of AF_UNIX. */
static bool is_connection(const struct sink *s)
{
  int domain = 0;
  unsigned size = sizeof domain;
  return S_ISSOCK(s->mode) &&
         (sys_getsockopt(s->fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) || domain != AF_UNIX);
}

/* Where 2 was closed before the start, another library may have opened what has the number now. What
 * came through execve() is not close-on-exec; what a hook saw made is the program's; and a standard
 * error that is a file is not open for reading. */
static bool is_standard_error(const struct sink *s)
{
  struct descriptor d = descriptor_get(2);
  int flags = sys_fcntl(2, F_GETFD, 0), mode = sys_fcntl(2, F_GETFL, 0);
  if (flags < 0 || (flags & FD_CLOEXEC) || d.kind != SOCKET_UNKNOWN || d.flags || is_connection(s))
    return false;
  return !S_ISREG(s->mode) || (mode & O_ACCMODE) == O_WRONLY;
}

static atomic_bool kept; /* `standard_error` is what it will be */

void log_keep_stderr(void)
{
  struct sink now;
  if (atomic_load_explicit(&kept, memory_order_relaxed))
    return;
  if (remember(&now, 2) && is_standard_error(&now))
    standard_error = now;
  atomic_store_explicit(&kept, true, memory_order_release);
}

void log_stderr(const char *line, size_t size)
{
  log_keep_stderr();
  if (standard_error.fd >= 0)
    write_if_still(&standard_error, line, size);
}

static bool start_sink(const char *where)
{
  bool is_stderr = text_equal(where, "stderr");
  int fd = is_stderr ? 2 : open_log(where);
  if (fd < 0 || !remember(&sink, fd))
    return false;
  if (is_stderr && is_connection(&sink))
    sink.fd = -1;
  return true;
}

static void say_no_log(const char *where)
{
  char line[256];
  struct text t = TEXT_INIT(line);
  const char *name = errno_name((unsigned)errno);
  text_string(&t, "berth: BERTH_LOG: ");
  text_name(&t, where, 160);
  text_string(&t, ": ");
  text_string(&t, name ? name : "?");
  text_string(&t, "\n");
  log_stderr(t.start, (size_t)(t.at - t.start));
}

void log_start(const char *where)
{
  if (where[0] && !start_sink(where))
    say_no_log(where);
  atomic_store_explicit(&kept, true, memory_order_release);
}

bool log_is_on(void)
{
  return sink.fd >= 0;
}

void log_event(const struct record_event *e, const char *name, const char *rule)
{
  static const struct text_style style = {.dated = true, .zulu = true};
  char line[TEXT_EVENT_MAX];
  struct text t = TEXT_INIT(line);
  text_event(&t, e, name, rule, &style);
  write_if_still(&sink, line, (size_t)(t.at - t.start));
}
