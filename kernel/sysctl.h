/* SPDX-License-Identifier: MIT
 *
 * Sysctls of this network namespace, as text. For a command: allocates.
 */
#ifndef BERTH_KERNEL_SYSCTL_H
#define BERTH_KERNEL_SYSCTL_H

#include <stddef.h>

/* /proc/sys/net/NAME (such as "ipv4/ip_local_port_range"), NUL-terminated, to be freed; NULL and
 * errno where it cannot be read. In one read(2): the kernel gives a list of ports to the first read
 * alone (proc_do_large_bitmap in kernel/sysctl.c). */
char *sysctl_read(const char *name, size_t *size);

#endif
