// SPDX-License-Identifier: MIT
#include "cli/print.h"

#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/json.h"
#include "cli/namespace.h"
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

static void print_text(FILE *out, const struct record_event *e, const struct event_origin *origin,
                       const struct text_style *style)
{
  char line[TEXT_EVENT_MAX];
  struct text t = TEXT_INIT(line);
  text_event(&t, e, origin->process->name, origin->rule, style);
  fwrite(line, 1, (size_t)(t.at - t.start), out);
}

void print_event(const struct record_event *e, const struct event_origin *origin, void *context)
{
  static uint64_t net;
  const struct printer *p = context;
  struct text_style style = {0};
  if (!event_matches(&p->match, e))
    return;
  if (!net)
    net = own_namespace("net");
  if (net && origin->process->net_namespace == net)
    style.scope_name = name_scope;
  style.utc_offset = p->json ? 0 : utc_offset(e->time);
  if (p->json)
    json_print(p->out, json_event(e, origin, &style));
  else
    print_text(p->out, e, origin, &style);
}
