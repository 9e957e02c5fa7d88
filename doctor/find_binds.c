// SPDX-License-Identifier: MIT
//
// Programs that bind to port 0 before they connect. inet_diag does not tell such a port from one
// that connect() chose; but these share no port with another destination, and those do.
#include <math.h>
#include <stdlib.h>

#include "doctor/finding.h"

static bool in_range(const struct doctor_view *v, const struct diag_socket *s)
{
  return s->local_port >= v->ports->low && s->local_port <= v->ports->high;
}

/* Ports of the range that the kernel chose and that one socket alone has. */
struct singles {
  uint32_t count;
  bool shared;    /* another port has two: a connect() chose it */
  uint32_t bound; /* sockets that are bound and not connected: a bind() chose their ports */
  uint32_t connected, most; /* others; and those of them that go to one destination */
};

static bool is_chosen(const struct doctor_view *v, const struct diag_socket *s)
{
  bool chosen = s->port_by == DIAG_PORT_AUTOMATIC || s->port_by == DIAG_PORT_UNKNOWN;
  return chosen && in_range(v, s) && v->holds[s->local_port] != HOLD_LISTENER;
}

static struct singles count_singles(const struct doctor_view *v)
{
  struct singles found = {0};
  const struct diag_socket *first = v->sockets.sockets;
  uint8_t *users = calloc(65536, 1);
  uint32_t here = 0;
  for (uint32_t i = 0; users && i < v->sockets.count; i++) {
    const struct diag_socket *s = &v->sockets.sockets[i];
    if (!destination_is_same(first, s)) {
      first = s;
      here = 0;
    }
    if (!is_chosen(v, s))
      continue;
    found.bound += !s->peer_port;
    found.connected += s->peer_port != 0;
    here += s->peer_port != 0;
    if (here > found.most)
      found.most = here;
    if (users[s->local_port] < 2)
      users[s->local_port]++;
  }
  for (uint32_t port = v->ports->low; users && port <= v->ports->high; port++) {
    found.count += users[port] == 1;
    found.shared |= users[port] > 1;
  }
  free(users);
  return found;
}

/* Had connect() chosen them, then those that do not go to the busiest destination would have met one
 * of its ports: that none did is less likely than one in 10^9. */
static bool are_of_binds(const struct singles *s, uint32_t size)
{
  double free_ports = size > s->most ? 1 - (double)s->most / size : 1.0 / size;
  return s->bound * 2 >= s->count || (s->connected - s->most) * log10(free_ports) < -9;
}

void find_binds(struct findings *f, const struct examination *e)
{
  const struct doctor_view *v = e->view;
  struct singles singles = count_singles(v);
  uint32_t size = doctor_range_size(v);
  if (singles.shared || singles.count * 100.0 < e->threshold * size || !singles.count ||
      !are_of_binds(&singles, size))
    return;
  findings_add(
      f,
      (struct finding){
          .severity = FAILURE,
          .weight = singles.count,
          .code = "bind-to-port-0",
          .figure = finding_text("%u of %u ports are each held by one socket, and none is shared "
                                 "between destinations",
                                 singles.count, size),
          .cause = "A port that bind() to port 0 gave is taken towards every destination at once: "
                   "when the range is used up, bind() fails with EADDRINUSE.",
          .remedy = finding_text("set IP_BIND_ADDRESS_NO_PORT before the bind(), or let berth do "
                                 "so for the program (its name for PROGRAM):"),
          .policy = finding_text("{\"version\": 1, \"late_bind\": [\"PROGRAM\"]}"),
          .source = "90c337da1524 (4.2): IP_BIND_ADDRESS_NO_PORT; ip(7)"});
}
