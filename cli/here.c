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

bool range_works_here(void)
{
  uint32_t value;
  socklen_t size = sizeof value;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool works = fd >= 0 && getsockopt(fd, IPPROTO_IP, OPTION_LOCAL_PORT_RANGE, &value, &size) == 0;
  if (fd >= 0)
    close(fd);
  return works;
}

struct port_set set_here(const policy_image *p, const struct policy_rule *rule)
{
  const struct policy_machine *m = machine_here();
  struct port_run *runs = calloc(port_set_most_runs(rule, m), sizeof *runs);
  if (!runs)
    abort();
  return port_set_make(p, rule, m, runs);
}

uint32_t count_by_range(const struct policy_rule *rule, const struct port_set *set)
{
  uint32_t n = 0;
  if (rule->via == POLICY_BIND || !range_works_here())
    return 0;
  for (uint32_t i = 0; i < set->size; i++)
    n += policy_machine_gives(machine_here(), port_set_port(set, i));
  return n;
}
