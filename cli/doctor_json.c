// SPDX-License-Identifier: MIT
#include "cli/doctor.h"
#include "cli/json.h"

static json_t *states(const struct destination *d)
{
  json_t *o = json_object();
  for (unsigned state = 1; state < DIAG_STATES; state++) {
    const char *name = diag_state_name(state);
    json_int_t before = json_integer_value(json_object_get(o, name));
    if (d->by_state[state])
      json_object_set_new(o, name, json_integer(before + d->by_state[state]));
  }
  return o;
}

static json_t *destination(const struct destination *d, const struct doctor_view *v)
{
  char peer[DESTINATION_TEXT], local[DESTINATION_TEXT];
  destination_peer(d, peer);
  destination_local(d, local);
  json_t *o = json_pack(
      "{s:s, s:s, s:i, s:i, s:i, s:i, s:f, s:o, s:{s:i, s:i, s:i, s:i}, s:i, s:i, s:i, s:i, s:f}",
      "to", peer, "from", local, "sockets", d->sockets, "used", d->used, "free.low_parity",
      d->free_low, "free.other_parity", d->free_other, "percent", destination_percent(d, v),
      "network.connection.state", states(d), "chosen", "explicit", d->by_port[DIAG_PORT_EXPLICIT],
      "late", d->by_port[DIAG_PORT_LATE], "automatic", d->by_port[DIAG_PORT_AUTOMATIC], "unknown",
      d->by_port[DIAG_PORT_UNKNOWN], "time_wait.within_10s", d->soon, "time_wait.reusable_at_most",
      d->reusable, "time_wait.given_back_at_most", d->back_low + d->back_other, "next_scan",
      destination_scan(d, v), "lasting_rate", destination_lasting_rate(v));
  if (d->rate >= 0)
    json_object_set_new(o, "rate_at_least", json_real(d->rate));
  return o;
}

static json_t *finding(const struct finding *f)
{
  static const char *const words[] = {
      [NOTE] = "note", [WARNING] = "warning", [FAILURE] = "failure"};
  json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "severity", words[f->severity], "code",
                        f->code, "figure", f->figure, "cause", f->cause, "remedy", f->remedy,
                        "source", f->source);
  if (f->policy)
    json_object_set_new(o, "policy", json_loads(f->policy, 0, NULL));
  return o;
}

static json_t *feature(const struct diagnosis *d, bool has)
{
  return d->features.known ? json_boolean(has) : json_null();
}

static json_t *unseen(const struct diagnosis *d)
{
  const struct unseen *list[DOCTOR_UNSEEN];
  size_t count = doctor_unseen(d, list);
  json_t *words = json_array();
  for (size_t i = 0; i < count; i++)
    json_array_append_new(words, json_string(list[i]->word));
  return words;
}

void doctor_as_json(const struct diagnosis *d)
{
  const struct doctor_view *v = &d->view;
  json_t *destinations = json_array(), *findings = json_array();
  for (uint32_t i = 0; i < d->destinations.count; i++)
    json_array_append_new(destinations, destination(&d->destinations.list[i], v));
  for (uint32_t i = 0; i < d->findings.count; i++)
    json_array_append_new(findings, finding(&d->findings.list[i]));
  json_t *o = json_pack(
      "{s:i, s:{s:i, s:i, s:i}, s:{s:i, s:i, s:i, s:i}, s:o, s:o, s:{s:o, s:o, s:o}, s:o}",
      "version", 1, "range", "low", v->ports->low, "high", v->ports->high, "ports",
      doctor_range_size(v), "lost", "reserved", v->held[HOLD_RESERVED], "listener",
      v->held[HOLD_LISTENER], "bound", v->held[HOLD_BOUND], "explicit", v->held[HOLD_EXPLICIT],
      "destinations", destinations, "findings", findings, "kernel", "local_port_range",
      feature(d, d->features.local_port_range), "range_without_parity",
      feature(d, d->features.range_without_parity), "bound_sockets_listed",
      d->features.bound_sockets_listed < 0 ? json_null() : json_boolean(doctor_sees_bound(d)),
      "unseen", unseen(d));
  if (d->loaded)
    json_object_set_new(o, "process", json_pack("{s:i, s:s}", "pid", d->pid, "library", d->loaded));
  json_print(stdout, o);
}
