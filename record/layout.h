/* SPDX-License-Identifier: MIT
 *
 * A recording: one file, mapped shared by every process that writes to it, holding what
 * their hooked calls did. This header is the only description of its bytes.
 *
 *   header        4096 bytes: what the file is, where its sections lie, the ring's head
 *   processes     one row a process image; the last row takes all that found none free
 *   destinations  a hash table of (process, transport, peer), open addressing
 *   rules         likewise of (process, name of a policy's rule)
 *   events        a ring of cells
 *   state         bytes that the policy's orders share; nothing in record/ looks into them
 *
 * Byte order is the writer's own (header.byte_order tells). All integers are unsigned.
 * Times are nanoseconds. Ports are in host byte order; addresses are 16 bytes in network
 * order, an IPv4 address as its v4-mapped form (RFC 4291 section 2.5.5.2).
 *
 * Everything after the header changes while it is read. A writer may be killed between any
 * two stores, may be interrupted by a signal handler that writes too, and may belong to
 * another user than the reader: a reader checks every number before it uses it.
 */
#ifndef BERTH_RECORD_LAYOUT_H
#define BERTH_RECORD_LAYOUT_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* The version is in the magic: a reader of another version finds another magic. */
#define RECORD_MAGIC "berth001"
#define RECORD_MAGIC_SIZE 8
#define RECORD_BYTE_ORDER 0x01020304u
#define RECORD_SUFFIX ".berth"

/* How BERTH_RECORD begins where `berth run` prepared the file, so that a program attaches to it
 * at once: to the kernel, and to anyone else, "//" is "/". */
#define RECORD_PREPARED "//"

/* Bounds that a reader holds a header to before it trusts it with memory. */
#define RECORD_MAX_PROCESSES (1u << 15)
#define RECORD_MAX_DESTINATIONS (1u << 20)
#define RECORD_MAX_RULES (1u << 16)
#define RECORD_MAX_EVENTS (1u << 24)
#define RECORD_MAX_STATE (64u << 20)
#define RECORD_MIN_EVENTS 16u

typedef _Atomic uint32_t record_u32;
typedef _Atomic uint64_t record_u64;

struct record_section {
  uint64_t offset; /* bytes from the start of the file, a multiple of 64 */
  uint32_t stride; /* bytes a row */
  uint32_t count;  /* rows; a power of two for destinations, rules and events */
};

/* Inodes of /proc/PID/ns; 0 where /proc was not there. */
struct record_namespaces {
  uint64_t net, pid, mnt;
};

enum record_flag {
  /* Of a process that maps it the kernel tells nothing here (overlayfs): whether it is still in
   * use is told by its rows alone. */
  RECORD_HIDDEN_USE = 1,
};

struct record_header {
  record_u64 magic; /* RECORD_MAGIC, stored last (release) */
  uint32_t byte_order;
  uint32_t header_size;
  uint32_t compatible;   /* feature bits that an older reader may ignore */
  uint32_t incompatible; /* feature bits that it may not: none yet */
  uint64_t file_size;
  struct record_section processes, destinations, events, rules;
  struct record_section state; /* stride 1; may be empty */
  uint64_t created;            /* CLOCK_REALTIME */
  uint32_t flags;              /* enum record_flag */
  char boot_id[36]; /* /proc/sys/kernel/random/boot_id; zeros where it could not be read */
  char version[16]; /* of the berth that made the file, NUL-padded */
  alignas(64) record_u32 processes_claimed; /* may exceed the rows: the rest share the last */
  record_u32 destinations_used, rules_used; /* no new row beyond 7/8 of the table */
  record_u32 moved; /* a process that maps this file is no longer, or its children are not, in the
                       namespaces that it started in */
  struct record_namespaces namespaces; /* of who prepared it for others; zeros if nobody did */
  uint64_t mount_id;                   /* statx(2)'s of this file, as seen there; 0: not known */
  alignas(64) record_u64 head;         /* index of the next event */
};
#define RECORD_HEADER_SIZE 4096
static_assert(sizeof(struct record_header) <= RECORD_HEADER_SIZE, "the header fits its page");
static_assert(offsetof(struct record_header, processes) == 32, "layout");
static_assert(offsetof(struct record_header, processes_claimed) == 192, "layout");
static_assert(offsetof(struct record_header, rules) == 80, "layout");
static_assert(offsetof(struct record_header, head) == 256, "layout");

