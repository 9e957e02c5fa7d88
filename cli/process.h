/* SPDX-License-Identifier: MIT
 *
 * A row of a recording with what belongs to it: whether its process lives, its destinations,
 * its rules, its torn events.
 */
#ifndef BERTH_CLI_PROCESS_H
#define BERTH_CLI_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "record/read.h"

struct process {
  struct record_process row;
  const char *state; /* "running", "exited", "replaced", "died" or "unknown" */
  struct record_torn torn;
  const struct record_read_destination *destinations; /* the table's own */
  size_t destination_count;
  const struct record_read_rule *rules; /* likewise */
  size_t rule_count;
};

/* All rows of a recording, in the order in which they were taken. */
struct process_table {
  struct process *processes;
  size_t count;
  struct record_read_destination *destinations;
  struct record_read_rule *rules;
};

/* Returns false without memory. */
bool process_table_read(struct process_table *table, struct record_reader *reader);
void process_table_free(struct process_table *table);

/* Whether a process that wrote to this recording still runs, as far as its rows tell. */
bool process_any_running(struct record_reader *reader);

struct port_summary {
  uint32_t distinct, even;
  uint16_t lowest, highest; /* 0 without any */
};
struct port_summary summarise_ports(const struct record_process *row);

#endif
