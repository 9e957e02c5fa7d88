/* SPDX-License-Identifier: MIT
 *
 * The statistics of each process in a recording, for people or as JSON Lines.
 */
#ifndef BERTH_CLI_SUMMARY_H
#define BERTH_CLI_SUMMARY_H

#include <stdbool.h>
#include <stdio.h>

#include "record/read.h"

/* Returns false without memory. */
bool print_summary(FILE *out, struct record_reader *reader, bool json);

#endif
