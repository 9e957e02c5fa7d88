/* SPDX-License-Identifier: MIT
 *
 * How Linux chooses a local port, era by era, as functions of what the kernel looks at: the range,
 * the ports that are no use, a hash of the connection, what was remembered, and random numbers. Pure
 * but for the state that they are given; the same input gives the same port. Ports and addresses are
 * in host byte order. Each file of an era names the commits of torvalds/linux that it follows.
 */
#ifndef BERTH_KERNEL_MODEL_H
#define BERTH_KERNEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_PORT_WORDS (65536 / 64)

/* A set of ports, a bit for each. */
struct model_ports {
  uint64_t words[MODEL_PORT_WORDS];
};

static inline bool model_ports_has(const struct model_ports *p, uint16_t port)
{
  return p->words[port / 64] >> (port % 64) & 1;
}

static inline void model_ports_add(struct model_ports *p, uint16_t port)
{
  p->words[port / 64] |= UINT64_C(1) << (port % 64);
}

static inline void model_ports_remove(struct model_ports *p, uint16_t port)
{
  p->words[port / 64] &= ~(UINT64_C(1) << (port % 64));
}

/* One call that leaves the port to the kernel. */
struct model_call {
  uint16_t low,
      high;       /* inclusive: ip_local_port_range, or the part of it that the socket asks for */
  bool own_range; /* IP_LOCAL_PORT_RANGE is set on the socket */
  bool reuse;     /* bind(0): SO_REUSEADDR */
  uint32_t step_width; /* ip_local_port_step_width; 0: off */
  uint32_t mask;       /* UDP: slots of the hash table, less one */

  /* What this call cannot have: reserved ports and those whose bucket an explicit bind owns; and
   * the 4-tuples that are taken towards its destination. Both are looked at; neither may be NULL. */
  const struct model_ports *held, *taken;

  uint64_t offset; /* the hash of addresses and destination port: 32 bits of it before 5.18 */

  /* A random number below `bound`; of all 32 bits where that is 0. */
  uint32_t (*draw)(void *draw_data, uint32_t bound);
  void *draw_data;
  /* Told of each port that is looked at, in order; or NULL. */
  void (*look)(void *look_data, uint16_t port, bool usable);
  void *look_data;
};

/* What the kernel remembers from call to call: table_perturb[], or the one `hint` before it. */
#define MODEL_TABLE_LARGEST 65536

/* How a call went. */
struct model_choice {
  uint16_t port;      /* 0: none, EADDRNOTAVAIL */
  uint32_t looked_at; /* ports, over all passes */
  uint32_t passes;
  /* For those who want to follow the sum. */
  uint32_t entry;                 /* of the table */
  uint32_t remembered, remembers; /* there, before and after */
  uint32_t size;                  /* ports that a call goes over: with parities an even number */
  uint32_t start;                 /* the first port is low + start */
  uint32_t step;                  /* from a port to the next */
};

/* How the hash of a connection is made. */
enum model_hash {
  MODEL_NO_HASH,
  MODEL_MD5,               /* secure_ipv4_port_ephemeral() until 4.10 */
  MODEL_SIPHASH,           /* since 4.11 */
  MODEL_SIPHASH_10_SECONDS /* since 5.18: another hash every ten seconds */
};

struct model {
  const char *name;   /* as in "linux-5.18" */
  const char *covers; /* which kernels, which call */
  const char *source; /* the commit of torvalds/linux that brought it */
  const char *rule;   /* in a sentence */
  enum model_hash hash;
  uint32_t table_size; /* of the table; 0: nothing is remembered */
  bool own_range;      /* knows IP_LOCAL_PORT_RANGE */
  /* `table` has table_size words, in which the kernel has random numbers at first (before 5.12: 0). */
  void (*choose)(const struct model_call *c, uint32_t *table, struct model_choice *choice);
};

extern const struct model model_3_10, model_4_2, model_4_6, model_5_12, model_5_18, model_6_8,
    model_7_1, model_bind, model_udp;

#endif
