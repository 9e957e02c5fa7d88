/* SPDX-License-Identifier: MIT
 *
 * What `berth run` hands to COMMAND, and whether a process that libberth.so reached has lost it: its
 * policy with the environment, or with a file that it does not find; its recording, which no other
 * user may open.
 */
#ifndef BERTH_CLI_HANDED_H
#define BERTH_CLI_HANDED_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct handed {
  const char *policy;      /* the value of BERTH_POLICY; NULL for none */
  const char *policy_file; /* "" where that is the image itself */
  const char *recording;   /* its path; "" for none */
};

#define HANDED_TEXT 320

/* Why the process has it not; "" where it has, or that cannot be seen. */
struct lost {
  char policy[HANDED_TEXT], recording[HANDED_TEXT];
};

void handed_look(pid_t pid, const struct handed *h, struct lost *lost);

#endif
