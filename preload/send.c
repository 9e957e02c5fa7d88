// SPDX-License-Identifier: MIT
//
// The sends that may choose a port. send() is not among them: without a destination, an
// unconnected socket sends nothing.
#include "preload/hook.h"
#include "steer/observe.h"

struct datagram {
  const struct real *real;
  int fd, flags;
  const void *data;
  size_t n;
  const struct sockaddr *peer;
  socklen_t size;
};

struct message {
  const struct real *real;
  int fd, flags;
  const struct msghdr *message;
};

struct messages {
  const struct real *real;
  int fd, flags;
  struct mmsghdr *messages;
  unsigned count;
};

static long call_sendto(const void *arguments)
{
  const struct datagram *a = arguments;
  return a->real->sendto(a->fd, a->data, a->n, a->flags, a->peer, a->size);
}

static long call_sendmsg(const void *arguments)
{
  const struct message *a = arguments;
  return a->real->sendmsg(a->fd, a->message, a->flags);
}

static long call_sendmmsg(const void *arguments)
{
  const struct messages *a = arguments;
  return a->real->sendmmsg(a->fd, a->messages, a->count, a->flags);
}

HOOK ssize_t sendto(int fd, const void *data, size_t n, int flags, const struct sockaddr *peer,
                    socklen_t size)
{
  struct observation o;
  const struct datagram a = {init(), fd, flags, data, n, peer, size};
  if (!peer || !observe_sendto_begin(&o, fd, flags, peer, size))
    return call_sendto(&a);
  ssize_t result = claim_sendto(&o, flags, peer, size, call_sendto, &a);
  observe_sendto(&o, flags, peer, size, result);
  return result;
}

HOOK ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
  struct observation o;
  const struct message a = {init(), fd, flags, message};
  if (!observe_sendmsg_begin(&o, fd, flags, message))
    return call_sendmsg(&a);
  ssize_t result = claim_sendmsg(&o, flags, message, call_sendmsg, &a);
  observe_sendmsg(&o, RECORD_SENDMSG, flags, message, result);
  return result;
}

HOOK int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
  struct observation o;
  const struct messages a = {init(), fd, flags, messages, count};
  if (!count || /* of none, nothing is read */
      !observe_sendmsg_begin(&o, fd, flags, &messages->msg_hdr))
    return (int)call_sendmmsg(&a);
  int result = (int)claim_sendmsg(&o, flags, &messages->msg_hdr, call_sendmmsg, &a);
  observe_sendmsg(&o, RECORD_SENDMMSG, flags, &messages->msg_hdr, result);
  return result;
}
