/* SPDX-License-Identifier: MIT
 *
 * Files that are to become recordings: the word that makes one of them is stored last, so that a
 * process that is killed before leaves a file without it, empty, short or whole, that holds nothing.
 */
#ifndef BERTH_CLI_UNFINISHED_H
#define BERTH_CLI_UNFINISHED_H

enum unfinished {
  UNFINISHED_NOT,        /* a recording, or something else altogether */
  UNFINISHED_BEING_MADE, /* as far as can be told */
  UNFINISHED_LEFT,       /* nobody makes it any more, but it is too young to be sure of that */
  UNFINISHED_LEFT_LONG,  /* nobody makes it any more */
};

/* Which of them a file is; does not follow a symbolic link. */
enum unfinished unfinished_look(int directory, const char *name);

#endif
