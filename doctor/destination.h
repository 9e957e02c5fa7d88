/* SPDX-License-Identifier: MIT
 *
 * How many ports are left from one local address to one destination: there connect() succeeds or
 * fails, by the 4-tuple.
 */
#ifndef BERTH_DOCTOR_DESTINATION_H
#define BERTH_DOCTOR_DESTINATION_H

#include "doctor/view.h"

#define SOON_SECONDS 10 /* "return within" */

struct destination {
  uint8_t local[16], peer[16];
  uint16_t peer_port;
  uint32_t sockets;               /* on ports of the range */
  uint32_t by_state[DIAG_STATES]; /* of these */
  uint32_t by_port[DIAG_PORTS];   /* likewise: enum diag_port */
  uint32_t used;                  /* ports of the range that are taken, or lost to all */
  uint32_t free_low, free_other;  /* what is left, by parity */
  uint32_t soon;                  /* TIME_WAIT that ends within SOON_SECONDS */
  uint32_t reusable;              /* TIME_WAIT that tcp_tw_reuse 1 would give back, at most */
  uint32_t back_low, back_other;  /* what connect() takes of it as tcp_tw_reuse is, at most; of
                                     `used`, by parity */
  double rate;                    /* new connections a second; negative: not measured */
};

struct destinations {
  struct destination *list; /* worst first */
  uint32_t count;
};

/* Whether it is connected to itself. */
bool destination_is_itself(const struct diag_socket *s);

/* Whether both go from one local address to one destination. */
bool destination_is_same(const struct diag_socket *a, const struct diag_socket *b);

/* All that have a socket on a port of the range. False where memory is short. */
bool destinations_find(struct destinations *d, const struct doctor_view *v);
void destinations_free(struct destinations *d);

/* In percent of the range. */
double destination_percent(const struct destination *d, const struct doctor_view *v);

/* Whether so many percent are used for certain: what tcp_tw_reuse may give back left aside. */
bool destination_is_short(const struct destination *d, const struct doctor_view *v,
                          double threshold);

/* Whether tcp_tw_reuse, as it is set, covers this destination. */
bool destination_reuses(const struct destination *d, const struct doctor_view *v);

/* How many ports the next connect() will look at, about: low's parity first, then the other. */
uint32_t destination_scan(const struct destination *d, const struct doctor_view *v);

/* How many new connections a second can last, where this side closes them and nothing is reused:
 * each holds its port for TIME_WAIT. */
double destination_lasting_rate(const struct doctor_view *v);

/* "10.0.0.7:443" and "10.1.0.5", "[fd00::1]:443" and "fd00::2": to text with room for 64 bytes. */
#define DESTINATION_TEXT 64
void destination_peer(const struct destination *d, char text[DESTINATION_TEXT]);
void destination_local(const struct destination *d, char text[DESTINATION_TEXT]);

/* Which ports of the range are taken towards it: enum diag_state by port, 0 where free. */
void destination_states(const struct destination *d, const struct doctor_view *v,
                        uint8_t states[65536]);

#endif
