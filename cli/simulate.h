/* SPDX-License-Identifier: MIT
 *
 * What `berth simulate` was asked, and how it shows what came of it.
 */
#ifndef BERTH_CLI_SIMULATE_H
#define BERTH_CLI_SIMULATE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "simulate/simulation.h"

#define TRACE_NOTHING UINT32_MAX

struct scenario {
  struct workload workload;
  const struct algorithm *algorithms[32];
  int algorithm_count;
  uint32_t traced; /* the connection that is told step by step; or TRACE_NOTHING */
  const char *svg; /* a file for the plot; or NULL */
  bool json;
  bool each; /* connection: a line */
};

/* What is simulated: a line or two for people. */
void print_workload(const struct workload *w);

/* The results: a table for people, whose head is printed first; or a JSON object a line. */
void print_results_head(void);
void print_result(const struct workload *w, const struct algorithm *a,
                  const struct simulation_result *r);
void print_result_json(const struct workload *w, const struct algorithm *a,
                       const struct simulation_result *r);

/* One connection: its number, its port (0: none) and how many were looked at. */
void print_attempt(void *unused, const struct attempt *a);
void print_attempt_json(void *algorithm, const struct attempt *a);

/* Tells one connection step by step. */
struct trace {
  uint32_t number; /* which */
  bool begun;      /* this attempt is the one */
  const struct workload *workload;
  const struct algorithm *algorithm;
  uint16_t *looked_at; /* the ports of the current attempt, until `attempt` */
  uint32_t looks, room;
};
void trace_look(void *trace, uint16_t port, bool usable);
void trace_attempt(void *trace, const struct attempt *a);

/* Ports over connections and scan length over fill, drawn by gnuplot. `plot_attempt` takes the points
 * of one algorithm after the other; plot_draw writes the file. False where it cannot, which has been
 * said. */
struct plot;
struct plot *plot_begin(const struct scenario *s);
void plot_algorithm(struct plot *p, const struct algorithm *a);
void plot_attempt(void *plot, const struct attempt *a);
bool plot_draw(struct plot *p, const char *file);
void plot_end(struct plot *p);

#endif
