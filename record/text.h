/* SPDX-License-Identifier: MIT
 *
 * Text without stdio, malloc or locale: an event as a line, and the pieces of it. Every
 * function here may be called from a signal handler.
 */
#ifndef BERTH_RECORD_TEXT_H
#define BERTH_RECORD_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record_event;

#define TEXT_SCOPE_SIZE 24

/* A bounded buffer. What does not fit is left out and `full` says so; it is not
 * NUL-terminated unless text_end() is called. */
struct text {
  char *start, *at, *end;
  bool full;
};

#define TEXT_INIT(array)                                                                           \
  {                                                                                                \
    (array), (array), (array) + sizeof(array), false                                               \
  }

/* strlen(), strcmp() == 0, and whether a string begins with another: of our own, because each
 * name of libc's is looked up at the start of every program. */
size_t text_length(const char *s);
bool text_equal(const char *a, const char *b);
bool text_begins(const char *s, const char *beginning);

void text_char(struct text *t, char c);
void text_string(struct text *t, const char *s);
void text_u64(struct text *t, uint64_t value);
void text_digits(struct text *t, uint64_t value, int digits); /* zero-padded */
void text_hex(struct text *t, uint64_t value);

/* A name that somebody else chose, up to a NUL or `size` bytes: spaces, control characters (C0,
 * DEL, C1), what is not UTF-8 and what turns the direction of writing become '?', so that it stays
 * one field, moves no cursor and leaves the rest of the line where it is. */
void text_name(struct text *t, const char *name, size_t size);

/* A 16-byte address (v4-mapped: as IPv4), as inet_ntop(3) writes it (RFC 5952), with %scope where
 * scope is not "": a name as by text_name(). */
void text_address(struct text *t, const uint8_t address[16], const char *scope);

/* NUL-terminates, in place of the last character if need be, and returns the start. */
const char *text_end(struct text *t);

struct text_style {
  long utc_offset; /* seconds that local time adds to UTC */
  bool dated;      /* the date precedes the time, in one field: 2026-11-28T02:35:14.841521 */
  bool zulu;       /* the time ends in Z */
  /* The name of an IPv6 scope id, written to `name`; NULL: the number itself. */
  void (*scope_name)(uint32_t scope, char name[TEXT_SCOPE_SIZE]);
};

/* One line with its newline: SPACE-separated fields in the order of berth-log(1). `name` is that of
 * the executable; `rule` that of the rule which took the call, NULL or "" where it has none that is
 * known. */
void text_event(struct text *t, const struct record_event *e, const char *name, const char *rule,
                const struct text_style *style);
#define TEXT_EVENT_MAX 720 /* no event's line is longer */

bool address_is_ipv4(const uint8_t address[16]); /* v4-mapped */

/* NULL where there is no name. */
const char *errno_name(unsigned error);
const char *transport_name(unsigned protocol);

/* The words of an event's enums; "?" for a value that is none. */
const char *call_word(unsigned call);
const char *result_word(unsigned result);
const char *chooser_word(unsigned chooser);
const char *via_word(unsigned via);
const char *unsteered_word(unsigned unsteered); /* "steered" for RECORD_STEERED */

#endif
