/* SPDX-License-Identifier: MIT
 *
 * The namespaces that this process is in: what a recording says of another is not judged here.
 */
#ifndef BERTH_CLI_NAMESPACE_H
#define BERTH_CLI_NAMESPACE_H

#include <stdint.h>

/* The inode of one ("net", "pid"), 0 where /proc does not tell. */
uint64_t own_namespace(const char *kind);

#endif
