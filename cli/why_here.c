// SPDX-License-Identifier: MIT
#include "cli/why_here.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/look.h"
#include "kernel/features.h"
#include "record/text.h"

#define SHARE 20 /* looks take one part of so many of the time: each lists every socket */

struct main_holder {
  bool counted;
  uint32_t pid, sockets;
};

static struct {
  struct doctor_view view;
  struct destinations destinations;
  struct holders holders;
  struct diag_sockets udp; /* once asked for */
  bool has_holders, has_udp, indexed;
  int error;
  uint64_t time;              /* CLOCK_MONOTONIC in ms; 0: never looked */
  uint64_t keep;              /* it is good for so many ms */
  struct main_holder *counts; /* of each destination, once asked for */
  uint32_t occupied;          /* likewise, and one more */
} look;

static uint64_t now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void look_again(void)
{
  diag_free(&look.view.sockets);
  diag_free(&look.udp);
  destinations_free(&look.destinations);
  holders_free(&look.holders);
  free(look.counts);
  memset(&look, 0, sizeof look);
  look.error = look_here(&look.view);
  if (!destinations_find(&look.destinations, &look.view))
    look.destinations.count = 0;
}

const struct doctor_view *here(void)
{
  uint64_t now = now_ms();
  if (!look.time || now - look.time >= look.keep) {
    look_again();
    look.time = now_ms();
    look.keep = (look.time - now) * SHARE > 1000 ? (look.time - now) * SHARE : 1000;
  }
  return look.error ? NULL : &look.view;
}

static bool is_unspecified(const uint8_t address[16])
{
  static const uint8_t none[16], none_ipv4[16] = {[10] = 0xff, [11] = 0xff};
  return memcmp(address, none, 16) == 0 || memcmp(address, none_ipv4, 16) == 0;
}

/* ip_route_output_key_hash_rcu() in net/ipv4/route.c; tcp_v6_connect(). */
void here_reached(const struct record_event *e, uint8_t peer[16])
{
  static const uint8_t ipv6[16] = {[15] = 1}, ipv4[16] = {[10] = 0xff, 0xff, 127, 0, 0, 1};
  const uint8_t *reached = e->peer;
  if (is_unspecified(e->peer) && !address_is_ipv4(e->peer))
    reached = ipv6;
  else if (is_unspecified(e->peer))
    reached = is_unspecified(e->local) ? ipv4 : e->local;
  memcpy(peer, reached, 16);
}

const struct destination *here_destination(const uint8_t local[16], const uint8_t peer[16],
                                           uint16_t peer_port)
{
  for (uint32_t i = 0; i < look.destinations.count; i++) {
    const struct destination *d = &look.destinations.list[i];
    if (d->peer_port == peer_port && memcmp(d->peer, peer, 16) == 0 &&
        (is_unspecified(local) || memcmp(d->local, local, 16) == 0))
      return d;
  }
  return NULL;
}

/* By port, once a look: a line a failing call would otherwise go through all sockets each. */
static const struct diag_socket *by_port[65536];

static void index_ports(void)
{
  memset(by_port, 0, sizeof by_port);
  for (uint32_t i = 0; i < look.view.sockets.count; i++) {
    const struct diag_socket *s = &look.view.sockets.sockets[i], **best = &by_port[s->local_port];
    if (*best && !(*best)->peer_port)
      continue;
    if (!s->peer_port || !*best || (*best)->state == DIAG_TIME_WAIT)
      *best = s;
  }
  look.indexed = true;
}

const struct diag_socket *here_port(uint16_t port)
{
  if (!look.indexed)
    index_ports();
  return by_port[port];
}

const struct diag_socket *here_udp_port(uint16_t port)
{
  if (!look.has_udp && diag_read(&look.udp, IPPROTO_UDP))
    look.udp.count = 0;
  look.has_udp = true;
  for (uint32_t i = 0; i < look.udp.count; i++)
    if (look.udp.sockets[i].local_port == port)
      return &look.udp.sockets[i];
  return NULL;
}

const struct diag_socket *here_tuple(const struct record_event *e)
{
  uint8_t peer[16];
  here_reached(e, peer);
  for (uint32_t i = 0; i < look.view.sockets.count; i++) {
    const struct diag_socket *s = &look.view.sockets.sockets[i];
    if (s->local_port == e->local_port && s->peer_port == e->peer_port &&
        memcmp(s->peer, peer, 16) == 0 &&
        (is_unspecified(e->local) || memcmp(s->local, e->local, 16) == 0))
      return s;
  }
  return NULL;
}

static const struct holders *all_holders(void)
{
  if (!look.has_holders)
    look.holders = holders_read();
  look.has_holders = true;
  return &look.holders;
}

uint32_t here_holder(const struct diag_socket *s)
{
  return holders_find(all_holders(), s->inode);
}

static int compare(const void *a, const void *b)
{
  uint32_t p = *(const uint32_t *)a, q = *(const uint32_t *)b;
  return (p > q) - (p < q);
}

/* The number that comes most often in a sorted list, 0 left aside. */
static uint32_t most_frequent(const uint32_t *list, uint32_t size, uint32_t *count)
{
  uint32_t most = 0;
  *count = 0;
  for (uint32_t first = 0, end; first < size; first = end) {
    for (end = first + 1; end < size && list[end] == list[first]; end++)
      ;
    if (list[first] && end - first > *count) {
      *count = end - first;
      most = list[first];
    }
  }
  return most;
}

static uint32_t find_main_holder(const struct destination *d, uint32_t *count)
{
  uint32_t *pids = calloc(d->sockets + 1, sizeof *pids), found = 0, most = 0;
  *count = 0;
  for (uint32_t i = 0; pids && i < look.view.sockets.count && found < d->sockets; i++) {
    const struct diag_socket *s = &look.view.sockets.sockets[i];
    if (memcmp(s->local, d->local, 16) == 0 && memcmp(s->peer, d->peer, 16) == 0 &&
        s->peer_port == d->peer_port)
      pids[found++] = here_holder(s);
  }
  if (pids) {
    qsort(pids, found, sizeof *pids, compare);
    most = most_frequent(pids, found, count);
  }
  free(pids);
  return most;
}

bool here_sees_bound(void)
{
  static int sees = -1;
  if (sees < 0)
    sees = kernel_features_probe().bound_sockets_listed > 0;
  return sees;
}

uint32_t here_main_holder(const struct destination *d, uint32_t *count)
{
  if (!look.counts)
    look.counts = calloc(look.destinations.count + 1, sizeof *look.counts);
  if (!look.counts)
    return find_main_holder(d, count);
  struct main_holder *m = &look.counts[d - look.destinations.list];
  if (!m->counted)
    m->pid = find_main_holder(d, &m->sockets);
  m->counted = true;
  *count = m->sockets;
  return m->pid;
}

static uint32_t count_occupied(void)
{
  uint8_t *used = calloc(65536, 1);
  const struct doctor_view *v = &look.view;
  uint32_t count = 0;
  for (uint32_t i = 0; used && i < v->sockets.count; i++)
    used[v->sockets.sockets[i].local_port] = 1;
  for (uint32_t port = v->ports->low; used && port <= v->ports->high; port++)
    count += used[port] || v->holds[port];
  free(used);
  return count;
}

uint32_t here_occupied(void)
{
  if (!look.occupied)
    look.occupied = 1 + count_occupied();
  return look.occupied - 1;
}
