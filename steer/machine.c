// SPDX-License-Identifier: MIT
#include "steer/machine.h"

#include "policy/machine.h"
#include "record/sys.h"

static int open_sysctl(const char *path)
{
  return sys_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

bool machine_read_range(struct policy_machine *m)
{
  char text[64];
  int fd = open_sysctl("/proc/sys/net/ipv4/ip_local_port_range");
  if (fd < 0)
    return false;
  long n = sys_read(fd, text, sizeof text);
  sys_close(fd);
  return n > 0 && machine_parse_range(text, (size_t)n, m);
}

/* The kernel gives the list to the first read alone (proc_do_large_bitmap in kernel/sysctl.c), so
 * that one must have room for all of it. */
static void read_reserved(struct policy_machine *m, struct policy_ports *reserved)
{
  const size_t size = MACHINE_MOST_RESERVED * sizeof "65535,65535,";
  struct machine_list list = {.ports = reserved, .most = MACHINE_MOST_RESERVED};
  int fd = open_sysctl("/proc/sys/net/ipv4/ip_local_reserved_ports");
  char *text = sys_map(size, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  if (fd >= 0 && text != MAP_FAILED) {
    long n = sys_read(fd, text, size);
    machine_parse_list(&list, text, n > 0 ? (size_t)n : 0);
    machine_end_list(&list);
    m->reserved_count = list.count;
  }
  if (text != MAP_FAILED)
    sys_unmap(text, size);
  if (fd >= 0)
    sys_close(fd);
}

bool machine_read(struct policy_machine *m, struct policy_ports *reserved)
{
  m->low = MACHINE_LOW;
  m->high = MACHINE_HIGH;
  m->reserved = reserved;
  m->reserved_count = 0;
  read_reserved(m, reserved);
  return machine_read_range(m);
}

static uint32_t read_number(const char *path, uint32_t otherwise)
{
  char text[16];
  uint32_t number = 0;
  int fd = open_sysctl(path);
  long n = fd >= 0 ? sys_read(fd, text, sizeof text) : -1;
  if (fd >= 0)
    sys_close(fd);
  for (long i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
    number = number * 10 + (uint32_t)(text[i] - '0');
  return n > 0 ? number : otherwise;
}

uint32_t machine_unprivileged(void)
{
  return read_number("/proc/sys/net/ipv4/ip_unprivileged_port_start", 1024);
}

bool machine_autobind_reuse(void)
{
  return read_number("/proc/sys/net/ipv4/ip_autobind_reuse", 0) != 0;
}
