// SPDX-License-Identifier: MIT
#include "cli/json.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/print.h"
#include "record/text.h"

json_t *json_text(const char *bytes)
{
  json_t *string = json_string(bytes);
  if (string)
    return string;
  char *ascii = strdup(bytes);
  for (char *c = ascii; c && *c; c++)
    if ((unsigned char)*c >= 0x80)
      *c = '?';
  string = json_string(ascii ? ascii : "?");
  free(ascii);
  return string;
}

static json_t *integer(uint64_t value)
{
  return json_integer((json_int_t)value);
}

/* RFC 3339, UTC, nanoseconds. */
static json_t *timestamp(uint64_t nanoseconds)
{
  char text[64];
  time_t seconds = (time_t)(nanoseconds / 1000000000);
  struct tm utc;
  if (!gmtime_r(&seconds, &utc))
    return json_null();
  size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
  snprintf(text + n, sizeof text - n, ".%09uZ", (unsigned)(nanoseconds % 1000000000));
  return json_string(text);
}

static json_t *address_of(const uint8_t address[16], uint32_t scope, const struct text_style *style)
{
  char text[96];
  struct text t = TEXT_INIT(text);
  print_address(&t, address, scope, style);
  return json_text(text_end(&t));
}

static json_t *transport_of(unsigned protocol)
{
  const char *name = transport_name(protocol);
  return name ? json_string(name) : json_sprintf("%u", protocol);
}

static json_t *error_of(unsigned error)
{
  const char *name = errno_name(error);
  return name ? json_string(name) : json_sprintf("E%u", error);
}

static void set(json_t *object, const char *key, json_t *value)
{
  json_object_set_new_nocheck(object, key, value);
}

static void set_peer(json_t *o, const struct record_event *e, const struct text_style *style)
{
  bool bind = e->call == RECORD_BIND;
  if (e->call == RECORD_LISTEN)
    return;
  set(o, bind ? "berth.asked.address" : "network.peer.address",
      address_of(e->peer, e->peer_scope, style));
  set(o, bind ? "berth.asked.port" : "network.peer.port", integer(e->peer_port));
}

static void set_rule(json_t *o, const struct record_event *e, const char *rule)
{
  if (rule[0])
    set(o, "berth.rule", json_text(rule));
  if (e->tries) {
    set(o, "berth.via", json_string(via_word(e->via)));
    set(o, "berth.tries", integer(e->tries));
  }
  if (e->refused_low)
    set(o, "berth.refused",
        json_sprintf(e->refused_high > e->refused_low ? "%u-%u" : "%u", e->refused_low,
                     e->refused_high));
  if (e->forbidden)
    set(o, "berth.forbidden", json_true());
  if (e->unsteered)
    set(o, "berth.unsteered", json_string(unsteered_word(e->unsteered)));
}

json_t *json_event(const struct record_event *e, const struct event_origin *origin,
                   const struct text_style *style)
{
  json_t *o = json_object();
  bool ipv4 = address_is_ipv4(e->call == RECORD_LISTEN ? e->local : e->peer);
  set(o, "timestamp", timestamp(e->time));
  set(o, "process.pid", integer(e->pid));
  set(o, "berth.tid", integer(e->tid));
  set(o, "process.executable.name", json_text(origin->process->name));
  set(o, "berth.call", json_string(call_word(e->call)));
  set(o, "berth.result", json_string(result_word(e->result)));
  if (e->result == RECORD_FAILED)
    set(o, "error.type", error_of(e->error));
  set(o, "berth.fd", integer(e->fd));
  set(o, "network.transport", transport_of(e->transport));
  set(o, "network.type", json_string(ipv4 ? "ipv4" : "ipv6"));
  set(o, "network.local.address", address_of(e->local, e->local_scope, style));
  set(o, "network.local.port", integer(e->local_port));
  set_peer(o, e, style);
  set(o, "berth.chosen_by", json_string(chooser_word(e->chosen_by)));
  set_rule(o, e, origin->rule);
  set(o, "berth.duration_ns", integer(e->duration));
  return o;
}

/* --- statistics -------------------------------------------------------------------------- */

static json_t *group(json_t *o, const char *name)
{
  json_t *g = json_object_get(o, name);
  if (!g) {
    g = json_object();
    set(o, name, g);
  }
  return g;
}

static json_t *errors(const struct record_process *row)
{
  json_t *o = json_object();
  for (unsigned i = 0; i < RECORD_ERRNOS; i++) {
    const char *name = errno_name(i);
    if (row->errors[i])
      set(o, name ? name : "unknown", integer(row->errors[i]));
  }
  return o;
}

