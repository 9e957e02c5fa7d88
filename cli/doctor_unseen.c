// SPDX-License-Identifier: MIT
#include "cli/doctor.h"

static const struct unseen choices = {
    "choices",
    "failed choices of a port, which the kernel does not count; connections that came and "
    "went; ports that a bind() holds once the socket is connected or closed"};
static const struct unseen bound = {
    "bound_sockets",
    "sockets that are bound and neither connected nor listening: this kernel does not list them "
    "(Linux does since 6.8), so that ports which they take, and a program that binds to port 0 and "
    "does not connect, are not found"};
static const struct unseen perhaps_bound = {
    "bound_sockets", "whether this kernel lists sockets that are bound and neither connected nor "
                     "listening: no socket could be bound to try"};
static const struct unseen features = {
    "features", "what this kernel can do (no network namespace could be made to try)"};
static const struct unseen range = {
    "range", "ip_local_port_range cannot be read; the range that Linux begins with is taken"};
static const struct unseen conntrack = {"conntrack", "conntrack"};

bool doctor_sees_bound(const struct diagnosis *d)
{
  return d->features.bound_sockets_listed > 0;
}

size_t doctor_unseen(const struct diagnosis *d, const struct unseen *list[DOCTOR_UNSEEN])
{
  size_t count = 0;
  list[count++] = &choices;
  if (!d->features.known)
    list[count++] = &features;
  if (!doctor_sees_bound(d))
    list[count++] = d->features.bound_sockets_listed < 0 ? &perhaps_bound : &bound;
  if (!d->view.settings.seen)
    list[count++] = &range;
  if (d->view.settings.conntrack_max < 0)
    list[count++] = &conntrack;
  return count;
}