enum record_state {
  RECORD_FREE = 0,
  RECORD_RUNNING,  /* until its process says otherwise: a reader asks /proc whether it died */
  RECORD_EXITED,   /* exit() or _exit() */
  RECORD_REPLACED, /* execve() */
};

/* Errors are counted by errno; 0 takes those that do not fit. */
#define RECORD_ERRNOS 136

/* Durations: 8 linear steps in each power of two of nanoseconds, up to 2^41 (36 minutes),
 * so that a percentile is off by at most a sixteenth. */
#define RECORD_DURATION_STEPS 8
#define RECORD_DURATION_BUCKETS ((41 - 3 + 1) * RECORD_DURATION_STEPS)

#define RECORD_PORT_WORDS (65536 / 64)

struct record_process {
  record_u32 state;         /* enum record_state */
  uint32_t pid, parent_pid; /* in pid_namespace */
  uint32_t uid;             /* effective, when the row was taken: see libberth.so(8), LIMITS */
  uint64_t created;         /* CLOCK_REALTIME: when the image started, or the child was forked */
  uint64_t claimed;         /* CLOCK_BOOTTIME: when the row was taken. Who holds the pid now and
                               started later than this is another process. */
  record_u64
      net_namespace; /* of all its events: 0 where that is not known, or they are of several */
  uint64_t pid_namespace, mnt_namespace; /* inodes, as the one above; 0: not known */
  char version[16];                      /* of the berth that wrote the row, NUL-padded */
  char name[256]; /* of the file executed, without its folder, NUL-terminated */
#define COUNTER(group, name, help) record_u64 group##_##name;
#define LATER_COUNTER(group, name, help)
#include "counters.def"
#undef COUNTER
#undef LATER_COUNTER
  record_u64 destinations_merged; /* connects to destinations that found no row */
  record_u64 rules_merged;        /* what rules took that found no row */
  record_u64 duration_max;
  record_u64 errors[RECORD_ERRNOS];
  record_u64 durations[RECORD_DURATION_BUCKETS];
  record_u64 ports[RECORD_PORT_WORDS]; /* a bit for each local port a connect or send had */
  /* What came later, in the room that a row had left: zeros where an older berth wrote it. */
#define COUNTER(group, name, help)
#define LATER_COUNTER(group, name, help) record_u64 group##_##name;
#include "counters.def"
#undef COUNTER
#undef LATER_COUNTER
  record_u32 in_call; /* where there are filters of seccomp(2): the number of the system call that
                         berth is making; 0: none */
};
#define RECORD_PROCESS_STRIDE 12288
static_assert(offsetof(struct record_process, calls_connect) == 328, "layout");
static_assert(offsetof(struct record_process, forbidden_local_port) == 12232, "layout");
static_assert(sizeof(struct record_process) <= RECORD_PROCESS_STRIDE, "a row fits its stride");

/* How many different local ports went to one destination: 128 bitmaps of 16 bits, bit k of
 * bitmap h set for a port whose hash names bitmap h and has k trailing zeros (Flajolet and
 * Martin 1985). Only ever or-ed into, so no writer waits and no kill leaves it wrong. */
#define RECORD_SKETCH_BITMAPS 128
#define RECORD_SKETCH_WORDS (RECORD_SKETCH_BITMAPS / 2)

struct record_destination {
  record_u64 tag;        /* 64-bit hash of the key, taken by one CAS; 0: free */
  record_u64 address[2]; /* the key; every writer of this row stores the same */
  record_u32 scope;      /* IPv6 scope id (an interface index), or 0 */
  record_u32 process;    /* row number */
  record_u32 port, transport;
  record_u64 connects, failed;
  record_u32 sketch[RECORD_SKETCH_WORDS];
};
#define RECORD_DESTINATION_STRIDE 320
static_assert(offsetof(struct record_destination, tag) == 0, "a row begins with its tag");
static_assert(sizeof(struct record_destination) <= RECORD_DESTINATION_STRIDE, "a row fits");

