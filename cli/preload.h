/* SPDX-License-Identifier: MIT
 *
 * LD_PRELOAD with libberth.so in it.
 */
#ifndef BERTH_CLI_PRELOAD_H
#define BERTH_CLI_PRELOAD_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* Where libberth.so is: beside an uninstalled berth, else where it was installed, as
 * PREFIX/$LIB/berth/libberth.so for ld.so to fill in where it was installed for several ABIs.
 * Returns false, having complained as `where`, if there is none that LD_PRELOAD can name. */
bool preload_library(const char *where, char path[PATH_MAX]);

/* The files that such a path names, one for each ABI: all that are there, from `*at` == 0 on.
 * Returns false after the last. */
bool preload_next(const char *library, size_t *at, char path[PATH_MAX]);

/* `existing` (may be NULL) with `library` in it once: after a sanitizer's run-time library,
 * which must come first of all, and before anything else. The caller frees it. */
char *preload_value(const char *existing, const char *library);

/* What lets a program that is linked to ASan's library take another one before that: in
 * ASAN_OPTIONS. libberth.so replaces nothing that ASan's does not call itself. */
#define PRELOAD_ASAN "verify_asan_link_order=0"

/* `existing` (may be NULL) with that, unless it says something of it. The caller frees it. */
char *preload_asan_options(const char *existing);

#endif
