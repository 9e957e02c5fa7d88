/* SPDX-License-Identifier: MIT
 *
 * The filters that a process started with. The kernel tells how many there are (/proc), and not what
 * they answer. That is handed on from one image to the next, in a variable that `berth run` puts into
 * the environment, and whose digits the shim changes in place where a filter comes down:
 *
 *   BERTH_FILTERS=NN-MMMMMMMMMMMMMMMM-TTTTTTTT
 *
 * the number of filters, the shapes of calls that they refuse, and calls_tag(), in hexadecimal. It is
 * no part of the environment's size that changes, and no other variable is touched; a program that has
 * overwritten that memory (setproctitle(3)) is left alone. Where the number is not the kernel's,
 * filters came down that nobody saw, and what they answer is unknown: only calls of CALL_LEAST are
 * made then.
 *
 *   BERTH_FILTERS=pass
 *
 * says that the filters which were there before let berth's calls pass, or answer by an error. That is
 * assumed in a container of as many filters as its first process has: the profiles that come with
 * Docker, Podman, containerd and CRI-O answer what they do not know by an error (SCMP_ACT_ERRNO).
 */
#ifndef BERTH_GATE_INHERITED_H
#define BERTH_GATE_INHERITED_H

#include <stdbool.h>
#include <stdint.h>

#define INHERITED_VARIABLE "BERTH_FILTERS"
#define INHERITED_NONE "00-0000000000000000-00000000"

/* The variable's value, in the environment itself; NULL: it is not set. Before any other. A container
 * is told by variables that some runtimes set, or by files that others make. */
void inherited_told(char *value, bool in_container);

struct inherited {
  bool unknown;     /* there are filters of which nothing is known */
  uint64_t refused; /* a map of the shapes that the known ones refuse */
  unsigned count;   /* of the known ones */
};

/* Asks the kernel: calls of CALL_LOADER alone. Where /proc is not
 * there, what was told is believed. */
struct inherited inherited_ask(void);

/* Tells what this process executes of so many filters, and what they refuse together. */
void inherited_tell(unsigned count, uint64_t refused, bool unknown);

/* The variable with that, for an environment that has not the one above, in `to`, which has room for
 * INHERITED_SIZE bytes. False where there is nothing to tell. */
#define INHERITED_SIZE (sizeof INHERITED_VARIABLE + sizeof INHERITED_NONE)
bool inherited_put(char *to);

#endif
