// SPDX-License-Identifier: MIT
#include "steer/route.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <string.h>

#include "record/sys.h"
#include "record/text.h"
#include "steer/socket.h"

/* Attributes that are newer than some headers: since Linux 4.17 (404eb77ea766). */
#define ROUTE_IP_PROTO 27
#define ROUTE_DPORT 29

/* What a route depends on, beside the destination. */
struct key {
  int device, mark, tos;
  uint8_t protocol;
};

static bool is_ipv4(const struct endpoint *e)
{
  return address_is_ipv4(e->address);
}

static struct key key_of(int fd, uint8_t protocol, bool ipv4)
{
  struct key k = {.protocol = protocol};
  k.device = socket_option(fd, SOL_SOCKET, OPTION_BIND_TO_INDEX);
  k.mark = socket_option(fd, SOL_SOCKET, SO_MARK);
  if (ipv4)
    k.tos = socket_option(fd, IPPROTO_IP, IP_TOS);
  return k;
}

/* --- by netlink ------------------------------------------------------------------------------ */

struct question {
  struct nlmsghdr header;
  struct rtmsg route;
  unsigned char attributes[96];
};

static void put(struct question *q, uint16_t type, const void *value, size_t size)
{
  struct rtattr a = {.rta_type = type, .rta_len = (uint16_t)RTA_LENGTH(size)};
  unsigned char *at = (unsigned char *)q + NLMSG_ALIGN(q->header.nlmsg_len);
  memcpy(at, &a, sizeof a);
  memcpy(at + RTA_LENGTH(0), value, size);
  q->header.nlmsg_len = NLMSG_ALIGN(q->header.nlmsg_len) + RTA_ALIGN(a.rta_len);
}

/* The kernel answers it as it routes a packet (inet_rtm_getroute(), inet6_rtm_getroute()). */
static void ask_for(struct question *q, const struct key *k, const struct endpoint *peer)
{
  bool ipv4 = is_ipv4(peer);
  uint16_t port = htons(peer->port);
  uint32_t device = k->device ? (uint32_t)k->device : peer->scope;
  memset(q, 0, sizeof *q);
  q->header.nlmsg_len = NLMSG_LENGTH(sizeof q->route);
  q->header.nlmsg_type = RTM_GETROUTE;
  q->header.nlmsg_flags = NLM_F_REQUEST;
  q->route.rtm_family = ipv4 ? AF_INET : AF_INET6;
  q->route.rtm_dst_len = ipv4 ? 32 : 128;
  q->route.rtm_tos = (uint8_t)k->tos;
  put(q, RTA_DST, ipv4 ? peer->address + 12 : peer->address, ipv4 ? 4 : 16);
  if (device)
    put(q, RTA_OIF, &device, sizeof device);
  if (k->mark)
    put(q, RTA_MARK, &k->mark, sizeof k->mark);
  put(q, ROUTE_IP_PROTO, &k->protocol, sizeof k->protocol);
  put(q, ROUTE_DPORT, &port, sizeof port);
}

static bool take_source(struct route *r, const unsigned char *value, size_t size)
{
  bool ipv4 = is_ipv4(&r->peer);
  if (size != (ipv4 ? 4 : 16))
    return false;
  memcpy(r->source, r->peer.address, 12); /* ::ffff: of a v4-mapped one */
  memcpy(r->source + (ipv4 ? 12 : 0), value, size);
  return true;
}

static bool read_answer(struct route *r, const unsigned char *bytes, size_t size)
{
  struct nlmsghdr header;
  struct rtmsg route;
  struct rtattr a;
  size_t at = NLMSG_LENGTH(sizeof route);
  if (size < at)
    return false;
  memcpy(&header, bytes, sizeof header);
  memcpy(&route, bytes + NLMSG_HDRLEN, sizeof route);
  if (header.nlmsg_type != RTM_NEWROUTE)
    return false;
  r->local = route.rtm_type == RTN_LOCAL;
  for (; at + sizeof a <= size; at += RTA_ALIGN(a.rta_len)) {
    memcpy(&a, bytes + at, sizeof a);
    if (a.rta_len < sizeof a || a.rta_len > size - at)
      return false;
    if (a.rta_type == RTA_PREFSRC)
      return take_source(r, bytes + at + RTA_LENGTH(0), a.rta_len - sizeof a);
  }
  return false;
}

static bool by_netlink(struct route *r, const struct key *k)
{
  struct question q;
  unsigned char answer[1024];
  long size = -1;
  int fd = sys_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0)
    return false;
  ask_for(&q, k, &r->peer);
  /* The kernel answers within the send. */
  if (sys_send(fd, &q, q.header.nlmsg_len, MSG_DONTWAIT | MSG_NOSIGNAL) == (long)q.header.nlmsg_len)
    size = sys_recv(fd, answer, sizeof answer, MSG_DONTWAIT);
  sys_close(fd);
  return size > 0 && read_answer(r, answer, (size_t)size);
}

/* --- by a datagram socket -------------------------------------------------------------------- */

static bool has_set(int fd, int level, int option, int value)
{
  return !value || sys_setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* Connecting a datagram socket sends nothing, and shows the address that a connection gets. A mark
 * may need a right that the process no longer has. Returns 0, an errno, or -1: not asked. */
static int connect_datagram(const struct key *k, const struct endpoint *peer, uint8_t source[16])
{
  struct sockaddr_storage s;
  struct endpoint local;
  int family = is_ipv4(peer) ? AF_INET : AF_INET6;
  int fd = sys_socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = -1;
  socklen_t size = endpoint_to(peer, family, &s);
  if (fd < 0)
    return -1;
  if (has_set(fd, SOL_SOCKET, OPTION_BIND_TO_INDEX, k->device) &&
      has_set(fd, SOL_SOCKET, SO_MARK, k->mark) && has_set(fd, IPPROTO_IP, IP_TOS, k->tos))
    error = sys_connect(fd, &s, size) ? errno : 0;
  if (!error && source && socket_local(fd, &local))
    memcpy(source, local.address, 16);
  sys_close(fd);
  return error;
}

/* To an address of its own a machine leaves from that one, but from the first of several addresses
 * in one IPv4 network (fib_add_ifaddr() in net/ipv4/fib_frontend.c). */
static bool by_datagram(struct route *r, const struct key *k)
{
  if (connect_datagram(k, &r->peer, r->source))
    return false;
  r->local = memcmp(r->source, r->peer.address, 16) == 0;
  return true;
}

/* --- the questions --------------------------------------------------------------------------- */

void route_ask(struct route *r, int fd, uint8_t protocol, const struct endpoint *peer,
               const uint8_t local[16])
{
  if (r->state != ROUTE_UNASKED)
    return;
  memset(r, 0, sizeof *r);
  r->peer = endpoint_reached(peer, local);
  struct key k = key_of(fd, protocol, is_ipv4(&r->peer));
  r->device = k.device;
  r->state = by_netlink(r, &k) || by_datagram(r, &k) ? ROUTE_FOUND : ROUTE_UNKNOWN;
}

bool route_lacks_source(int fd, const struct endpoint *peer)
{
  if (is_ipv4(peer))
    return false;
  struct key k = key_of(fd, IPPROTO_UDP, false);
  return connect_datagram(&k, peer, NULL) == EADDRNOTAVAIL;
}
