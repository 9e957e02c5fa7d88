/* SPDX-License-Identifier: MIT
 *
 * What the observe_*.c files share: the steps from a call to its event.
 */
#ifndef BERTH_STEER_OBSERVATION_H
#define BERTH_STEER_OBSERVATION_H

#include "steer/endpoint.h"
#include "steer/observe.h"

/* Whether there is nothing to observe: nowhere to record, or a family that is not ours. */
bool observation_is_idle(int fd);

/* Starts the clocks and takes what is remembered of the descriptor. */
void observation_begin(struct observation *o, int fd);

/* Whether the socket is of ours and has no port, so that the call will choose one. Asks the
 * kernel where nobody saw the socket made, and remembers the answer. */
bool observation_lacks_port(struct observation *o);

/* IPPROTO_*, asked once at most. */
uint16_t observation_protocol(struct observation *o);

/* Whether the program chooses its ports itself, by IP_LOCAL_PORT_RANGE: asked of the kernel where
 * somebody else could have set it. */
bool observation_has_own_range(const struct observation *o);

/* Stops the clock: the first thing after the call. Returns whether the call got as far as a
 * socket, and its arguments. */
bool observation_end(struct observation *o, int error);

/* Whether, after the call, no other thread was seen to close the descriptor meanwhile. */
bool observation_is_same(const struct observation *o);

/* Remembers `d` of the descriptor after the call, if it still is the same. Where the call may have
 * blocked, what could hide another socket at the number (closed by libc itself) is left out. */
void observation_remember(const struct observation *o, struct descriptor d);

/* Whether a sockaddr of the program's may be read, after a call that ended with `error`. */
bool observation_may_read(const struct observation *o, const struct sockaddr *address,
                          socklen_t size, int error);

/* endpoint_from(), and AF_UNSPEC for AF_INET, as bind() and UDP's sends take it. */
bool observation_endpoint(struct endpoint *e, const struct sockaddr *address, socklen_t size);

/* getsockname(), after the call: false where the socket is none of AF_INET and AF_INET6, or gone.
 * Where a filter forbids to ask, what is known without: the port that a rule's only candidate was. */
bool observation_local(struct observation *o, struct endpoint *local, int error);

/* An event of the call, which has ended: `error` is 0 or its errno. */
struct record_event observation_event(const struct observation *o, enum record_call call,
                                      int error);
/* Once the transport is there: it tells what a port is. */
void observation_put_local(const struct observation *o, struct record_event *e,
                           const struct endpoint *local);
void observation_put_peer(struct record_event *e, const struct endpoint *peer);

/* Whether a connect, or a send that is one, goes on with, or ends, a connection that an earlier
 * call began. The state of the socket before it must have been asked. */
bool observation_is_repeat(const struct observation *o, int error);

/* Records the event, with what a rule did. */
void observation_write(struct observation *o, struct record_event *e);

/* Records a connect, or a send that was one, and what the descriptor is now. */
void observation_write_connect(struct observation *o, enum record_call call,
                               const struct endpoint *peer, int error);

#endif
