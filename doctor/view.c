// SPDX-License-Identifier: MIT
#include "doctor/view.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
  const struct diag_socket *s = a, *t = b;
  int order = memcmp(s->local, t->local, 16);
  order = order ? order : memcmp(s->peer, t->peer, 16);
  order = order ? order : s->peer_port - t->peer_port;
  order = order ? order : s->local_port - t->local_port;
  return order ? order : (s->cookie > t->cookie) - (s->cookie < t->cookie);
}

void doctor_sort(struct diag_sockets *list)
{
  if (list->count)
    qsort(list->sockets, list->count, sizeof *list->sockets, compare);
  uint32_t left = 0;
  for (uint32_t i = 0; i < list->count; i++)
    if (!left || compare(&list->sockets[left - 1], &list->sockets[i]) != 0)
      list->sockets[left++] = list->sockets[i];
  list->count = left;
}

/* __inet_hash_connect() passes by a bucket of which a bind() or a listener is an owner: its
 * `fastreuse` is not -1. Of a socket that is connected only the explicit bind is known. */
static enum port_hold hold_of(const struct diag_socket *s)
{
  if (s->state == DIAG_LISTEN)
    return HOLD_LISTENER;
  if (s->state == DIAG_BOUND)
    return HOLD_BOUND;
  return s->port_by == DIAG_PORT_EXPLICIT ? HOLD_EXPLICIT : HOLD_NOTHING;
}

static bool is_accepted(const struct doctor_view *v, const struct diag_socket *s)
{
  return s->peer_port && v->holds[s->local_port] == HOLD_LISTENER;
}

static void count_range(struct doctor_view *v)
{
  memset(v->held, 0, sizeof v->held);
  v->open_low = v->open_other = 0;
  for (uint32_t port = v->ports->low; port <= v->ports->high; port++) {
    v->held[v->holds[port]]++;
    if (v->holds[port] == HOLD_NOTHING)
      *(doctor_is_low_parity(v, port) ? &v->open_low : &v->open_other) += 1;
  }
}

/* What is accepted by a listener has its port, and is no bind of its own. */
void doctor_find_holds(struct doctor_view *v)
{
  memset(v->holds, HOLD_NOTHING, sizeof v->holds);
  for (uint32_t i = 0; i < v->ports->reserved_count; i++)
    for (uint32_t port = v->ports->reserved[i].low; port <= v->ports->reserved[i].high; port++)
      v->holds[port] = HOLD_RESERVED;
  for (enum port_hold wanted = HOLD_LISTENER; wanted < HOLDS; wanted++)
    for (uint32_t i = 0; i < v->sockets.count; i++) {
      const struct diag_socket *s = &v->sockets.sockets[i];
      if (hold_of(s) == wanted && !is_accepted(v, s) && v->holds[s->local_port] <= HOLD_RESERVED)
        v->holds[s->local_port] = (uint8_t)wanted;
    }
  count_range(v);
}

uint32_t doctor_range_size(const struct doctor_view *v)
{
  return (uint32_t)v->ports->high - v->ports->low + 1;
}

uint32_t doctor_lost(const struct doctor_view *v)
{
  return doctor_range_size(v) - v->held[HOLD_NOTHING];
}
