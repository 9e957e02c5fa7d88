// SPDX-License-Identifier: MIT
#include "steer/subflow.h"

#include "steer/range.h"

/* The consecutive ports that number is among, within the machine's range. Where ports ascend, those
 * between two of them are consecutive if the two lie as far apart as their numbers. */
static bool stretch(const struct port_set *set, uint32_t index, struct policy_ports *ports)
{
  uint16_t port = port_set_port(set, index);
  uint32_t first = 0, last = index;
  while (first < last) {
    uint32_t middle = first + (last - first) / 2;
    if (port - port_set_port(set, middle) == (int)(index - middle))
      last = middle;
    else
      first = middle + 1;
  }
  ports->low = (uint16_t)(port - (index - first));
  ports->high = (uint16_t)(port + (port_set_contiguous(set, index) - 1 - index));
  return range_clip(ports);
}

/* How many ports of the set lie below this one. */
static uint32_t ports_below(const struct port_set *set, uint32_t port)
{
  uint32_t low = 0, high = set->size;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (port_set_port(set, middle) < port)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool subflow_ports(const struct port_set *set, uint16_t port, struct policy_ports *ports)
{
  struct policy_ports machine = {1, 65535};
  uint32_t index;
  if (port_set_index(set, port, &index) && stretch(set, index, ports))
    return true;
  if (!range_clip(&machine))
    return false;
  uint32_t first = ports_below(set, machine.low);
  uint32_t count = ports_below(set, machine.high + 1u) - first;
  return count && stretch(set, first + port % count, ports);
}
