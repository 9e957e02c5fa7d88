/* SPDX-License-Identifier: MIT
 *
 * The script that this program interprets, where its command line is the one that executing the script
 * makes: a script of "#!/usr/bin/env python3" is, to the kernel, a python3 like any other.
 */
#ifndef BERTH_STEER_SCRIPT_H
#define BERTH_STEER_SCRIPT_H

#include <limits.h>

#include "policy/image.h"

/* The base name of the script, or "". Looked for only where the policy names programs, and only among
 * arguments that one of its globs takes. To be called before main(). */
void script_find(const policy_image *p, char name[NAME_MAX + 1]);

#endif
