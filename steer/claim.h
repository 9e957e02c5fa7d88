/* SPDX-License-Identifier: MIT
 *
 * A rule applied to a socket: the call of a program, made with ports of the rule's set until the
 * kernel takes one. Without a policy, or where no rule takes it, the call is made as it is.
 *
 * Only what the kernel says of *berth's* offer is answered by another offer; any other result is
 * the program's, and so is errno. What is set on the socket is put back as it was, but for what
 * berth-policy(5) names. Signal-safe; no lock; under three kilobytes of stack.
 */
#ifndef BERTH_STEER_CLAIM_H
#define BERTH_STEER_CLAIM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "record/layout.h"
#include "record/write.h"
#include "steer/candidates.h"

struct observation;

/* IP_LOCAL_PORT_RANGE is still as a rule set it where it holds further subflows of MPTCP, and after a
 * call that never returned. To be called before a call that may choose a port: it is put back, unless
 * the socket is connected. */
void claim_restore_range(int fd);

/* A program is about to read the option, and has read it: it finds what it has set itself. What the
 * first returns is for the second. */
uint32_t claim_option_asked(int fd, int level, int option);
void claim_option_told(int fd, uint32_t range);

/* The program set IP_LOCAL_PORT_RANGE itself, or took it back: such a socket is left alone. */
void claim_option_set(int fd, int level, int option, const void *value, socklen_t size);

/* The real call, once. Returns what it returns, and sets errno as it does. */
typedef long claim_call(const void *arguments);

enum claim_outcome {
  CLAIM_NO_RULE,
  CLAIM_LEFT,      /* to the kernel, or to the port that the socket has */
  CLAIM_OFFERED,   /* the kernel took the last offer, or the call ended for another reason */
  CLAIM_EXHAUSTED, /* the call fails: no port of the set is free */
  CLAIM_FELL_BACK, /* likewise, and the rule says to let the kernel choose then */
};

/* What became of a call, kept until its event is written. */
struct claim {
  const struct active_rule *rule;
  struct candidates_flow flow;
  struct candidate offer;
  struct candidate refused; /* the last one that was; zeros: none */
  uint32_t denied;          /* candidates that bind(2) refused with EACCES, though anyone may */
  uint32_t tries;
  enum claim_outcome outcome;
  uint16_t protocol;  /* IPPROTO_* of the socket */
  sa_family_t family; /* of the sockaddr that the call was given; at bind() the socket's too */
  uint8_t via;        /* enum record_via */
  uint8_t unsteered;  /* enum record_unsteered */
  bool keeps;         /* the source address that the program has bound it to */
  bool bound;         /* the port was bound by berth */
  bool ranged;        /* IP_LOCAL_PORT_RANGE is still set, for further subflows */
  bool had_port;      /* of which no hook saw where it came from: bind() tells, EINVAL */
  bool stuck;         /* and the connection refused for it: see berth-policy(5) */
  bool forbidden;     /* a sandbox forbids what it would take to know whether to steer */
  struct candidates candidates; /* the last: claim_begin() leaves it to candidates_begin() */
};

void claim_begin(struct claim *c);

/* Each makes the call, at least once but where a rule, or BERTH_STRICT, forbids it. */
long claim_connect(struct observation *o, const struct sockaddr *peer, socklen_t size,
                   claim_call *call, const void *arguments);
long claim_sendto(struct observation *o, int flags, const struct sockaddr *peer, socklen_t size,
                  claim_call *call, const void *arguments);
long claim_sendmsg(struct observation *o, int flags, const struct msghdr *message, claim_call *call,
                   const void *arguments);
long claim_bind(struct observation *o, const struct sockaddr *asked, socklen_t size,
                claim_call *call, const void *arguments);

/* A socket whose port late_bind put off gets one now: before listen(), and before getsockname()
 * tells port 0. False, and EADDRINUSE, where a rule has none left and forbids others. */
bool claim_late_port(struct observation *o);
void claim_late_name(int fd);

/* The same before an option is set by which a program would see, or undo, that the port was put off:
 * IPV6_V6ONLY cannot be set on a socket that has one, and IP_BIND_ADDRESS_NO_PORT does nothing then. */
void claim_late_option(int fd, int level, int option);

/* POLICY_TCP (MPTCP too), POLICY_UDP, or 0 for what a policy knows nothing of. */
uint8_t claim_transport(struct observation *o);

/* Finds the rule that would have taken a call of which a sandbox let nobody ask before it. */
void claim_forbidden(struct claim *c, const struct record_event *e);

/* The port that a call which got one has, where no socket is left to be asked; 0: not known. */
uint16_t claim_certain_port(const struct claim *c);

/* Says in the event who chose, and fills in what the rule did; the event's local port is known.
 * Returns NULL where no rule took the call. */
const struct record_steering *claim_settle(struct observation *o, struct record_event *e,
                                           struct record_steering *s);

#endif
