/* SPDX-License-Identifier: MIT
 *
 * What is found wrong: the figure, the cause, the remedy, and where the rule is written down.
 */
#ifndef BERTH_DOCTOR_FINDING_H
#define BERTH_DOCTOR_FINDING_H

#include "doctor/destination.h"

enum severity {
  NOTE,    /* costs a few ports, or will once there are more connections */
  WARNING, /* connect() is slower than it need be, or ports run short */
  FAILURE  /* connect() or bind() fails, or is about to */
};

struct finding {
  enum severity severity;
  uint32_t weight;   /* among findings of one severity: the greater the worse */
  const char *code;  /* a word for scripts: "time-wait" */
  char *figure;      /* what was counted */
  const char *cause; /* in a sentence */
  char *remedy;
  char *policy;       /* for berth, as JSON ready to use; or NULL */
  const char *source; /* of the rule: a commit of torvalds/linux, an RFC, a manual page */
};

struct findings {
  struct finding *list; /* worst first, once sorted */
  uint32_t count, room;
  bool failed; /* memory ran out: some are missing */
};

/* What the finders look at. */
struct examination {
  const struct doctor_view *view;
  const struct destinations *destinations;
  double threshold; /* percent of the range from which a destination is a failure */
};

/* Adds a finding; `figure`, `remedy` and `policy` are taken over, and freed. */
void findings_add(struct findings *f, struct finding finding);
void findings_free(struct findings *f);

/* printf() to a string of its own; NULL without memory. */
__attribute__((format(printf, 1, 2))) char *finding_text(const char *format, ...);

/* All that is wrong, worst first. */
void findings_find(struct findings *f, const struct examination *e);

/* The finders, by what they look at; one file each. */
void find_destinations(struct findings *f, const struct examination *e);
void find_range(struct findings *f, const struct examination *e);
void find_holds(struct findings *f, const struct examination *e);
void find_binds(struct findings *f, const struct examination *e);
void find_settings(struct findings *f, const struct examination *e);

#endif
