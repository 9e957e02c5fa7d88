// SPDX-License-Identifier: MIT
//
// The sends that may choose a port. send() is not among them: without a destination, an
// unconnected socket sends nothing.
#include "preload/hook.h"
#include "steer/observe.h"

HOOK ssize_t sendto(int fd, const void *data, size_t n, int flags, const struct sockaddr *peer,
                    socklen_t size)
{
  struct observation o;
  const struct real *real = init();
  if (!peer || !observe_send_begin(&o, fd, flags))
    return real->sendto(fd, data, n, flags, peer, size);
  ssize_t result = real->sendto(fd, data, n, flags, peer, size);
  observe_sendto(&o, flags, peer, size, result);
  return result;
}

HOOK ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
  struct observation o;
  const struct real *real = init();
  if (!observe_send_begin(&o, fd, flags))
    return real->sendmsg(fd, message, flags);
  ssize_t result = real->sendmsg(fd, message, flags);
  observe_sendmsg(&o, RECORD_SENDMSG, flags, message, result);
  return result;
}

HOOK int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
  struct observation o;
  const struct real *real = init();
  if (!observe_send_begin(&o, fd, flags))
    return real->sendmmsg(fd, messages, count, flags);
  int result = real->sendmmsg(fd, messages, count, flags);
  if (result != 0) /* 0: there were none, and nothing of them was read */
    observe_sendmsg(&o, RECORD_SENDMMSG, flags, &messages->msg_hdr, result);
  return result;
}
