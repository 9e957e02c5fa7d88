/* SPDX-License-Identifier: MIT
 *
 * A machine that opens and closes connections, and whose ports are chosen by one algorithm. Time is
 * in seconds since the start; ports are in host byte order. Deterministic by the seed.
 */
#ifndef BERTH_SIMULATE_SIMULATION_H
#define BERTH_SIMULATE_SIMULATION_H

#include "simulate/chooser.h"

struct workload {
  uint32_t connections;
  double rate;                    /* connections a second, evenly; 0: all at the start */
  double lifetime;                /* of each; INFINITY: none is closed */
  uint32_t destinations, sources; /* addresses; each connection takes the next pair */
  uint16_t low, high;             /* ip_local_port_range, or IP_LOCAL_PORT_RANGE within it */
  bool own_range;                 /* it is the latter */
  bool reuse;                     /* bind(0): SO_REUSEADDR */
  uint32_t step_width, udp_slots;
  struct model_ports held; /* reserved ports, and those that listeners and explicit binds hold */

  bool client_closes;     /* and so is left with TIME_WAIT */
  double time_wait;       /* how long that holds a port towards the same destination */
  double time_wait_reuse; /* after how long connect() may take it all the same; INFINITY: never */

  uint64_t seed;
  const uint32_t *hint;   /* what the kernel remembers at first; NULL: as it does */
  const uint64_t *offset; /* the hash of every connection; NULL: as the kernel makes it */
};

/* One connection. */
struct attempt {
  uint32_t number; /* from 0 */
  double time;
  struct flow flow;
  uint64_t offset;
  uint32_t taken; /* ports that were taken towards this destination, of `low` to `high` */
  struct model_choice choice;
};

struct simulation_observer {
  void (*look)(void *data, uint16_t port, bool usable);             /* or NULL; before `attempt` */
  void (*attempt)(void *data, const struct attempt *a);             /* or NULL */
  void (*release)(void *data, const struct flow *f, uint16_t port); /* or NULL */
  void *data;
  const uint32_t *looked; /* the number of the only attempt that `look` is told of; NULL: of all */
};

struct simulation_result {
  uint32_t successes, failures;
  uint32_t first_failure; /* the attempt's number, where failures is not 0 */
  uint32_t low_parity;    /* successes on a port of the parity of `low` */
  uint32_t most_taken;    /* towards one destination, ever */
  double looks_mean;
  uint32_t looks_p50, looks_p99, looks_most;
  uint32_t reuses; /* successes on a port that had been used towards this destination */
  uint32_t reuse_least, reuse_p50; /* connections to it from one use to the next */
};

/* ENOMEM or 0. */
int simulate(const struct workload *w, const struct algorithm *a,
             const struct simulation_observer *observer, struct simulation_result *result);

#endif
