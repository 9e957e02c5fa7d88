// SPDX-License-Identifier: MIT
//
// The events that are in no ring and in no counter: their thread was killed, or left the call, at
// one of the steps of ring_put() (write.c).
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "record/read.h"

bool record_event_is_sound(const struct record_event *e)
{
  return e->call < RECORD_CALLS && e->result < RECORD_RESULTS && e->chosen_by < RECORD_CHOOSERS &&
         e->via < RECORD_VIAS && e->unsteered < RECORD_UNSTEEREDS;
}

/* What one walk over the cells finds of a row. */
struct found {
  uint64_t whole, odd; /* cells that are its */
  uint64_t still_odd;  /* of the odd ones, those that were so in the walk before */
  uint64_t unsound;    /* of the whole ones */
};

struct walk {
  struct record_reader *reader;
  struct found *found; /* `rows` of them */
  size_t rows;
  uint64_t *seqs; /* of all cells, as they were found last; 0: not yet */
};

/* What lay in the cell when it was copied may have been half of one event and half of another. */
static bool is_unsound(struct record_reader *reader, const struct record_cell *cell, uint64_t seq)
{
  struct record_event e;
  struct record_read_event again;
  uint64_t words[RECORD_EVENT_WORDS];
  for (int w = 0; w < RECORD_EVENT_WORDS; w++)
    words[w] = atomic_load_explicit(&cell->words[w], memory_order_relaxed);
  memcpy(&e, words, sizeof e);
  if (record_event_is_sound(&e))
    return false;
  return record_read_events(reader, (seq & RECORD_SEQ_MASK) / 2 - 1, 1, &again) == 1 &&
         again.fate == RECORD_WHOLE && !record_event_is_sound(&again.event);
}

static void look_at(struct walk *w, uint32_t at, const struct record_cell *cell)
{
  uint64_t seq = atomic_load_explicit(&cell->seq, memory_order_relaxed);
  uint64_t before = w->seqs[at], row = seq >> RECORD_SEQ_BITS;
  w->seqs[at] = seq;
  if (!(seq & RECORD_SEQ_MASK) || row >= w->rows)
    return;
  struct found *f = &w->found[row];
  if (seq & 1) {
    f->odd++;
    f->still_odd += seq == before;
  } else {
    f->whole++;
    f->unsound += is_unsound(w->reader, cell, seq);
  }
}

static void walk(struct walk *w)
{
  static struct record_cell cells[RECORD_READ_MAX];
  const struct record_section *events = &w->reader->events;
  memset(w->found, 0, w->rows * sizeof *w->found);
  for (uint32_t from = 0; from < events->count; from += RECORD_READ_MAX) {
    uint32_t n = events->count - from;
    n = n < RECORD_READ_MAX ? n : RECORD_READ_MAX;
    if (!record_read_at(w->reader, cells, (size_t)n * RECORD_CELL_STRIDE,
                        events->offset + (uint64_t)from * RECORD_CELL_STRIDE))
      return;
    for (uint32_t i = 0; i < n; i++)
      look_at(w, from + i, &cells[i]);
  }
}

/* Of the events that the row had offered to the ring before the walk, how many are in no cell and in
 * no counter. The counters are read after the cells: an event that has left its cell meanwhile counts
 * twice, none counts as missing that is not. */
static uint64_t missing(struct record_reader *reader, uint32_t row, uint64_t written,
                        const struct found *f)
{
  static struct record_process now;
  if (!written || !record_read_process(reader, row, &now))
    return 0;
  uint64_t told = f->whole + f->odd + now.events_overwritten + now.events_lost;
  return written > told ? written - told : 0;
}

/* Returns whether anything is to be looked at again: it may be a writer that is merely slow. */
static bool count(struct walk *w, const uint64_t *written, struct record_torn *torn)
{
  bool any = false;
  walk(w);
  for (uint32_t i = 0; i < w->rows; i++) {
    uint64_t gone = missing(w->reader, i, written[i], &w->found[i]);
    any |= w->found[i].odd || gone;
    torn[i].unsound = w->found[i].unsound;
    torn[i].torn = w->found[i].still_odd + gone + torn[i].unsound;
  }
  return any;
}

static void read_written(struct record_reader *reader, uint64_t *written, uint32_t rows)
{
  static struct record_process row;
  uint32_t used = record_processes_used(reader), last = reader->processes.count - 1;
  for (uint32_t i = 0; i < rows; i++)
    if ((i < used || i == last) && record_read_process(reader, i, &row))
      written[i] = row.events_written;
}

void record_count_torn(struct record_reader *reader, struct record_torn *torn, uint32_t rows)
{
  const struct timespec patience = {.tv_nsec = RECORD_PATIENCE_MS * 1000000L};
  struct walk w = {.reader = reader,
                   .found = calloc(rows, sizeof *w.found),
                   .rows = rows,
                   .seqs = calloc(reader->events.count, sizeof *w.seqs)};
  uint64_t *written = calloc(rows, sizeof *written);
  memset(torn, 0, rows * sizeof *torn);
  if (w.found && w.seqs && written) {
    read_written(reader, written, rows);
    if (count(&w, written, torn)) {
      nanosleep(&patience, NULL);
      count(&w, written, torn);
    }
  }
  free(w.found);
  free(w.seqs);
  free(written);
}