static json_t *ports(const struct record_process *row)
{
  struct port_summary s = summarise_ports(row);
  json_t *o = json_object();
  set(o, "distinct", integer(s.distinct));
  set(o, "lowest", integer(s.lowest));
  set(o, "highest", integer(s.highest));
  set(o, "even", integer(s.even));
  set(o, "odd", integer(s.distinct - s.even));
  return o;
}

static json_t *durations(const struct record_process *row)
{
  json_t *o = json_object();
  set(o, "p50", integer(record_quantile(row, 0.5)));
  set(o, "p90", integer(record_quantile(row, 0.9)));
  set(o, "p99", integer(record_quantile(row, 0.99)));
  set(o, "max", integer(row->duration_max));
  return o;
}

static json_t *rules(const struct process *p)
{
  json_t *all = json_array();
  for (size_t i = 0; i < p->rule_count; i++) {
    const struct record_read_rule *r = &p->rules[i];
    json_t *o = json_object();
    set(o, "name", json_text(r->name));
#define RULE_COUNTER(name, help) set(o, #name, integer(r->name));
#include "record/rule_counters.def"
#undef RULE_COUNTER
    json_array_append_new(all, o);
  }
  return all;
}

static json_t *destinations(const struct process *p)
{
  json_t *all = json_array();
  struct text_style style = print_style(p->row.net_namespace);
  for (size_t i = 0; i < p->destination_count; i++) {
    const struct record_read_destination *d = &p->destinations[i];
    json_t *o = json_object();
    set(o, "address", address_of(d->address, d->scope, &style));
    set(o, "port", integer(d->port));
    set(o, "transport", transport_of(d->transport));
    set(o, "connects", integer(d->connects));
    set(o, "failed", integer(d->failed));
    set(o, "distinct_ports_estimate", integer(d->distinct_ports));
    json_array_append_new(all, o);
  }
  return all;
}

static void set_identity(json_t *o, const struct process *p)
{
  const struct record_process *row = &p->row;
  set(o, "process.pid", integer(row->pid));
  set(o, "process.parent_pid", integer(row->parent_pid));
  set(o, "process.executable.name", json_text(row->name));
  set(o, "process.creation.time", row->created ? timestamp(row->created) : json_null());
  set(o, "berth.state", json_string(p->state));
  set(o, "process.user.id", integer(row->uid));
  set(o, "berth.net_namespace", integer(row->net_namespace));
  set(o, "berth.pid_namespace", integer(row->pid_namespace));
  set(o, "berth.mnt_namespace", integer(row->mnt_namespace));
  set(o, "berth.version", json_text(row->version));
}

json_t *json_process(const struct process *p)
{
  const struct record_process *row = &p->row;
  json_t *o = json_object();
  set(o, "version", integer(1));
  set_identity(o, p);
#define COUNTER(name, field, help) set(group(o, #name), #field, integer(row->name##_##field));
#define LATER_COUNTER COUNTER
#include "record/counters.def"
#undef COUNTER
#undef LATER_COUNTER
  set(group(o, "events"), "torn", integer(p->torn.torn));
  if (p->torn.unsound)
    set(group(o, "events"), "unsound", integer(p->torn.unsound));
  set(o, "errors", errors(row));
  set(o, "rules", rules(p));
  set(o, "rules_merged", integer(row->rules_merged));
  set(o, "ports", ports(row));
  set(o, "duration_ns", durations(row));
  set(o, "destinations", destinations(p));
  set(o, "destinations_merged", integer(row->destinations_merged));
  return o;
}

/* DEL is the one control character that JSON lets stand as it is (RFC 8259 section 7), in strings
 * alone. */
static int put(const char *bytes, size_t size, void *out)
{
  const char *end = bytes + size, *del;
  for (; (del = memchr(bytes, 0x7f, (size_t)(end - bytes))); bytes = del + 1) {
    fwrite(bytes, 1, (size_t)(del - bytes), out);
    fputs("\\u007f", out);
  }
  fwrite(bytes, 1, (size_t)(end - bytes), out);
  return 0;
}

/* In ASCII: names are anybody's, and what goes to a terminal as it is could be a C1 control or turn
 * the direction of writing. */
void json_print(FILE *out, json_t *object)
{
  json_dump_callback(object, put, out, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6));
  putc('\n', out);
  json_decref(object);
}
