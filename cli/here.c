// SPDX-License-Identifier: MIT
#include "cli/here.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel/sysctl.h"
#include "policy/machine.h"

#define MOST_RESERVED 32768
#define OPTION_LOCAL_PORT_RANGE 51 /* IP_LOCAL_PORT_RANGE, newer than some headers */

static void read_machine(struct policy_machine *m)
{
  static struct policy_ports reserved[MOST_RESERVED];
  struct machine_list list = {.ports = reserved, .most = MOST_RESERVED};
  size_t size;
  char *text = sysctl_read("ipv4/ip_local_port_range", &size);
  if (text)
    machine_parse_range(text, size, m);
  free(text);
  text = sysctl_read("ipv4/ip_local_reserved_ports", &size);
  if (text) {
    machine_parse_list(&list, text, size);
    machine_end_list(&list);
  }
  free(text);
  m->reserved = reserved;
  m->reserved_count = list.count;
}

const struct policy_machine *machine_here(void)
{
  static struct policy_machine machine = {.low = MACHINE_LOW, .high = MACHINE_HIGH};
  if (!machine.reserved)
    read_machine(&machine);
  return &machine;
}

static bool ask_for_range(void)
{
  uint32_t value;
  socklen_t size = sizeof value;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool works = fd >= 0 && getsockopt(fd, IPPROTO_IP, OPTION_LOCAL_PORT_RANGE, &value, &size) == 0;
  if (fd >= 0)
    close(fd);
  return works;
}

bool range_works_here(void)
{
  static int works = -1;
  if (works < 0)
    works = ask_for_range();
  return works;
}

/* Bases are allocated for the life of the command, as the machine is: a set and its count by range
 * may want one each. */
static struct port_base *base_here(const struct policy_rule *rule)
{
  static struct port_bases bases;
  if (!bases.slots) {
    bases = port_bases_begin(calloc(1, port_bases_size(2 * POLICY_MAX_RULES)),
                             2 * POLICY_MAX_RULES);
    if (!bases.slots)
      abort();
  }
  struct port_base *base = port_bases_find(&bases, rule);
  if (!base->runs) {
    struct port_run *runs = calloc(port_base_most_runs(base, machine_here()), sizeof *runs);
    if (!runs)
      abort();
    port_base_make(base, machine_here(), runs);
  }
  return base;
}

struct port_set set_here(const policy_image *p, const struct policy_rule *rule)
{
  struct port_run *cuts = calloc(port_set_most_cuts(rule), sizeof *cuts);
  if (!cuts)
    abort();
  return port_set_make(p, rule, base_here(rule), cuts);
}

void set_free(struct port_set *set)
{
  free((void *)(uintptr_t)set->cuts);
}

uint32_t count_by_range(const policy_image *p, const struct policy_rule *rule)
{
  struct policy_rule given = *rule;
  if (rule->via == POLICY_BIND || !range_works_here())
    return 0;
  given.via = POLICY_RANGE; /* what the machine gives of the rule's ports */
  struct port_set set = set_here(p, &given);
  set_free(&set);
  return set.size;
}

uint32_t unprivileged_start(void)
{
  static uint32_t start = UINT32_MAX;
  size_t size;
  if (start == UINT32_MAX) {
    char *text = sysctl_read("ipv4/ip_unprivileged_port_start", &size);
    start = text ? (uint32_t)strtoul(text, NULL, 10) : 1024;
    free(text);
  }
  return start;
}

uint32_t count_privileged(const policy_image *p, const struct policy_rule *rule)
{
  struct port_set set = {0};
  uint32_t count = 0, index, start = unprivileged_start();
  for (uint32_t i = 0; i < rule->ports.count; i++) {
    const struct policy_ports *ports = policy_ports(p) + rule->ports.first + i;
    if (ports->low < start && !set.cuts)
      set = set_here(p, rule);
    for (uint32_t port = ports->low; port < start && port <= ports->high; port++)
      count += port_set_index(&set, (uint16_t)port, &index);
  }
  set_free(&set);
  return count;
}
