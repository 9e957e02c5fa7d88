/* SPDX-License-Identifier: MIT
 *
 * What `berth doctor` was asked, and how it shows what it found.
 */
#ifndef BERTH_CLI_DOCTOR_H
#define BERTH_CLI_DOCTOR_H

#include "doctor/finding.h"
#include "kernel/features.h"

struct diagnosis {
  struct doctor_view view;
  struct destinations destinations; /* those that were asked for */
  struct findings findings;
  struct kernel_features features;
  double threshold;
  unsigned long pid;  /* whose namespace it is; 0: one's own */
  const char *loaded; /* of that process: what is known of libberth.so in it; NULL: not asked */
};

/* What could not be looked at: a word for scripts, and a text for people. */
struct unseen {
  const char *word, *text;
};
#define DOCTOR_UNSEEN 5
size_t doctor_unseen(const struct diagnosis *d, const struct unseen *list[DOCTOR_UNSEEN]);

/* Whether sockets that are bound and no more are among those looked at. */
bool doctor_sees_bound(const struct diagnosis *d);

/* For people; for scripts, one JSON object; the range as a grid, towards one destination or (NULL)
 * towards none. */
void doctor_as_text(const struct diagnosis *d);
void doctor_as_json(const struct diagnosis *d);
void doctor_map(const struct doctor_view *v, const struct destination *to);

#endif
