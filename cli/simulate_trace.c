// SPDX-License-Identifier: MIT
//
// One choice in words: the sum that the kernel does, and what it finds port by port.
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>

#include "cli/simulate.h"

/* So many ports at the beginning and at the end of a long scan are named. */
#define NAMED 16

void trace_look(void *data, uint16_t port, bool usable)
{
  struct trace *t = data;
  (void)usable; /* the last one was, if the call found a port */
  if (t->looks == t->room) {
    uint32_t room = t->room ? 2 * t->room : 1024;
    uint16_t *more = realloc(t->looked_at, room * sizeof *more);
    if (!more)
      return;
    t->looked_at = more;
    t->room = room;
  }
  t->looked_at[t->looks++] = port;
}

static void tell_connection(const struct trace *t, const struct attempt *a)
{
  char source[INET_ADDRSTRLEN], destination[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &a->flow.source, source, sizeof source);
  inet_ntop(AF_INET, &a->flow.destination, destination, sizeof destination);
  printf("\n%s, connection %u, from %s to %s:%u; %u port%s taken towards it\n",
         algorithm_name(t->algorithm), a->number + 1, source, destination, a->flow.port, a->taken,
         a->taken == 1 ? "" : "s");
  printf("  the rule: %s\n", algorithm_rule(t->algorithm));
}

/* Where the kernel's scan starts, and why there. */
static void tell_start(const struct trace *t, const struct attempt *a)
{
  const struct model *m = t->algorithm->model;
  const struct model_choice *c = &a->choice;
  uint32_t hash = m->hash == MODEL_SIPHASH_10_SECONDS ? (uint32_t)(a->offset >> 32)
                                                      : (uint32_t)a->offset;
  if (m->table_size > 1)
    printf("  entry %u of the table of %u holds %u\n", c->entry, m->table_size, c->remembered);
  else if (m->table_size)
    printf("  the hint is %u\n", c->remembered);
  if (m->table_size)
    printf("  plus the connection's hash, %u: %" PRIu32 " (of 32 bits), modulo %u ports: %u\n",
           hash, hash + c->remembered, c->size, (hash + c->remembered) % c->size);
  if (m->table_size && t->looks) {
    uint32_t sum = (hash + c->remembered) % c->size,
             start = (uint32_t)t->looked_at[0] - t->workload->low;
    printf("  so from port %u + %u on%s\n", t->workload->low, start,
           start == sum       ? ""
           : m == &model_3_10 ? ": one further"
                              : ": the lowest bit is left out");
  }
  if (m == &model_udp)
    printf("  steps of %u around all 65536 ports, of which those of the range are looked at\n",
           c->step);
  else if (c->step > 1)
    printf("  steps of %u, as long as the range goes, then %u lower\n", c->step, c->size);
}

static void tell_looks(const struct trace *t, const struct attempt *a)
{
  bool found = a->choice.port;
  for (uint32_t i = 0; i < t->looks; i++) {
    if (i == NAMED && t->looks > 2 * NAMED) {
      printf("  ... %u more, none of them free\n", t->looks - 2 * NAMED);
      i = t->looks - NAMED;
    }
    uint16_t port = t->looked_at[i];
    const char *why = model_ports_has(&t->workload->held, port) ? "reserved, or held by a bind"
                      : t->algorithm->to_all                    ? "taken"
                                                                : "the 4-tuple is taken";
    printf("  %5u, of %s parity: %s\n", port,
           port % 2 == t->workload->low % 2 ? "low's" : "the other",
           found && i + 1 == t->looks ? "free" : why);
  }
}

void trace_attempt(void *data, const struct attempt *a)
{
  struct trace *t = data;
  if (a->number == t->number) {
    tell_connection(t, a);
    if (t->algorithm->model)
      tell_start(t, a);
    tell_looks(t, a);
    if (a->choice.port)
      printf("  port %u, after looking at %u", a->choice.port, a->choice.looked_at);
    else
      printf("  %s after %u ports", algorithm_error(t->algorithm), a->choice.looked_at);
    if (a->choice.remembers != a->choice.remembered)
      printf("; for the next call it keeps %u", a->choice.remembers);
    puts("");
  }
  t->looks = 0;
}
