// SPDX-License-Identifier: MIT
#include "steer/local.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "record/sys.h"
#include "record/text.h"
#include "steer/listed.h"
#include "steer/socket.h"

static bool is_zero(const uint8_t address[16])
{
  static const uint8_t zeros[16];
  return memcmp(address, zeros, 16) == 0;
}

static bool is_unspecified(const struct endpoint *e)
{
  static const uint8_t any[4];
  return address_is_ipv4(e->address) ? memcmp(e->address + 12, any, 4) == 0 : is_zero(e->address);
}

static bool is_loopback(const struct endpoint *e)
{
  static const uint8_t one[16] = {[15] = 1};
  if (address_is_ipv4(e->address) && e->address[12] == 127)
    return true;
  return is_unspecified(e) || memcmp(e->address, one, 16) == 0;
}

static int udp_socket(const struct endpoint *e)
{
  int family = address_is_ipv4(e->address) ? AF_INET : AF_INET6;
  return sys_socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

bool address_is_local(const struct endpoint *address)
{
  struct sockaddr_storage s;
  struct endpoint e = *address;
  if (is_loopback(address))
    return true;
  int fd = udp_socket(&e);
  e.port = 0;
  socklen_t size = endpoint_to(&e, address_is_ipv4(e.address) ? AF_INET : AF_INET6, &s);
  bool local = fd >= 0 && sys_bind(fd, &s, size) == 0;
  if (fd >= 0)
    sys_close(fd);
  return local;
}

static bool get_name(long call, int fd, uint8_t address[16])
{
  struct sockaddr_storage s;
  struct endpoint e;
  socklen_t size = sizeof s;
  if (syscall(call, fd, &s, &size) || !endpoint_from(&e, (struct sockaddr *)&s, size))
    return false;
  memcpy(address, e.address, 16);
  return true;
}

/* Connecting a datagram socket sends nothing, and shows the addresses that a connection gets: the
 * one that the route gives, and who 0.0.0.0 is. It leaves by the device that the other one does. */
static bool ask_route(int device, struct endpoint *peer, uint8_t source[16])
{
  struct sockaddr_storage s;
  int fd = udp_socket(peer);
  socklen_t size = endpoint_to(peer, address_is_ipv4(peer->address) ? AF_INET : AF_INET6, &s);
  if (device && fd >= 0)
    sys_setsockopt(fd, SOL_SOCKET, OPTION_BIND_TO_INDEX, &device, sizeof device);
  bool found = fd >= 0 && sys_connect(fd, &s, size) == 0 && get_name(SYS_getsockname, fd, source) &&
               (!is_unspecified(peer) || get_name(SYS_getpeername, fd, peer->address));
  if (fd >= 0)
    sys_close(fd);
  return found;
}

struct question {
  struct nlmsghdr header;
  struct inet_diag_req_v2 request;
};

static struct question ask_for(int device, const uint8_t source[16], uint16_t port,
                               const struct endpoint *peer)
{
  bool ipv4 = address_is_ipv4(peer->address);
  struct question q = {
      .header = {.nlmsg_len = sizeof q,
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST},
      .request = {.sdiag_family = ipv4 ? AF_INET : AF_INET6, .sdiag_protocol = IPPROTO_TCP},
  };
  struct inet_diag_sockid *id = &q.request.id;
  id->idiag_sport = htons(port);
  id->idiag_dport = htons(peer->port);
  memcpy(id->idiag_src, ipv4 ? source + 12 : source, ipv4 ? 4 : 16);
  memcpy(id->idiag_dst, ipv4 ? peer->address + 12 : peer->address, ipv4 ? 4 : 16);
  id->idiag_if = device ? (uint32_t)device : peer->scope;
  id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return q;
}

union answer {
  struct nlmsghdr header;
  unsigned char bytes[1024];
};

/* The look-up falls back on listeners, which hold no 4-tuple. */
static enum tuple_state read_answer(const union answer *a, long size, uint16_t peer_port)
{
  struct nlmsgerr error;
  struct inet_diag_msg found;
  if (size < (long)sizeof a->header)
    return TUPLE_UNKNOWN;
  const unsigned char *payload = a->bytes + NLMSG_HDRLEN;
  long left = size - NLMSG_HDRLEN;
  if (a->header.nlmsg_type == NLMSG_ERROR && left >= (long)sizeof error) {
    memcpy(&error, payload, sizeof error);
    return error.error == -ENOENT ? TUPLE_FREE : TUPLE_UNKNOWN;
  }
  if (a->header.nlmsg_type != SOCK_DIAG_BY_FAMILY || left < (long)sizeof found)
    return TUPLE_UNKNOWN;
  memcpy(&found, payload, sizeof found);
  if (found.idiag_state == TCP_LISTEN || found.id.idiag_dport != htons(peer_port))
    return TUPLE_FREE;
  return found.idiag_state == TCP_TIME_WAIT ? TUPLE_TIME_WAIT : TUPLE_TAKEN;
}

static enum tuple_state look_up(int fd, const struct question *q, uint16_t peer_port)
{
  union answer a;
  if (sys_send(fd, q, sizeof *q, MSG_DONTWAIT | MSG_NOSIGNAL) != (long)sizeof *q)
    return TUPLE_UNKNOWN;
  /* The kernel answers within the send. */
  return read_answer(&a, sys_recv(fd, &a, sizeof a, MSG_DONTWAIT), peer_port);
}

void tuple_asker_end(struct tuple_asker *a)
{
  if (a->socket)
    sys_close(a->socket - 1);
  listed_free(a->listed);
  a->socket = 0;
  a->listed = NULL;
}

/* systemd's RestrictAddressFamilies= and sandboxes forbid netlink. */
static enum tuple_state look_up_listed(struct tuple_asker *a, const uint8_t source[16],
                                       uint16_t port)
{
  if (a->listed && !listed_is_of(a->listed, source)) {
    listed_free(a->listed);
    a->listed = NULL;
  }
  if (!a->listed)
    a->listed = listed_read(source, &a->peer);
  if (!a->listed)
    return TUPLE_UNKNOWN;
  if (listed_in_time_wait(a->listed, port))
    return TUPLE_TIME_WAIT;
  return listed_has(a->listed, port) ? TUPLE_TAKEN : TUPLE_FREE;
}

/* The route and the socket of netlink are asked for once. */
static bool may_ask(struct tuple_asker *a, int device, const struct endpoint *to)
{
  if (!a->asked) {
    a->peer = *to;
    a->routed = ask_route(device, &a->peer, a->source);
  }
  a->asked = true;
  if (a->routed && !a->socket)
    a->socket = 1 + sys_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  return a->socket;
}

enum tuple_state tuple_state(struct tuple_asker *a, int device, const uint8_t local[16],
                             uint16_t port, const struct endpoint *to)
{
  const uint8_t *source = is_zero(local) ? a->source : local;
  if (!may_ask(a, device, to))
    return a->routed ? look_up_listed(a, source, port) : TUPLE_UNKNOWN;
  struct question q = ask_for(device, source, port, &a->peer);
  return look_up(a->socket - 1, &q, a->peer.port);
}
