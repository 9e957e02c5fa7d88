/* SPDX-License-Identifier: MIT
 *
 * The system calls that the shim makes, each in the shape in which it makes them: so that filters
 * can be asked beforehand, and what they answer be told to a program that is executed later.
 */
#ifndef BERTH_GATE_CALLS_H
#define BERTH_GATE_CALLS_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>

/* Of 32 bits: in pages of 4096 bytes, as offset 0 is in any. */
#ifdef SYS_mmap2
#define CALL_mmap SYS_mmap2
#else
#define CALL_mmap SYS_mmap
#endif

enum call_flag {
  CALL_LOADER = 1, /* ld.so made it a moment before the shim started */
  CALL_LEAST = 2, /* made where nothing is known of a filter: CALL_LOADER's, and the sockets' calls,
                       which a filter that lets a program connect has let pass with connect(2) */
  CALL_RECORDS = 4, /* needed to make a recording, and to say in it whose it is */
};

#define CALLS_MOST 64

/* How many shapes there are, at most CALLS_MOST: a bit each in a map. */
unsigned calls_count(void);

/* The call, as seccomp(2) shows it to a filter. A descriptor is any, and a pointer NULL. */
struct seccomp_data calls_shape(unsigned number);

/* The flags of a shape, or of all shapes of a system call together. */
unsigned calls_flags(unsigned number);
unsigned calls_flags_of(long system_call);

/* What is asked of a map where a bit says that the shape is refused. A call of no known shape is
 * refused if any of its number is, and if there is none. */
bool calls_refused(uint64_t map, const struct seccomp_data *call);

/* A number of this table and this architecture: a map means nothing under another. */
uint32_t calls_tag(void);

/* A call of the shim's as a filter sees it. */
struct seccomp_data calls_data(long number, long a, long b, long c, long d, long e, long f);

#endif
