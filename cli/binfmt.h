/* SPDX-License-Identifier: MIT
 *
 * Formats registered with the kernel by binfmt_misc, which come before its own.
 */
#ifndef BERTH_CLI_BINFMT_H
#define BERTH_CLI_BINFMT_H

#include <stdbool.h>
#include <stddef.h>

#define BINFMT_NAME 256

/* Whether one of them takes the file of this name that begins with `head`; `name` gets its name. */
bool binfmt_takes(const char *path, const char *head, size_t size, char name[BINFMT_NAME]);

/* The same of one, by the text that the kernel shows of it. */
bool binfmt_entry_takes(const char *entry, const char *path, const char *head, size_t size);

#endif
