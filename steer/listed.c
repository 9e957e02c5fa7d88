// SPDX-License-Identifier: MIT
#include "steer/listed.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "record/sys.h"
#include "record/text.h"

struct listed_ports {
  uint8_t local[16];
  uint8_t held[65536 / 8], time_wait[65536 / 8];
};

static const char digits[] = "0123456789ABCDEF";

/* Where the character is in [at, end), or `end`. */
static const char *find(const char *at, const char *end, char c)
{
  while (at < end && *at != c)
    at++;
  return at;
}

/* get_tcp4_sock() in net/ipv4/tcp_ipv4.c: 32 bits of an address are a number of this machine. */
static char *put_address(char *to, const uint8_t *address, size_t size)
{
  for (size_t i = 0; i < size; i += 4) {
    uint32_t word;
    memcpy(&word, address + i, 4);
    for (int shift = 28; shift >= 0; shift -= 4)
      *to++ = digits[word >> shift & 15];
  }
  *to++ = ':';
  return to;
}

static int digit(char c)
{
  return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* -1 where there are not so many digits. */
static int number(const char *at, int count)
{
  int n = 0;
  for (int i = 0; i < count && n >= 0; i++)
    n = digit(at[i]) < 0 ? -1 : n * 16 + digit(at[i]);
  return n;
}

/* What a line of a connection holds: " 12: LOCAL:PPPP PEER:PPPP SS ...". */
struct wanted {
  char local[40], peer[48];
  size_t local_size, peer_size;
};

static void take_line(struct listed_ports *l, const struct wanted *w, const char *line,
                      const char *end)
{
  const char *at = find(line, end, ':');
  if ((size_t)(end - at) < w->local_size + w->peer_size + 10)
    return;
  at += 2;
  int port = number(at + w->local_size, 4);
  const char *peer = at + w->local_size + 5;
  int state = number(peer + w->peer_size + 1, 2);
  if (memcmp(at, w->local, w->local_size) || memcmp(peer, w->peer, w->peer_size) || port < 0 ||
      state < 0)
    return;
  uint8_t bit = (uint8_t)(1u << port % 8);
  l->held[port / 8] |= bit;
  if (state == TCP_TIME_WAIT)
    l->time_wait[port / 8] |= bit;
}

/* A line is shorter than the buffer. */
static void take_lines(struct listed_ports *l, const struct wanted *w, int fd)
{
  char buffer[1024];
  size_t have = 0;
  for (long n; (n = sys_read(fd, buffer + have, sizeof buffer - have)) > 0;) {
    const char *line = buffer, *all = buffer + have + n, *end;
    while ((end = find(line, all, '\n')) != all) {
      take_line(l, w, line, end);
      line = end + 1;
    }
    have = (size_t)(all - line);
    memmove(buffer, line, have);
    if (have == sizeof buffer)
      return;
  }
}

static bool take_file(struct listed_ports *l, const char *path, const struct endpoint *peer,
                      size_t skip)
{
  struct wanted w;
  int fd = sys_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0)
    return false;
  w.local_size = (size_t)(put_address(w.local, l->local + skip, 16 - skip) - w.local);
  char *end = put_address(w.peer, peer->address + skip, 16 - skip);
  for (int shift = 12; shift >= 0; shift -= 4)
    *end++ = digits[peer->port >> shift & 15];
  w.peer_size = (size_t)(end - w.peer);
  take_lines(l, &w, fd);
  sys_close(fd);
  return true;
}

/* Sockets of AF_INET6 hold v4-mapped addresses. */
struct listed_ports *listed_read(const uint8_t local[16], const struct endpoint *peer)
{
  struct listed_ports *l = sys_map(sizeof *l, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  if (l == MAP_FAILED)
    return NULL;
  memcpy(l->local, local, 16);
  bool ipv4 = address_is_ipv4(peer->address);
  if ((ipv4 && !take_file(l, "/proc/thread-self/net/tcp", peer, 12)) ||
      (!take_file(l, "/proc/thread-self/net/tcp6", peer, 0) && !ipv4)) {
    listed_free(l);
    return NULL;
  }
  return l;
}

void listed_free(struct listed_ports *l)
{
  if (l)
    sys_unmap(l, sizeof *l);
}

bool listed_has(const struct listed_ports *l, uint16_t port)
{
  return l->held[port / 8] >> port % 8 & 1;
}

bool listed_in_time_wait(const struct listed_ports *l, uint16_t port)
{
  return l->time_wait[port / 8] >> port % 8 & 1;
}

bool listed_is_of(const struct listed_ports *l, const uint8_t local[16])
{
  return memcmp(l->local, local, 16) == 0;
}
