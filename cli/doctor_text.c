// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <string.h>

#include "cli/doctor.h"

#define MOST_DESTINATIONS 10
#define MOST_OF_A_KIND 5 /* findings */

/* The kernel looks at a port in about 28 ns (Linux 6.18). */
#define LOOK_NS 28

/* 28232 as "28,232". */
static const char *grouped(char text[32], uint32_t number)
{
  char digits[16];
  int size = snprintf(digits, sizeof digits, "%u", number), at = 0;
  for (int i = 0; i < size; i++) {
    if (i && (size - i) % 3 == 0)
      text[at++] = ',';
    text[at++] = digits[i];
  }
  text[at] = '\0';
  return text;
}

static void print_kinds(const struct destination *d)
{
  static const char *const kinds[DIAG_PORTS] = {
      [DIAG_PORT_EXPLICIT] = "named in bind()",
      [DIAG_PORT_LATE] = "chosen at connect() after IP_BIND_ADDRESS_NO_PORT",
      [DIAG_PORT_AUTOMATIC] = "chosen at connect() or by bind() to port 0",
      [DIAG_PORT_UNKNOWN] = "unknown (closed, in TIME_WAIT or FIN_WAIT_2)"};
  const char *between = "  ports ";
  char number[32];
  for (int i = 0; i < DIAG_PORTS; i++)
    if (d->by_port[i]) {
      printf("%s%s: %s", between, kinds[i], grouped(number, d->by_port[i]));
      between = "; ";
    }
  puts("");
}

static void print_states(const struct destination *d)
{
  const char *between = "  ";
  char number[32];
  for (unsigned state = 1; state < DIAG_STATES; state++)
    if (d->by_state[state]) {
      printf("%s%s %s", between, grouped(number, d->by_state[state]), diag_state_name(state));
      between = ", ";
    }
  puts("");
}

static void print_destination(const struct destination *d, const struct doctor_view *v)
{
  char peer[DESTINATION_TEXT], local[DESTINATION_TEXT], used[32], size[32], number[32];
  destination_peer(d, peer);
  destination_local(d, local);
  printf("%s from %s: %s of %s ports (%.0f %%)", peer, local, grouped(used, d->used),
         grouped(size, doctor_range_size(v)), destination_percent(d, v));
  if (d->by_state[DIAG_TIME_WAIT])
    printf(", %s in TIME_WAIT", grouped(number, d->by_state[DIAG_TIME_WAIT]));
  if (d->back_low + d->back_other)
    printf(", of which tcp_tw_reuse may give back %s",
           grouped(number, d->back_low + d->back_other));
  if (d->soon)
    printf("; %s of these return within %d s", grouped(number, d->soon), SOON_SECONDS);
  puts("");
  print_states(d);
  print_kinds(d);
  uint32_t scan = destination_scan(d, v);
  printf(
      "  free: at most %u of the parity of %u, %u of the other; the next connect() looks at about %s "
      "(%.1f us)\n",
      d->free_low, v->ports->low, d->free_other, grouped(number, scan), scan * LOOK_NS / 1000.0);
  if (d->by_state[DIAG_TIME_WAIT] || d->rate >= 0)
    printf("  at most %.*f new connections/s can last (%s ports / %d s)%s",
           destination_lasting_rate(v) < 10 ? 1 : 0, destination_lasting_rate(v),
           grouped(number, doctor_range_size(v) - doctor_lost(v)), TIME_WAIT_SECONDS,
           destination_reuses(d, v) ? ", and more where tcp_tw_reuse gives them back" : "");
  if (d->rate >= 0)
    printf("; now at least %.0f/s", d->rate);
  if (d->by_state[DIAG_TIME_WAIT] || d->rate >= 0)
    puts("");
}

static void print_finding(const struct finding *f)
{
  static const char *const words[] = {
      [NOTE] = "note", [WARNING] = "warning", [FAILURE] = "failure"};
  printf("\n%s (%s): %s\n  why: %s\n  do:  %s\n", words[f->severity], f->code, f->figure, f->cause,
         f->remedy);
  if (f->policy)
    printf("       %s\n", f->policy);
  printf("  see: %s\n", f->source);
}

/* The worst of each kind: each of thousands of destinations may have the same finding. */
static void print_findings(const struct findings *f)
{
  struct {
    const char *code;
    uint32_t count;
  } kinds[32] = {{0}};
  uint32_t left_out = 0;
  for (uint32_t i = 0; i < f->count; i++) {
    int kind = 0;
    while (kind < 31 && kinds[kind].code && strcmp(kinds[kind].code, f->list[i].code) != 0)
      kind++;
    kinds[kind].code = f->list[i].code;
    if (kinds[kind].count++ < MOST_OF_A_KIND)
      print_finding(&f->list[i]);
    else
      left_out++;
  }
  if (left_out)
    printf("\nand %u more of the same kinds, which --json tells\n", left_out);
}

static void print_unseen(const struct diagnosis *d)
{
  const struct unseen *list[DOCTOR_UNSEEN];
  size_t count = doctor_unseen(d, list);
  puts("");
  for (size_t i = 0; i < count; i++)
    printf("not to be seen: %s\n", list[i]->text);
}

static void print_machine(const struct diagnosis *d)
{
  const struct doctor_view *v = &d->view;
  char number[32];
  if (d->loaded)
    printf("process %lu: %s\n", d->pid, d->loaded);
  printf("range %u-%u: %s ports", v->ports->low, v->ports->high,
         grouped(number, doctor_range_size(v)));
  if (doctor_lost(v))
    printf(", %s%s lost to every connect()", doctor_sees_bound(d) ? "" : "at least ",
           grouped(number, doctor_lost(v)));
  if (d->features.known)
    printf("; IP_LOCAL_PORT_RANGE: %s", !d->features.local_port_range      ? "no"
                                        : d->features.range_without_parity ? "yes, without parities"
                                                                           : "yes, with parities");
  puts("");
}

void doctor_as_text(const struct diagnosis *d)
{
  uint32_t count = d->destinations.count;
  for (uint32_t i = 0; i < count && i < MOST_DESTINATIONS; i++)
    print_destination(&d->destinations.list[i], &d->view);
  if (count > MOST_DESTINATIONS)
    printf("and %u destinations with fewer ports\n", count - MOST_DESTINATIONS);
  if (!count)
    puts("no connection from a port of the range");
  print_machine(d);
  print_findings(&d->findings);
  if (!d->findings.count)
    puts(doctor_sees_bound(d) ? "\nnothing wrong was found"
                              : "\nnothing wrong was found in what is to be seen");
  print_unseen(d);
}
