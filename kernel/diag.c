// SPDX-License-Identifier: MIT
#include "kernel/diag.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIMER_TIMEWAIT 3 /* idiag_timer of TIME_WAIT's short form of a socket: sock_diag(7) */
#define BUFFER (1 << 17) /* of one read: the kernel fills 32 KiB at most by itself */

/* A protocol's sockets of one family, of which the program named the port, or did not. */
struct dump {
  struct diag_sockets *list;
  uint32_t room;
  uint8_t family, protocol;
  bool explicit_port;
  int error;
};

/* --- an answer ------------------------------------------------------------------------------- */

static bool make_room(struct dump *d)
{
  if (d->list->count < d->room)
    return true;
  uint32_t room = d->room ? 2 * d->room : 4096;
  struct diag_socket *more = realloc(d->list->sockets, room * sizeof *more);
  if (!more) {
    d->error = ENOMEM;
    return false;
  }
  d->list->sockets = more;
  d->room = room;
  return true;
}

static void copy_address(uint8_t to[16], const uint32_t *from, uint8_t family)
{
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  if (family == AF_INET6) {
    memcpy(to, from, 16);
    return;
  }
  memcpy(to, mapped, 12);
  memcpy(to + 12, from, 4);
}

static bool is_late(const struct nlmsghdr *header)
{
  struct nlattr *a; /* const is cast away in the loop */
  struct inet_diag_sockopt options = {0};
  mnl_attr_for_each(a, header, sizeof(struct inet_diag_msg))
  {
    if (mnl_attr_get_type(a) == INET_DIAG_SOCKOPT && mnl_attr_get_payload_len(a) >= sizeof options)
      memcpy(&options, mnl_attr_get_payload(a), sizeof options);
  }
  return options.bind_address_no_port;
}

/* A socket that nobody has open waits in a short form, in FIN_WAIT_2 too, and has forgotten it. */
static enum diag_port port_by(const struct dump *d, const struct nlmsghdr *header)
{
  const struct inet_diag_msg *m = mnl_nlmsg_get_payload(header);
  if (m->idiag_timer == TIMER_TIMEWAIT)
    return DIAG_PORT_UNKNOWN;
  if (d->explicit_port)
    return DIAG_PORT_EXPLICIT;
  return is_late(header) ? DIAG_PORT_LATE : DIAG_PORT_AUTOMATIC;
}

static int add(const struct nlmsghdr *header, void *data)
{
  struct dump *d = data;
  const struct inet_diag_msg *m = mnl_nlmsg_get_payload(header);
  if (mnl_nlmsg_get_payload_len(header) < sizeof *m || !make_room(d))
    return MNL_CB_STOP;
  struct diag_socket *s = &d->list->sockets[d->list->count++];
  /* What is bound and no more is listed as closed. */
  uint8_t state = m->idiag_state == DIAG_CLOSE ? DIAG_BOUND : m->idiag_state;
  *s = (struct diag_socket){.state = state,
                            .port_by = (uint8_t)port_by(d, header),
                            .local_port = ntohs(m->id.idiag_sport),
                            .peer_port = ntohs(m->id.idiag_dport),
                            .device = m->id.idiag_if,
                            .expires = m->idiag_state == DIAG_TIME_WAIT ? m->idiag_expires : 0,
                            .uid = m->idiag_uid,
                            .inode = m->idiag_inode,
                            .cookie = (uint64_t)m->id.idiag_cookie[1] << 32 |
                                      m->id.idiag_cookie[0]};
  copy_address(s->local, m->id.idiag_src, m->idiag_family);
  copy_address(s->peer, m->id.idiag_dst, m->idiag_family);
  return MNL_CB_OK;
}

/* --- a question ------------------------------------------------------------------------------ */

/* A filter that the kernel runs. The offsets are to the next instruction: just behind the last one
 * takes the socket, and beyond refuses it (inet_diag_bc_run()). INET_DIAG_BC_AUTO says whether the
 * program named no port, INET_DIAG_BC_JMP always no. */
static void put_filter(struct nlmsghdr *header, bool explicit_port)
{
  static const struct inet_diag_bc_op automatic[] = {{INET_DIAG_BC_AUTO, 4, 8}};
  static const struct inet_diag_bc_op named[] = {{INET_DIAG_BC_AUTO, 4, 8},
                                                 {INET_DIAG_BC_JMP, 4, 8}};
  if (explicit_port)
    mnl_attr_put(header, INET_DIAG_REQ_BYTECODE, sizeof named, named);
  else
    mnl_attr_put(header, INET_DIAG_REQ_BYTECODE, sizeof automatic, automatic);
}

