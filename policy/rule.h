/* SPDX-License-Identifier: MIT
 *
 * A policy as plain data: what berth-policy(5) says, compiled to one flat image.
 *
 * An image is one block of bytes without pointers: a header, then arrays. A span names a part of an
 * array by first element and count; an empty one is {0, 0}. Everything has one place, so that an
 * image is checked by one walk over its rules: the sections follow one another in the order of the
 * header, each filled up to a multiple of 8 bytes with zeros, the first behind the header; the
 * spans of one array follow one another in the order of the rules (of one rule: ipv4, ipv6; ports,
 * except), late_bind comes last; the strings are the rules' names and then the globs, in the order
 * of their users. Nothing is left over, and what is reserved is 0.
 *
 * Whoever uses an image has had it checked whole by policy_image_problem() first; then every span
 * lies within its array, every enum is one of those below, and every string ends in NUL.
 *
 * Byte order is the machine's (header.byte_order tells). Ports are in host byte order; addresses
 * are 16 bytes in network order, an IPv4 address as its v4-mapped form (RFC 4291 section 2.5.5.2).
 */
#ifndef BERTH_POLICY_RULE_H
#define BERTH_POLICY_RULE_H

#include <assert.h>
#include <stdint.h>

/* The version is in the magic: an image of another version has another magic. */
#define POLICY_MAGIC "berthpo1"
#define POLICY_MAGIC_SIZE 8
#define POLICY_BYTE_ORDER 0x01020304u

/* Bounds that a policy is held to wherever it is read. */
#define POLICY_MAX_RULES 4096u
#define POLICY_MAX_LEAST_RECENT 64u      /* rules with that order: each needs a word a port */
#define POLICY_MAX_IMAGE (16u << 20)     /* bytes */
#define POLICY_MAX_JSON (4u << 20)       /* bytes */
#define POLICY_MAX_NAME 63u              /* bytes of a rule's name */
#define POLICY_MAX_GLOB 255u             /* bytes: a file's name has no more */
#define POLICY_MAX_REST (7u * 24 * 3600) /* seconds */
#define POLICY_MAX_ADDRESSES 65536u      /* of one rule, every address of a prefix counted */

/* RFC 6056 section 3.3's algorithms by number, and what it does not have. */
enum policy_order {
  POLICY_KERNEL,           /* the kernel picks */
  POLICY_RANDOM,           /* 2 */
  POLICY_RANDOM_START,     /* 1 */
  POLICY_HASH,             /* 3 */
  POLICY_DOUBLE_HASH,      /* 4 */
  POLICY_RANDOM_INCREMENT, /* 5 */
  POLICY_SEQUENTIAL,
  POLICY_LEAST_RECENT,
  POLICY_ORDERS
};

enum policy_via { POLICY_AUTO, POLICY_RANGE, POLICY_BIND, POLICY_VIAS };
enum policy_exhausted { POLICY_FAIL, POLICY_LEAVE, POLICY_EXHAUSTEDS }; /* "fail", "kernel" */

/* Bits. */
enum policy_transport { POLICY_TCP = 1, POLICY_UDP = 2 };
enum policy_family { POLICY_IPV4 = 1, POLICY_IPV6 = 2 };

struct policy_span {
  uint32_t first, count;
};

/* A destination that `to` names. */
struct policy_destination {
  uint8_t address[16]; /* bits beyond the prefix are 0 */
  uint8_t prefix;      /* 0 to 128; of an IPv4 address 96 to 128 */
  uint8_t families;    /* enum policy_family bits: "*" is both */
  uint16_t low, high;  /* ports, both inclusive; 0 and 65535 for all */
  uint16_t reserved;
};
static_assert(sizeof(struct policy_destination) == 24, "layout");

/* A source address, or a prefix of them. */
struct policy_address {
  uint8_t address[16];
  uint8_t prefix; /* as above: 128 is one address */
  uint8_t reserved[3];
  uint32_t before; /* how many addresses of this family the rule's spans before it hold */
  uint32_t count;  /* addresses that it holds itself */
};
static_assert(sizeof(struct policy_address) == 28, "layout");

struct policy_ports {
  uint16_t low, high; /* inclusive, low at least 1 */
};

struct policy_rule {
  uint32_t name;                   /* offset in the strings */
  struct policy_span programs;     /* of `programs`; none: any program */
  struct policy_span destinations; /* none: any destination */
  struct policy_span ipv4, ipv6;   /* of `addresses`: where connections leave from; none: any */
  struct policy_span ports;  /* of `ports`: sorted, disjoint, not adjacent; none: the machine's */
  struct policy_span except; /* likewise; none: none */
  uint32_t tries;            /* candidates offered for one call, to 65535; 0: the whole set */
  uint32_t rest;             /* seconds */
  uint16_t mod_of, mod_is;   /* port % mod_of == mod_is; 1 and 0 for all */
  uint8_t transports;        /* enum policy_transport bits, at least one */
  uint8_t order, via, exhausted; /* enums above */
  uint8_t steers;                /* 0: connections that match are left to the kernel */
  uint8_t reserved[3];
};
static_assert(sizeof(struct policy_rule) == 72, "layout");

struct policy_section {
  uint32_t offset; /* bytes from the start of the image, a multiple of 8 */
  uint32_t count;
};

struct policy_header {
  char magic[POLICY_MAGIC_SIZE];
  uint32_t byte_order;
  uint32_t header_size;
  uint64_t size;     /* of the whole image, in bytes */
  uint64_t checksum; /* policy_image_checksum() */
  struct policy_section rules, destinations, addresses, ports;
  struct policy_section programs; /* globs: uint32_t offsets in the strings */
  struct policy_section strings;  /* bytes, the last one NUL */
  struct policy_span late_bind;   /* of `programs` */
};
static_assert(sizeof(struct policy_header) == 88, "layout");

#endif
