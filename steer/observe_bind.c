// SPDX-License-Identifier: MIT
//
// bind(), and listen() on a socket that has no port yet.
#include <errno.h>

#include "steer/observation.h"
#include "steer/recorder.h"
#include "steer/socket.h"

bool observe_bind_begin(struct observation *o, int fd)
{
  if (observation_is_idle(fd))
    return false;
  o->error = errno;
  observation_begin(o, fd);
  return true;
}

bool observe_listen_begin(struct observation *o, int fd)
{
  if (observation_is_idle(fd))
    return false;
  o->error = errno;
  observation_begin(o, fd);
  bool chooses = observation_lacks_port(o);
  errno = o->error;
  return chooses;
}

/* `asked.port` is 0 where the kernel was to choose. */
static void write_bind(struct observation *o, const struct endpoint *asked,
                       const struct endpoint *local, int error)
{
  struct record_event e = observation_event(o, RECORD_BIND, error);
  e.transport = observation_protocol(o);
  e.chosen_by = asked->port ? RECORD_PROGRAM : RECORD_KERNEL;
  observation_put_local(o, &e, local);
  observation_put_peer(&e, asked);
  if (!error) {
    struct descriptor d = o->before;
    if (asked->port && e.local_port)
      descriptor_bound_port(e.local_port);
    d.port = local->port;
    d.portless = !local->port;
    d.flags = (uint8_t)((d.flags & DESCRIPTOR_OWN_RANGE) |
                        (address_is_unspecified(local->address) ? 0 : DESCRIPTOR_ADDRESS) |
                        (asked->port      ? DESCRIPTOR_PROGRAM
                         : o->claim.bound ? DESCRIPTOR_POLICY
                                          : 0) |
                        (local->port ? DESCRIPTOR_SETTLED : 0));
    descriptor_set(o->fd, d);
  }
  observation_write(o, &e);
}

static void bind_ended(struct observation *o, const struct sockaddr *address, socklen_t size,
                       int error)
{
  struct endpoint asked, local;
  if (!observation_end(o, error) || !observation_may_read(o, address, size, error) ||
      !observation_endpoint(&asked, address, size) || !observation_local(o, &local, error))
    return;
  if (o->forbidden && !error && asked.port)
    local = asked; /* the kernel has given what was asked for */
  write_bind(o, &asked, &local, error);
}

/* libc chose the port for the program, and does not tell which it asked for before. */
void observe_reserved(struct observation *o, int fd, int result)
{
  struct endpoint local;
  int error = errno;
  if (o->fd != fd) {
    o->fd = fd;
    o->before = descriptor_begin(fd);
  }
  if (observation_end(o, result ? error : 0) && !result && observation_local(o, &local, 0) &&
      local.port)
    write_bind(o, &local, &local, 0);
  errno = error;
}

void observe_bind(struct observation *o, const struct sockaddr *asked, socklen_t size, int result)
{
  int error = errno;
  if (result <= 0) /* as in observe_connect() */
    bind_ended(o, asked, size, result ? error : 0);
  errno = error;
}

static void listen_ended(struct observation *o, int error)
{
  struct endpoint local;
  if (!observation_end(o, error) || error == EOPNOTSUPP || error == EINVAL ||
      !observation_local(o, &local, error))
    return;
  struct record_event e = observation_event(o, RECORD_LISTEN, error);
  e.transport = observation_protocol(o);
  observation_put_local(o, &e, &local);
  if (!error) {
    struct descriptor d = o->before;
    d.port = local.port;
    d.flags = DESCRIPTOR_SETTLED | (d.flags & DESCRIPTOR_LASTING);
    descriptor_set(o->fd, d);
  }
  observation_write(o, &e);
}

void observe_listen(struct observation *o, int result)
{
  int error = errno;
  if (result <= 0)
    listen_ended(o, result ? error : 0);
  errno = error;
}