/* What a rule of a policy did in one process. */
#define RECORD_RULE_NAME 64
struct record_rule {
  record_u64 tag;     /* as a destination's */
  record_u32 process; /* the key: row number, and the name padded with NULs, at least one */
  uint32_t reserved;
  record_u64 name[RECORD_RULE_NAME / 8];
#define RULE_COUNTER(name, help) record_u64 name;
#include "record/rule_counters.def"
#undef RULE_COUNTER
};
#define RECORD_RULE_STRIDE 192
static_assert(offsetof(struct record_rule, tag) == 0, "a row begins with its tag");
static_assert(offsetof(struct record_rule, matched) == 80, "layout");
static_assert(sizeof(struct record_rule) <= RECORD_RULE_STRIDE, "a row fits");

enum record_call {
  RECORD_CONNECT,
  RECORD_BIND,
  RECORD_LISTEN,
  RECORD_SENDTO,
  RECORD_SENDMSG,
  RECORD_SENDMMSG,
  RECORD_CALLS
};
enum record_result { RECORD_OK, RECORD_IN_PROGRESS, RECORD_FAILED, RECORD_RESULTS };
enum record_chooser { RECORD_KERNEL, RECORD_PROGRAM, RECORD_POLICY, RECORD_CHOOSERS };

/* How a port was offered to the kernel: by IP_LOCAL_PORT_RANGE, or by bind(2) before the call. */
enum record_via { RECORD_VIA_NONE, RECORD_VIA_RANGE, RECORD_VIA_BIND, RECORD_VIAS };

/* Why the kernel chose although a rule took the call. */
enum record_unsteered {
  RECORD_STEERED,   /* it did not, or the rule does not steer */
  RECORD_EXHAUSTED, /* the rule's set was, and the rule leaves it to the kernel then */
  RECORD_REUSE,     /* UDP with SO_REUSEADDR or SO_REUSEPORT: a claim would not be exclusive */
  RECORD_OWN_RANGE, /* the program set IP_LOCAL_PORT_RANGE itself */
  RECORD_FORBIDDEN, /* a sandbox forbids the calls by which a port is offered */
  RECORD_UNSTEEREDS
};

/* One hooked call. `peer` is what the program asked for: the destination of a connect or a
 * send, the address of a bind; zeros for listen. */
struct record_event {
  uint64_t time;     /* CLOCK_REALTIME when the call began */
  uint64_t duration; /* of the whole hooked call */
  uint32_t pid, tid;
  uint32_t fd;
  uint16_t error;                       /* errno, with RECORD_FAILED */
  uint16_t transport;                   /* IPPROTO_* */
  uint8_t call, result, chosen_by, via; /* enums above */
  uint16_t local_port, peer_port;
  uint32_t local_scope, peer_scope;
  uint8_t local[16], peer[16];
  uint32_t rule;     /* number of a row of rules, plus 1; 0: no rule took it, or none had room */
  uint32_t tries;    /* candidates offered to the kernel */
  uint8_t unsteered; /* enum above */
  uint8_t forbidden; /* 1: a filter of seccomp(2) forbade to ask for the local port */
  uint8_t reserved1[2];
  uint16_t refused_low, refused_high; /* of the candidates that were refused, the last; 0: none */
  uint32_t reserved2[6];
};
#define RECORD_EVENT_WORDS 15
static_assert(sizeof(struct record_event) == RECORD_EVENT_WORDS * 8, "layout");
static_assert(offsetof(struct record_event, local) == 48, "layout");
static_assert(offsetof(struct record_event, rule) == 80, "layout");

/* A cell of the ring. `seq` holds the row of its writer in the upper 16 bits and below them
 * 2i+1 while event i is being written, 2i+2 when it is whole: see write.c. */
struct record_cell {
  record_u64 seq;
  record_u64 words[RECORD_EVENT_WORDS]; /* a struct record_event */
};
#define RECORD_CELL_STRIDE 128
static_assert(sizeof(struct record_cell) == RECORD_CELL_STRIDE, "layout");

#define RECORD_SEQ_BITS 48
#define RECORD_SEQ_MASK ((UINT64_C(1) << RECORD_SEQ_BITS) - 1)

static inline uint64_t record_seq(uint64_t process, uint64_t value)
{
  return process << RECORD_SEQ_BITS | (value & RECORD_SEQ_MASK);
}

#endif
