// SPDX-License-Identifier: MIT
//
// What makes a process somebody else to a reader of its recording: another user, other namespaces.
#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "preload/hook.h"
#include "steer/identity.h"
#include "steer/range.h"

/* The effective user after a call that succeeded is known from its arguments. */
static int became(int result, uid_t effective)
{
  int error = errno;
  if (result == 0 && effective != (uid_t)-1)
    identity_user(effective);
  errno = error;
  return result;
}

HOOK int setuid(uid_t user)
{
  return became(init()->setuid(user), user);
}

HOOK int seteuid(uid_t effective)
{
  return became(init()->seteuid(effective), effective);
}

HOOK int setreuid(uid_t user, uid_t effective)
{
  return became(init()->setreuid(user, effective), effective);
}

HOOK int setresuid(uid_t user, uid_t effective, uid_t saved)
{
  return became(init()->setresuid(user, effective, saved), effective);
}

static int moved(int result)
{
  int error = errno;
  if (result == 0) {
    identity_moved();
    range_moved();
  }
  errno = error;
  return result;
}

HOOK int unshare(int what)
{
  int result = init()->unshare(what);
  return what & (CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS) ? moved(result) : result;
}

HOOK int setns(int fd, int what)
{
  return moved(init()->setns(fd, what));
}
