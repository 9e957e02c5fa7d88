// SPDX-License-Identifier: MIT
#include "cli/summary.h"

#include <inttypes.h>

#include "cli/json.h"
#include "cli/print.h"
#include "cli/process.h"
#include "record/text.h"

#define DESTINATIONS_SHOWN 10

static void print_calls(FILE *out, const struct record_process *row)
{
  fprintf(out,
          "  calls        %" PRIu64 " connect, %" PRIu64 " bind, %" PRIu64 " listen, %" PRIu64
          " send: %" PRIu64 " ok, %" PRIu64 " in progress, %" PRIu64 " failed\n",
          row->calls_connect, row->calls_bind, row->calls_listen, row->calls_send, row->results_ok,
          row->results_in_progress, row->results_failed);
}

static void print_errors(FILE *out, const struct record_process *row)
{
  if (!row->results_failed)
    return;
  fputs("  errors      ", out);
  for (unsigned i = 0; i < RECORD_ERRNOS; i++) {
    const char *name = errno_name(i);
    if (row->errors[i])
      fprintf(out, " %s %" PRIu64, name ? name : "?", row->errors[i]);
  }
  putc('\n', out);
}

static void print_ports(FILE *out, const struct record_process *row)
{
  struct port_summary s = summarise_ports(row);
  fprintf(out, "  chosen by    kernel %" PRIu64 ", program %" PRIu64 ", policy %" PRIu64 "\n",
          row->chosen_by_kernel, row->chosen_by_program, row->chosen_by_policy);
  if (s.distinct)
    fprintf(out, "  local ports  %u distinct from %u to %u, %u even, %u odd\n", s.distinct,
            s.lowest, s.highest, s.even, s.distinct - s.even);
}

static void print_forbidden(FILE *out, const struct record_process *row)
{
  if (row->forbidden_local_port || row->forbidden_steering)
    fprintf(out,
            "  forbidden    to ask the local port of %" PRIu64 " calls, to steer %" PRIu64 "\n",
            row->forbidden_local_port, row->forbidden_steering);
}

static void print_counter(FILE *out, const char *name, uint64_t value, const char **separator)
{
  if (!value)
    return;
  fprintf(out, "%s%s %" PRIu64, *separator, name, value);
  *separator = ", ";
}

static void print_rule(FILE *out, const struct record_read_rule *r)
{
  char name[RECORD_RULE_NAME];
  const char *separator = ": ";
  struct text t = TEXT_INIT(name);
  text_name(&t, r->name[0] ? r->name : "?", sizeof r->name);
  fprintf(out, "  rule         %s", text_end(&t));
#define RULE_COUNTER(name, help) print_counter(out, #name, r->name, &separator);
#include "record/rule_counters.def"
#undef RULE_COUNTER
  putc('\n', out);
}

static void print_rules(FILE *out, const struct process *p)
{
  for (size_t i = 0; i < p->rule_count; i++)
    print_rule(out, &p->rules[i]);
  if (p->row.rules_merged)
    fprintf(out, "  rule         others: matched %" PRIu64 " (the table is full)\n",
            p->row.rules_merged);
}

/* Nanoseconds as people say them. */
static void print_duration(FILE *out, const char *label, uint64_t ns)
{
  if (ns < 10000)
    fprintf(out, "%s %.1f us", label, (double)ns / 1e3);
  else if (ns < 10000000)
    fprintf(out, "%s %.0f us", label, (double)ns / 1e3);
  else if (ns < UINT64_C(10000000000))
    fprintf(out, "%s %.0f ms", label, (double)ns / 1e6);
  else
    fprintf(out, "%s %.0f s", label, (double)ns / 1e9);
}

static void print_durations(FILE *out, const struct record_process *row)
{
  fputs("  duration     ", out);
  print_duration(out, "p50", record_quantile(row, 0.5));
  print_duration(out, ", p90", record_quantile(row, 0.9));
  print_duration(out, ", p99", record_quantile(row, 0.99));
  print_duration(out, ", max", row->duration_max);
  putc('\n', out);
}

static void print_destination(FILE *out, const struct record_read_destination *d,
                              const struct text_style *style)
{
  char text[96];
  struct text t = TEXT_INIT(text);
  const char *transport = transport_name(d->transport);
  bool ipv4 = address_is_ipv4(d->address);
  print_address(&t, d->address, d->scope, style);
  fprintf(out, ipv4 ? "  to           %s:%u" : "  to           [%s]:%u", text_end(&t), d->port);
  fprintf(out, " %s: connects %" PRIu64 ", failed %" PRIu64 ", local ports about %" PRIu64 "\n",
          transport ? transport : "?", d->connects, d->failed, d->distinct_ports);
}

static void print_destinations(FILE *out, const struct process *p)
{
  size_t n = p->destination_count;
  struct text_style style = print_style(p->row.net_namespace);
  for (size_t i = 0; i < n && i < DESTINATIONS_SHOWN; i++)
    print_destination(out, &p->destinations[i], &style);
  if (n > DESTINATIONS_SHOWN)
    fprintf(out, "  to           %zu more destinations\n", n - DESTINATIONS_SHOWN);
  if (p->row.destinations_merged)
    fprintf(out, "  to           others: connects %" PRIu64 " (the table is full)\n",
            p->row.destinations_merged);
}

static void print_events(FILE *out, const struct process *p)
{
  const struct record_process *row = &p->row;
  if (!row->events_overwritten && !row->events_lost && !p->torn.torn)
    return;
  fprintf(out,
          "  events       %" PRIu64 " written, %" PRIu64 " overwritten, %" PRIu64 " lost, %" PRIu64
          " torn",
          row->events_written, row->events_overwritten, row->events_lost, p->torn.torn);
  if (p->torn.unsound)
    fprintf(out, " (%" PRIu64 " with values that no event has: damaged)", p->torn.unsound);
  putc('\n', out);
}

static void print_process(FILE *out, const struct process *p)
{
  char name[300];
  struct text t = TEXT_INIT(name);
  text_name(&t, p->row.name, sizeof p->row.name);
  fprintf(out, "%s %u %s\n", text_end(&t), p->row.pid, p->state);
  print_calls(out, &p->row);
  print_errors(out, &p->row);
  print_ports(out, &p->row);
  print_forbidden(out, &p->row);
  print_rules(out, p);
  print_durations(out, &p->row);
  print_destinations(out, p);
  print_events(out, p);
}

bool print_summary(FILE *out, struct record_reader *reader, bool json)
{
  struct process_table table;
  if (!process_table_read(&table, reader))
    return false;
  for (size_t i = 0; i < table.count; i++) {
    if (json)
      json_print(out, json_process(&table.processes[i]));
    else
      print_process(out, &table.processes[i]);
  }
  process_table_free(&table);
  return true;
}
