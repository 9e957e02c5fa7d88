// SPDX-License-Identifier: MIT
#include "doctor/destination.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool destination_is_itself(const struct diag_socket *s)
{
  return s->peer_port && s->peer_port == s->local_port && memcmp(s->local, s->peer, 16) == 0;
}

bool destination_is_same(const struct diag_socket *a, const struct diag_socket *b)
{
  return memcmp(a->local, b->local, 16) == 0 && memcmp(a->peer, b->peer, 16) == 0 &&
         a->peer_port == b->peer_port;
}

/* One that connect() made, as far as can be told, from a port of the range. */
static bool counts(const struct doctor_view *v, const struct diag_socket *s)
{
  return s->peer_port && s->local_port >= v->ports->low && s->local_port <= v->ports->high &&
         v->holds[s->local_port] != HOLD_LISTENER;
}

/* The end of the sockets that go where the first one does. */
static uint32_t end_of(const struct diag_sockets *list, uint32_t first)
{
  uint32_t end = first + 1;
  while (end < list->count && destination_is_same(&list->sockets[first], &list->sockets[end]))
    end++;
  return end;
}

/* --- one destination ------------------------------------------------------------------------- */

/* Whether tcp_tw_reuse may give a port in TIME_WAIT back by its age: after tcp_tw_reuse_delay, which
 * was one second before it could be set (6.14). */
static bool is_reusable(const struct doctor_view *v, const struct diag_socket *s)
{
  int64_t delay = v->settings.tw_reuse_delay;
  return s->state == DIAG_TIME_WAIT &&
         TIME_WAIT_SECONDS * 1000 - (int64_t)s->expires >= (delay < 0 ? 1000 : delay);
}

static void add(struct destination *d, const struct doctor_view *v, const struct diag_socket *s)
{
  d->sockets++;
  d->by_state[s->state < DIAG_STATES ? s->state : 0]++;
  d->by_port[s->port_by]++;
  if (s->state != DIAG_TIME_WAIT)
    return;
  d->soon += s->expires <= SOON_SECONDS * 1000;
  d->reusable += is_reusable(v, s);
}

/* Sockets of a destination are sorted by port: each port counts once. */
static void count_ports(struct destination *d, const struct doctor_view *v,
                        const struct diag_socket *first, uint32_t count)
{
  bool reuses = destination_reuses(d, v);
  d->free_low = v->open_low;
  d->free_other = v->open_other;
  for (uint32_t i = 0; i < count; i++) {
    uint16_t port = first[i].local_port;
    if (!counts(v, &first[i]) || v->holds[port] || (i && first[i - 1].local_port == port))
      continue;
    bool low = doctor_is_low_parity(v, port);
    *(low ? &d->free_low : &d->free_other) -= 1;
    *(low ? &d->back_low : &d->back_other) += reuses && is_reusable(v, &first[i]);
  }
  d->used = doctor_range_size(v) - d->free_low - d->free_other;
}

/* How many of the second list's sockets the first one had not; both go to one destination. */
static uint32_t count_new(const struct doctor_view *v, const struct diag_socket *now,
                          uint32_t count, const struct diag_socket *before, uint32_t before_count)
{
  uint32_t fresh = 0, j = 0;
  for (uint32_t i = 0; i < count; i++) {
    bool had = false;
    while (j < before_count && before[j].local_port < now[i].local_port)
      j++;
    for (uint32_t k = j; k < before_count && before[k].local_port == now[i].local_port; k++)
      had |= before[k].cookie == now[i].cookie;
    fresh += !had && counts(v, &now[i]);
  }
  return fresh;
}

/* --- all of them ----------------------------------------------------------------------------- */

static double measure_rate(const struct doctor_view *v, const struct diag_socket *first,
                           uint32_t count, uint32_t *before)
{
  const struct diag_sockets *b = &v->before;
  if (v->interval <= 0)
    return -1;
  /* Both lists are in one order: what comes before this destination is passed by. */
  while (*before < b->count) {
    const struct diag_socket *s = &b->sockets[*before];
    int order = memcmp(s->local, first->local, 16);
    order = order ? order : memcmp(s->peer, first->peer, 16);
    order = order ? order : s->peer_port - first->peer_port;
    if (order >= 0)
      break;
    (*before)++;
  }
  uint32_t end = *before;
  while (end < b->count && destination_is_same(first, &b->sockets[end]))
    end++;
  return count_new(v, first, count, &b->sockets[*before], end - *before) / v->interval;
}

