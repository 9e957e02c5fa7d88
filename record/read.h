/* SPDX-License-Identifier: MIT
 *
 * The reader's side of a recording. It copies with pread(2) and never maps: a file that shrinks
 * while it is read is an error (`broken`), not a SIGBUS. Nothing in a recording is trusted: each
 * offset, count and name is checked before use. Allocates; not for signal handlers.
 */
#ifndef BERTH_RECORD_READ_H
#define BERTH_RECORD_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record/layout.h"

struct record_reader {
  int fd;
  struct record_section processes, destinations, events, rules;
  uint64_t size, created;
  uint32_t flags;
  char boot_id[37], version[17];
  struct record_cell *scratch; /* three copies of RECORD_READ_MAX cells */
  bool broken;                 /* a read came short: the file shrank, or cannot be read any more */
};

/* Opens a recording. Returns NULL, or what is wrong with it: words for people, to be used
 * before the next call. record_open_entry() does not follow a symbolic link: for a name that was
 * found in a directory, which is whoever's, and was not given by the user. */
const char *record_open(struct record_reader *reader, int directory, const char *name);
const char *record_open_entry(struct record_reader *reader, int directory, const char *name);
void record_close(struct record_reader *reader);

/* Copies bytes of the file. Returns false, and the recording is `broken`, where they are not there. */
bool record_read_at(struct record_reader *reader, void *to, size_t size, uint64_t offset);

/* A row, copied; names end in NUL. Returns false where the row is free or cannot be read. */
bool record_read_process(struct record_reader *reader, uint32_t process,
                         struct record_process *row);

/* How many rows may be in use: rows from here on, but for the shared last, are free. */
uint32_t record_processes_used(struct record_reader *reader);

/* Whether the file still has the size that its header told; if not, it is `broken`. */
bool record_is_whole(struct record_reader *reader);

/* Index of the next event to be written; 0 where it cannot be read. */
uint64_t record_head(struct record_reader *reader);

/* What a walk finds at an event's place. */
enum record_fate {
  RECORD_WHOLE,
  RECORD_WRITING, /* begun, not finished: if that lasts, its writer was killed and it is torn */
  RECORD_ABSENT,  /* not begun: if that lasts, it was lost */
  RECORD_GONE,    /* a later event has its cell */
};
#define RECORD_PATIENCE_MS 50 /* how long WRITING and ABSENT may be a writer that is slow */

struct record_read_event {
  enum record_fate fate;
  uint32_t process; /* row of its writer, with RECORD_WHOLE */
  uint64_t index;
  struct record_event event;
};

/* Reads the events [from, from + count) into `out`. Returns how many were read: fewer than
 * asked at the head and at the ring's end, 0 at the head or where the file cannot be read. */
size_t record_read_events(struct record_reader *reader, uint64_t from, size_t count,
                          struct record_read_event *out);
#define RECORD_READ_MAX 256 /* events a call at the most */

/* Events older than `oldest` that are still there, because the one that was to replace them was
 * lost: in their order; `*out` is the caller's to free. Returns how many. */
size_t record_read_survivors(struct record_reader *reader, uint64_t oldest,
                             struct record_read_event **out);

/* The first event that the ring can still hold, given the head. */
uint64_t record_oldest(struct record_reader *reader, uint64_t head);

/* Whether each of an event's numbers is one that a writer can have meant. */
bool record_event_is_sound(const struct record_event *e);

/* Of a row's events, those that nobody can read. */
struct record_torn {
  uint64_t torn;    /* begun and not finished, and `unsound` */
  uint64_t unsound; /* finished, but not record_event_is_sound() */
};

/* Counts them for each of the first `rows` rows, so that of a row that is no longer written to each
 * event is in a cell of the ring, overwritten, lost or torn. Waits RECORD_PATIENCE_MS where it finds
 * any, for writers that are merely slow. */
void record_count_torn(struct record_reader *reader, struct record_torn *torn, uint32_t rows);

struct record_read_destination {
  uint8_t address[16];
  uint32_t scope;
  uint16_t port, transport;
  uint64_t connects, failed;
  uint64_t distinct_ports; /* an estimate */
  uint32_t process;
};

/* All destinations of all rows, by row, most connects first; `*out` is the caller's to free.
 * Returns how many. */
size_t record_read_destinations(struct record_reader *reader, struct record_read_destination **out);

struct record_read_rule {
  char name[RECORD_RULE_NAME]; /* NUL-terminated; any bytes */
  uint32_t process;
#define RULE_COUNTER(name, help) uint64_t name;
#include "record/rule_counters.def"
#undef RULE_COUNTER
};

/* All rules that took anything, by row and name; `*out` is the caller's to free. Returns how
 * many. */
size_t record_read_rules(struct record_reader *reader, struct record_read_rule **out);

/* The name in a row of rules, NUL-terminated, of any bytes: an event's rule less 1. "" where there
 * is no such row, or none that is in use. */
void record_rule_name(struct record_reader *reader, uint32_t row, char name[RECORD_RULE_NAME]);

/* The p-th quantile (0 < p <= 1) of a row's durations, in nanoseconds; 0 without any. */
uint64_t record_quantile(const struct record_process *row, double p);

/* How many ports the sketch has seen: an estimate, exact for none and one, with a standard
 * error of about 9 %. */
uint64_t record_sketch_estimate(const record_u32 sketch[RECORD_SKETCH_WORDS]);

#endif
