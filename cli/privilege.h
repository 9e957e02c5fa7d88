/* SPDX-License-Identifier: MIT
 *
 * Whether the kernel would run a file with AT_SECURE set, in which the dynamic linker heeds no path
 * in LD_PRELOAD: by the rules of begin_new_exec() and cap_bprm_creds_from_file().
 */
#ifndef BERTH_CLI_PRIVILEGE_H
#define BERTH_CLI_PRIVILEGE_H

#include <sys/stat.h>

#include "cli/verdict.h"

/* Says so, if this process, as it is, executed the file. Security modules, which may set it too,
 * are not asked. */
void privilege_judge(const char *path, const struct stat *s, struct verdict *v);

#endif
