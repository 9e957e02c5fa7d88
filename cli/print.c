// SPDX-License-Identifier: MIT
#include "cli/print.h"

#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/json.h"
#include "cli/namespace.h"
#include "record/clock.h"
#include "record/text.h"

/* An interface's name, where the number means one here: in the same network namespace. */
static void name_scope(uint32_t scope, char name[TEXT_SCOPE_SIZE])
{
  char interface[IF_NAMESIZE];
  if (if_indextoname(scope, interface))
    snprintf(name, TEXT_SCOPE_SIZE, "%s", interface);
  else
    snprintf(name, TEXT_SCOPE_SIZE, "%u", scope);
}

static long utc_offset(uint64_t nanoseconds)
{
  time_t seconds = (time_t)(nanoseconds / 1000000000);
  struct tm local;
  return localtime_r(&seconds, &local) ? local.tm_gmtoff : 0;
}

/* A time of day alone is one of the last 24 hours. */
static bool needs_date(uint64_t nanoseconds)
{
  uint64_t now = clock_ns(CLOCK_REALTIME);
  return nanoseconds > now || now - nanoseconds >= UINT64_C(86400) * 1000000000;
}

static void print_text(FILE *out, const struct record_event *e, const struct event_origin *origin,
                       const struct text_style *style, const char *reason)
{
  char line[TEXT_EVENT_MAX];
  struct text t = TEXT_INIT(line);
  text_event(&t, e, origin->process->name, origin->rule, style);
  size_t size = (size_t)(t.at - t.start) - 1; /* without its newline */
  fprintf(out, "%.*s%s%s\n", (int)size, line, reason[0] ? ": " : "", reason);
}

static void print_json(FILE *out, const struct record_event *e, const struct event_origin *origin,
                       const struct text_style *style, const char *reason)
{
  json_t *o = json_event(e, origin, style);
  if (reason[0])
    json_object_set_new(o, "berth.why", json_text(reason));
  json_print(out, o);
}

struct text_style print_style(uint64_t net_namespace)
{
  static uint64_t net;
  struct text_style style = {0};
  if (!net)
    net = own_namespace("net");
  if (net && net_namespace == net)
    style.scope_name = name_scope;
  return style;
}

void print_address(struct text *t, const uint8_t address[16], uint32_t scope,
                   const struct text_style *style)
{
  char name[TEXT_SCOPE_SIZE] = "";
  if (scope && style->scope_name)
    style->scope_name(scope, name);
  else if (scope)
    snprintf(name, sizeof name, "%u", scope);
  text_address(t, address, name);
}

void print_event(const struct record_event *e, const struct event_origin *origin, void *context)
{
  const struct printer *p = context;
  if (!event_matches(&p->match, e))
    return;
  struct text_style style = print_style(origin->process->net_namespace);
  style.utc_offset = p->json ? 0 : utc_offset(e->time);
  style.dated = needs_date(e->time);
  const char *reason = p->reason ? p->reason(e, origin) : "";
  if (p->json)
    print_json(p->out, e, origin, &style, reason);
  else
    print_text(p->out, e, origin, &style, reason);
}