static void ask(char *buffer, const struct dump *d, uint32_t states)
{
  struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
  header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  struct inet_diag_req_v2 *r = mnl_nlmsg_put_extra_header(header, sizeof *r);
  r->sdiag_family = d->family;
  r->sdiag_protocol = d->protocol;
  r->idiag_states = states;
  put_filter(header, d->explicit_port);
}

/* Reads until the kernel says that this was all. */
static int take_answers(struct mnl_socket *s, char *buffer, struct dump *d)
{
  int more = MNL_CB_OK;
  while (more > MNL_CB_STOP && !d->error) {
    ssize_t size = mnl_socket_recvfrom(s, buffer, BUFFER);
    more = size < 0 ? MNL_CB_ERROR : mnl_cb_run(buffer, (size_t)size, 0, 0, add, d);
    if (more == MNL_CB_ERROR)
      return errno;
  }
  return d->error;
}

static int read_part(struct mnl_socket *s, char *buffer, struct dump *d, uint32_t states)
{
  ask(buffer, d, states);
  if (mnl_socket_sendto(s, buffer, ((struct nlmsghdr *)buffer)->nlmsg_len) < 0)
    return errno;
  return take_answers(s, buffer, d);
}

int diag_read(struct diag_sockets *list, int protocol)
{
  static const uint8_t families[] = {AF_INET, AF_INET6};
  int error = 0;
  *list = (struct diag_sockets){0};
  struct dump d = {.list = list, .protocol = (uint8_t)protocol};
  char *buffer = malloc(BUFFER);
  struct mnl_socket *s = buffer ? mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC) : NULL;
  if (!s)
    error = errno;
  for (int i = 0; !error && i < 4; i++) {
    d.family = families[i / 2];
    /* First: one that is closed meanwhile is listed by both questions, and not by neither. */
    d.explicit_port = i % 2 == 0;
    error = read_part(s, buffer, &d, UINT32_MAX);
    if (error == ENOENT && d.family == AF_INET6) /* a kernel without IPv6 */
      error = 0;
  }
  if (s)
    mnl_socket_close(s);
  free(buffer);
  return error;
}

/* A socket on loopback that is bound and no more, and its port; -1. */
static int bound_socket(uint16_t *port)
{
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof name;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && bind(fd, (struct sockaddr *)&name, sizeof name) == 0 &&
      getsockname(fd, (struct sockaddr *)&name, &size) == 0) {
    *port = ntohs(name.sin_port);
    return fd;
  }
  if (fd >= 0)
    close(fd);
  return -1;
}

/* A kernel that does not know the state lists nothing for it. */
static int read_bound(struct diag_sockets *list)
{
  struct dump d = {.list = list, .family = AF_INET, .protocol = IPPROTO_TCP};
  char *buffer = malloc(BUFFER);
  struct mnl_socket *s = buffer ? mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC) : NULL;
  int error = s ? read_part(s, buffer, &d, 1U << DIAG_BOUND) : errno;
  if (s)
    mnl_socket_close(s);
  free(buffer);
  return error;
}

int diag_lists_bound(void)
{
  struct diag_sockets list = {0};
  uint16_t port;
  int fd = bound_socket(&port), lists = -1;
  if (fd < 0)
    return -1;
  if (!read_bound(&list)) {
    lists = 0;
    for (uint32_t i = 0; i < list.count; i++)
      if (list.sockets[i].state == DIAG_BOUND && list.sockets[i].local_port == port)
        lists = 1;
  }
  diag_free(&list);
  close(fd);
  return lists;
}

void diag_free(struct diag_sockets *list)
{
  free(list->sockets);
}

const char *diag_state_name(unsigned state)
{
  static const char *const names[DIAG_STATES] = {[DIAG_ESTABLISHED] = "established",
                                                 [DIAG_SYN_SENT] = "syn_sent",
                                                 [DIAG_SYN_RECV] = "syn_received",
                                                 [DIAG_FIN_WAIT_1] = "fin_wait_1",
                                                 [DIAG_FIN_WAIT_2] = "fin_wait_2",
                                                 [DIAG_TIME_WAIT] = "time_wait",
                                                 [DIAG_CLOSE] = "closed",
                                                 [DIAG_CLOSE_WAIT] = "close_wait",
                                                 [DIAG_LAST_ACK] = "last_ack",
                                                 [DIAG_LISTEN] = "listen",
                                                 [DIAG_CLOSING] = "closing",
                                                 [DIAG_NEW_SYN_RECV] = "syn_received",
                                                 [DIAG_BOUND] = "closed"};
  return state < DIAG_STATES && names[state] ? names[state] : "unknown";
}
