// SPDX-License-Identifier: MIT
#include "cli/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/namespace.h"
#include "cli/proc.h"

static bool same_boot(const struct record_reader *reader)
{
  char id[37] = "";
  FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
  if (!f)
    return true;
  size_t n = fread(id, 1, 36, f);
  fclose(f);
  return n != 36 || !reader->boot_id[0] || memcmp(id, reader->boot_id, 36) == 0;
}

/* A pid has one holder at a time, so who holds it now and started before the row was taken is the
 * one who took it. */
static bool lives(const struct record_process *row)
{
  struct proc_stat p;
  uint64_t tick = 1000000000 / (uint64_t)sysconf(_SC_CLK_TCK);
  return proc_stat((pid_t)row->pid, &p) && proc_lives(&p) && p.start * tick <= row->claimed;
}

static const char *state_of(const struct record_process *row, bool this_boot)
{
  static uint64_t own;
  if (!own)
    own = own_namespace("pid");
  switch ((uint32_t)row->state) {
  case RECORD_EXITED: return "exited";
  case RECORD_REPLACED: return "replaced";
  default: break;
  }
  if (!this_boot)
    return "died";
  if (row->pid == 0 || !own || row->pid_namespace != own)
    return "unknown";
  return lives(row) ? "running" : "died";
}

bool process_any_running(struct record_reader *reader)
{
  struct record_process row;
  bool this_boot = same_boot(reader);
  uint32_t used = record_processes_used(reader);
  for (uint32_t i = 0; i <= used && i < reader->processes.count; i++) {
    uint32_t process = i < used ? i : reader->processes.count - 1;
    if (!record_read_process(reader, process, &row))
      continue;
    const char *state = state_of(&row, this_boot);
    if (strcmp(state, "running") == 0 || strcmp(state, "unknown") == 0)
      return true;
  }
  return false;
}

/* The run of this process's destinations, and of its rules, from `*next` on: both are sorted by
 * process. */
static void share_destinations(struct process *p, uint32_t process,
                               struct record_read_destination *all, size_t count, size_t *next)
{
  uint32_t most = summarise_ports(&p->row).distinct;
  while (*next < count && all[*next].process < process)
    ++*next;
  p->destinations = count ? all + *next : NULL;
  while (*next < count && all[*next].process == process) {
    if (all[*next].distinct_ports > most) /* of all destinations, which is known exactly */
      all[*next].distinct_ports = most;
    p->destination_count++;
    ++*next;
  }
}

static void share_rules(struct process *p, uint32_t process, const struct record_read_rule *all,
                        size_t count, size_t *next)
{
  while (*next < count && all[*next].process < process)
    ++*next;
  p->rules = count ? all + *next : NULL;
  while (*next < count && all[*next].process == process) {
    p->rule_count++;
    ++*next;
  }
}

bool process_table_read(struct process_table *table, struct record_reader *reader)
{
  uint32_t used = record_processes_used(reader), last = reader->processes.count - 1;
  struct record_torn *torn = calloc(reader->processes.count, sizeof *torn);
  bool this_boot = same_boot(reader);
  size_t next_destination = 0, next_rule = 0;
  memset(table, 0, sizeof *table);
  table->processes = calloc((size_t)used + 1, sizeof *table->processes);
  if (!torn || !table->processes) {
    free(torn);
    return false;
  }
  size_t destinations = record_read_destinations(reader, &table->destinations);
  size_t rules = record_read_rules(reader, &table->rules);
  record_count_torn(reader, torn, reader->processes.count);
  for (uint32_t i = 0; i <= used; i++) {
    uint32_t process = i < used ? i : last;
    struct process *p = &table->processes[table->count];
    if (!record_read_process(reader, process, &p->row))
      continue;
    p->state = state_of(&p->row, this_boot);
    p->torn = torn[process];
    share_destinations(p, process, table->destinations, destinations, &next_destination);
    share_rules(p, process, table->rules, rules, &next_rule);
    table->count++;
  }
  free(torn);
  return true;
}

void process_table_free(struct process_table *table)
{
  free(table->processes);
  free(table->destinations);
  free(table->rules);
}

struct port_summary summarise_ports(const struct record_process *row)
{
  struct port_summary s = {0};
  for (uint32_t port = 0; port < 65536; port++) {
    if (!(row->ports[port / 64] >> (port % 64) & 1))
      continue;
    if (!s.distinct)
      s.lowest = (uint16_t)port;
    s.highest = (uint16_t)port;
    s.distinct++;
    s.even += port % 2 == 0;
  }
  return s;
}
