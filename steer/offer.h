/* SPDX-License-Identifier: MIT
 *
 * One candidate offered to the kernel, by each of the two mechanisms, and the socket options that
 * this takes. Signal-safe; errno may change.
 */
#ifndef BERTH_STEER_OFFER_H
#define BERTH_STEER_OFFER_H

#include <stdbool.h>

#include "steer/claim.h"
#include "steer/tuple.h"

enum offer_answer {
  OFFER_REFUSED,    /* try another port */
  OFFER_NO_ADDRESS, /* this machine lacks the source address */
  OFFER_ANSWERED,   /* `result` and `error` are the program's */
};

/* A call under way. */
struct offering {
  struct claim *claim;
  int fd, saved_errno;
  uint32_t generation; /* of the descriptor */
  claim_call *call;
  const void *arguments;
  long result;
  int error;             /* 0, or errno of the last call */
  bool called;           /* the program's call was made */
  uint32_t unprivileged; /* machine_unprivileged(), once EACCES made it asked; 0: not yet */
  bool ranged;           /* IP_LOCAL_PORT_RANGE is set */
  int family;            /* of the socket; 0: not asked yet */
  bool reuse_asked;      /* SO_REUSEADDR: as the program left it, and as it is now */
  bool reuse_before, reuse;
  bool port_reuse_asked, port_reuse; /* SO_REUSEPORT, which is left as it is */
  bool only_asked, only_before;      /* IPV6_V6ONLY, as the program left it */
  bool address_lost; /* a bind() that failed took the socket's source address away */
  struct tuple_asker asker;
  bool source_asked;
  bool kept; /* a port that others have, from this address, for this thread */
  uint8_t kept_source[16];
  uint32_t thread;
  bool has_resort; /* `resort` was passed by: its 4-tuple is in TIME_WAIT, or may be taken */
  struct candidate resort;
};

/* Makes the call, with errno as the program left it. */
void offer_call(struct offering *o);

/* IP_LOCAL_PORT_RANGE for the call; it stays for the next offer, until it is put back. */
enum offer_answer offer_range(struct offering *o);
void offer_restore_range(struct offering *o);

/* Before the call of an MPTCP socket that is bound to the port: what its further subflows leave from,
 * as long as the option stays. Where the kernel cannot hold them within the set, nothing. */
void offer_hold_subflows(struct offering *o, uint16_t port);

/* Whether the last call began a connection. */
bool offer_has_begun(const struct offering *o);

/* A sandbox forbids to offer anything: the call as it is, or none where the policy is to be kept at
 * any price. Its event says so. */
enum offer_answer offer_nothing(struct offering *o);

/* bind() before the call. `anyhow` skips the look whether the 4-tuple is free. Where bind() fails
 * for another reason than the port, the socket is not what berth took it for, or a sandbox forbids
 * it: then the call is made as it is. */
enum offer_answer offer_bind(struct offering *o, bool anyhow);

/* Gives the socket the claim's source address and no port (IP_BIND_ADDRESS_NO_PORT).
 * OFFER_REFUSED: it has the address, and ports are to be offered. Other failures as above. */
enum offer_answer offer_address(struct offering *o);

/* Whether the connect fails with EADDRNOTAVAIL whatever its port, since no address of this machine
 * can be its source. Looked at once in a call; with the first refusals not where there was one a
 * moment ago. */
bool offer_lacks_source(struct offering *o);

/* Gives it back where a bind() took it away, or takes it away. */
void offer_restore_address(struct offering *o);
void offer_drop_address(struct offering *o);

/* The socket's options, and its address, are as the program left them. */
void offer_take_back(struct offering *o);

/* Puts IPV6_V6ONLY back where the socket is not to have the claim's IPv6 address after all. */
void offer_restore_only(struct offering *o);

/* Binds to the claim's address and this port, as the socket is. Returns 0 or an errno. */
int offer_bind_port(struct offering *o, uint16_t port);

/* Whether EACCES of bind(2) to this port says that one has no right to it: another may do. */
bool offer_lacks_right(struct offering *o, uint16_t port);

/* SO_REUSEADDR: asked before it is changed for the first time, which fails where a filter forbids to
 * ask; put back. */
bool offer_ask_reuse(struct offering *o);
void offer_set_reuse(struct offering *o, bool on);
void offer_restore_reuse(struct offering *o);

#endif
