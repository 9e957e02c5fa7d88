// SPDX-License-Identifier: MIT
//
// The range as a grid: the parity of its first port left, the other right, a character for each port
// or, in a large range, for a few of them.
#include <stdio.h>

#include "cli/doctor.h"

#define COLUMNS 32 /* of each parity */
#define ROWS 64

static const char legend[] =
    ". free   e established   t TIME_WAIT   o another state   l listener   b bound   r reserved\n";

static char letter_of(const struct doctor_view *v, const uint8_t *states, uint32_t port)
{
  static const char holds[HOLDS] = {
      [HOLD_RESERVED] = 'r', [HOLD_LISTENER] = 'l', [HOLD_BOUND] = 'b', [HOLD_EXPLICIT] = 'b'};
  if (v->holds[port] && !states[port])
    return holds[v->holds[port]];
  switch (states[port]) {
  case 0: return '.';
  case DIAG_ESTABLISHED: return 'e';
  case DIAG_TIME_WAIT: return 't';
  default: return v->holds[port] == HOLD_LISTENER ? 'l' : 'o';
  }
}

/* What most of `count` ports of one parity are, from this one on. */
static char cell(const struct doctor_view *v, const uint8_t *states, uint32_t first, uint32_t count)
{
  uint32_t seen[128] = {0};
  char most = ' ';
  for (uint32_t port = first; port < first + 2 * count && port <= v->ports->high; port += 2) {
    char letter = letter_of(v, states, port);
    seen[(int)letter]++;
    if (seen[(int)letter] > seen[(int)most])
      most = letter;
  }
  return most;
}

static void print_row(const struct doctor_view *v, const uint8_t *states, uint32_t first,
                      uint32_t each)
{
  printf("%5u ", first);
  for (uint32_t parity = 0; parity < 2; parity++) {
    for (uint32_t i = 0; i < COLUMNS; i++)
      putchar(cell(v, states, first + parity + 2 * i * each, each));
    fputs(parity ? "\n" : "  ", stdout);
  }
}

void doctor_map(const struct doctor_view *v, const struct destination *to)
{
  static uint8_t states[65536];
  uint32_t cells = COLUMNS * ROWS, each = (doctor_range_size(v) / 2 + cells - 1) / cells;
  char peer[DESTINATION_TEXT], local[DESTINATION_TEXT];
  each = each ? each : 1;
  if (to) {
    destination_states(to, v, states);
    destination_peer(to, peer);
    destination_local(to, local);
    printf("\nports towards %s from %s", peer, local);
  } else
    printf("\nports towards a new destination");
  printf(", %u to a character; the parity of %u left, the other right\n", each, v->ports->low);
  fputs(legend, stdout);
  for (uint32_t port = v->ports->low; port <= v->ports->high; port += 2 * COLUMNS * each)
    print_row(v, states, port, each);
}
