/* SPDX-License-Identifier: MIT
 *
 * What a call did, asked after it: the local port, the protocol, who chose. Each hook calls
 * observe_begin() before the real call and its observe_*() after it, with the result, errno as
 * the real call left it. An observe function leaves errno alone. All are signal-safe.
 *
 * System calls that an observed connect makes: getsockname, and SO_PROTOCOL where nobody saw the
 * socket made; one more to look at the program's sockaddr where the call failed or took 10 ms; one
 * more before it (TCP_INFO) where an earlier connect on the descriptor was not seen to end. None
 * for other families.
 */
#ifndef BERTH_STEER_OBSERVE_H
#define BERTH_STEER_OBSERVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "record/layout.h"
#include "steer/claim.h"
#include "steer/descriptor.h"
#include "steer/endpoint.h"

struct observation {
  int fd;
  int error;                   /* errno before the call, put back after it */
  uint64_t time, began, ended; /* CLOCK_REALTIME, then CLOCK_MONOTONIC */
  struct descriptor before;
  bool forbidden;        /* a filter forbids to ask for the local port */
  bool fresh;            /* nothing but socket(2) was done with it, as far as one remembers */
  uint16_t protocol;     /* observation_protocol()'s, once asked; 0: not yet */
  struct endpoint local; /* once observation_lacks_port() has asked */
  int state;             /* TCP's before a connect, where one was not seen to end; -1: not asked */
  struct claim claim;
};

/* Each returns whether the call is to be observed. If not, nothing but the real call is to be
 * made, and nothing called after it. */
bool observe_connect_begin(struct observation *o, int fd);
bool observe_bind_begin(struct observation *o, int fd);
bool observe_listen_begin(struct observation *o, int fd);
bool observe_sendto_begin(struct observation *o, int fd, int flags, const struct sockaddr *peer,
                          socklen_t size);
bool observe_sendmsg_begin(struct observation *o, int fd, int flags, const struct msghdr *message);

void observe_connect(struct observation *o, const struct sockaddr *peer, socklen_t size,
                     int result);
void observe_bind(struct observation *o, const struct sockaddr *asked, socklen_t size, int result);
void observe_listen(struct observation *o, int result);

/* A function of libc's that bound the socket: bindresvport(3). `fd` may be one that it has made, of
 * which nothing was known when the observation began. A failure is no event. */
void observe_reserved(struct observation *o, int fd, int result);

/* `call` is RECORD_SENDTO, SENDMSG or SENDMMSG; `flags` those of the call; `result` what it
 * returned: negative for failure. */
void observe_sendto(struct observation *o, int flags, const struct sockaddr *peer, socklen_t size,
                    ssize_t result);
void observe_sendmsg(struct observation *o, enum record_call call, int flags,
                     const struct msghdr *message, ssize_t result);

#endif
