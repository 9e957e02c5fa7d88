// SPDX-License-Identifier: MIT
#include "steer/tuple.h"

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
static enum tuple_state look_up_listed(struct tuple_asker *a, const struct endpoint *peer,
                                       const uint8_t source[16], uint16_t port)
{
  if (a->listed && !listed_is_of(a->listed, source)) {
    listed_free(a->listed);
    a->listed = NULL;
  }
  if (!a->listed)
    a->listed = listed_read(source, peer);
  if (!a->listed)
    return TUPLE_UNKNOWN;
  if (listed_in_time_wait(a->listed, port))
    return TUPLE_TIME_WAIT;
  return listed_has(a->listed, port) ? TUPLE_TAKEN : TUPLE_FREE;
}

static bool may_ask(struct tuple_asker *a)
{
  if (!a->socket)
    a->socket = 1 + sys_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  return a->socket;
}

enum tuple_state tuple_state(struct tuple_asker *a, const struct route *route,
                             const uint8_t local[16], uint16_t port)
{
  bool bound = !address_is_unspecified(local);
  const uint8_t *source = bound ? local : route->source;
  if (!bound && route->state != ROUTE_FOUND)
    return TUPLE_UNKNOWN;
  if (!may_ask(a))
    return look_up_listed(a, &route->peer, source, port);
  struct question q = ask_for(route->device, source, port, &route->peer);
  return look_up(a->socket - 1, &q, route->peer.port);
}
