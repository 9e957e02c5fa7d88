// SPDX-License-Identifier: MIT
#include "doctor/settings.h"

#include <stdio.h>
#include <stdlib.h>

#include "kernel/sysctl.h"

static int64_t number(const char *name)
{
  size_t size;
  char *text = sysctl_read(name, &size), *end;
  int64_t value = text ? strtoll(text, &end, 10) : SETTING_UNKNOWN;
  if (text && end == text)
    value = SETTING_UNKNOWN;
  free(text);
  return value;
}

static bool has_ipv6_address(void)
{
  FILE *addresses = fopen("/proc/net/if_inet6", "re");
  bool has = addresses && getc(addresses) != EOF;
  if (addresses)
    fclose(addresses);
  return has;
}

/* disable_ipv6 counts by interface, and what is set for `all` is only where each began: so it is off
 * where no interface has an address either. */
static int64_t ipv6_is_off(void)
{
  int64_t all = number("ipv6/conf/all/disable_ipv6"), lo = number("ipv6/conf/lo/disable_ipv6");
  if (all == SETTING_UNKNOWN)
    return 1;
  return (all == 1 || lo == 1) && !has_ipv6_address();
}

struct doctor_settings doctor_settings_read(void)
{
  bool seen = number("ipv4/ip_local_port_range") != SETTING_UNKNOWN;
  return (struct doctor_settings){
      .seen = seen,
      .unprivileged_start = number("ipv4/ip_unprivileged_port_start"),
      .tw_reuse = number("ipv4/tcp_tw_reuse"),
      .tw_reuse_delay = number("ipv4/tcp_tw_reuse_delay"),
      .timestamps = number("ipv4/tcp_timestamps"),
      .ipv6_off = seen ? ipv6_is_off() : SETTING_UNKNOWN,
      .conntrack_count = number("netfilter/nf_conntrack_count"),
      .conntrack_max = number("netfilter/nf_conntrack_max"),
      .step_width = number("ipv4/ip_local_port_step_width"),
  };
}