static bool find_one(struct destination *d, const struct doctor_view *v, uint32_t first,
                     uint32_t end, uint32_t *before)
{
  const struct diag_socket *sockets = v->sockets.sockets;
  *d = (struct destination){.peer_port = sockets[first].peer_port};
  memcpy(d->local, sockets[first].local, 16);
  memcpy(d->peer, sockets[first].peer, 16);
  for (uint32_t i = first; i < end; i++)
    if (counts(v, &sockets[i]))
      add(d, v, &sockets[i]);
  if (!d->sockets)
    return false;
  count_ports(d, v, &sockets[first], end - first);
  d->rate = measure_rate(v, &sockets[first], end - first, before);
  return true;
}

static int worse(const void *a, const void *b)
{
  const struct destination *d = a, *e = b;
  return (d->used < e->used) - (d->used > e->used);
}

bool destinations_find(struct destinations *d, const struct doctor_view *v)
{
  uint32_t room = 0, before = 0;
  *d = (struct destinations){0};
  for (uint32_t first = 0, end; first < v->sockets.count; first = end) {
    end = end_of(&v->sockets, first);
    if (d->count == room) {
      room = room ? 2 * room : 64;
      struct destination *more = realloc(d->list, room * sizeof *more);
      if (!more)
        return false;
      d->list = more;
    }
    d->count += find_one(&d->list[d->count], v, first, end, &before);
  }
  if (d->count)
    qsort(d->list, d->count, sizeof *d->list, worse);
  return true;
}

void destinations_free(struct destinations *d)
{
  free(d->list);
}

/* --- what follows from it -------------------------------------------------------------------- */

double destination_percent(const struct destination *d, const struct doctor_view *v)
{
  return 100.0 * d->used / doctor_range_size(v);
}

bool destination_is_short(const struct destination *d, const struct doctor_view *v,
                          double threshold)
{
  uint32_t certain = d->used - d->back_low - d->back_other;
  return 100.0 * certain / doctor_range_size(v) >= threshold;
}

static bool is_loopback(const uint8_t address[16])
{
  static const uint8_t ipv6[16] = {[15] = 1}, mapped[13] = {[10] = 0xff, [11] = 0xff, [12] = 127};
  return memcmp(address, ipv6, 16) == 0 || memcmp(address, mapped, 13) == 0;
}

/* tcp_twsk_unique(): without timestamps nothing is; 2 is for loopback, by either address. */
bool destination_reuses(const struct destination *d, const struct doctor_view *v)
{
  const struct doctor_settings *s = &v->settings;
  if (s->timestamps == 0)
    return false;
  return s->tw_reuse == 1 || (s->tw_reuse == 2 && (is_loopback(d->local) || is_loopback(d->peer)));
}

/* Ports in a row, of which `free` are free, from any of them on. */
static uint32_t until_free(uint32_t ports, uint32_t free_ports)
{
  return ports < free_ports ? 1 : (ports + 1) / (free_ports + 1);
}

uint32_t destination_scan(const struct destination *d, const struct doctor_view *v)
{
  uint32_t size = doctor_range_size(v), half = size / 2;
  uint32_t low = d->free_low + d->back_low, other = d->free_other + d->back_other;
  if (low)
    return until_free(half, low);
  if (size == 1)
    return 1;
  return half + (other ? until_free(half, other) : half);
}

double destination_lasting_rate(const struct doctor_view *v)
{
  return (double)(doctor_range_size(v) - doctor_lost(v)) / TIME_WAIT_SECONDS;
}

static void address_text(const uint8_t address[16], char text[INET6_ADDRSTRLEN])
{
  static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
  bool ipv4 = memcmp(address, mapped, 12) == 0;
  inet_ntop(ipv4 ? AF_INET : AF_INET6, ipv4 ? address + 12 : address, text, INET6_ADDRSTRLEN);
}

void destination_peer(const struct destination *d, char text[DESTINATION_TEXT])
{
  char address[INET6_ADDRSTRLEN];
  address_text(d->peer, address);
  snprintf(text, DESTINATION_TEXT, strchr(address, ':') ? "[%s]:%u" : "%s:%u", address,
           d->peer_port);
}

void destination_local(const struct destination *d, char text[DESTINATION_TEXT])
{
  address_text(d->local, text);
}

void destination_states(const struct destination *d, const struct doctor_view *v,
                        uint8_t states[65536])
{
  memset(states, 0, 65536);
  for (uint32_t i = 0; i < v->sockets.count; i++) {
    const struct diag_socket *s = &v->sockets.sockets[i];
    if (memcmp(s->local, d->local, 16) == 0 && memcmp(s->peer, d->peer, 16) == 0 &&
        s->peer_port == d->peer_port && states[s->local_port] != DIAG_ESTABLISHED)
      states[s->local_port] = s->state;
  }
}
