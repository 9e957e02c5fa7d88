// SPDX-License-Identifier: MIT
#include "policy/machine.h"

/* A port, and what follows it; 0 where there is none. */
static uint32_t number(const char **at, const char *end)
{
  uint32_t n = 0;
  while (*at < end && (**at == ' ' || **at == '\t'))
    ++*at;
  while (*at < end && **at >= '0' && **at <= '9' && n <= 65535)
    n = n * 10 + (uint32_t)(*(*at)++ - '0');
  return n <= 65535 ? n : 0;
}

bool machine_parse_range(const char *text, size_t size, struct policy_machine *m)
{
  const char *at = text, *end = text + size;
  uint32_t low = number(&at, end), high = number(&at, end);
  if (!low || high < low)
    return false;
  m->low = (uint16_t)low;
  m->high = (uint16_t)high;
  return true;
}

static void end_item(struct machine_list *list)
{
  uint32_t low = list->dash ? list->low : list->number;
  if (list->digits && low && low <= list->number && list->number <= 65535 &&
      list->count < list->most) {
    struct policy_ports item = {(uint16_t)low, (uint16_t)list->number};
    list->ports[list->count++] = item;
  }
  list->number = list->low = 0;
  list->digits = list->dash = false;
}

static void take(struct machine_list *list, char c)
{
  if (c >= '0' && c <= '9') {
    list->digits = true;
    if (list->number <= 65535)
      list->number = list->number * 10 + (uint32_t)(c - '0');
  } else if (c == '-') {
    list->low = list->number;
    list->number = 0;
    list->dash = true;
  } else {
    end_item(list);
  }
}

void machine_parse_list(struct machine_list *list, const char *text, size_t size)
{
  for (size_t i = 0; i < size; i++)
    take(list, text[i]);
}

void machine_end_list(struct machine_list *list)
{
  end_item(list);
}
