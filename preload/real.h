/* SPDX-License-Identifier: MIT
 *
 * The functions that libberth.so stands in front of: the next ones in the search order, which
 * may be another preloaded library's. The only use of dlsym is in real.c.
 */
#ifndef BERTH_PRELOAD_REAL_H
#define BERTH_PRELOAD_REAL_H

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

/* REAL(return type, name, parameters) */
#define REAL_FUNCTIONS(REAL)                                                                       \
  REAL(long, syscall, (long, ...)) /* the first, for preload/syscall.S */                          \
  REAL(int, connect, (int, const struct sockaddr *, socklen_t))                                    \
  REAL(int, bind, (int, const struct sockaddr *, socklen_t))                                       \
  REAL(int, getsockname, (int, struct sockaddr *, socklen_t *))                                    \
  REAL(int, getsockopt, (int, int, int, void *, socklen_t *))                                      \
  REAL(int, setsockopt, (int, int, int, const void *, socklen_t))                                  \
  REAL(int, bindresvport, (int, struct sockaddr_in *))                                             \
  REAL(int, rresvport_af, (int *, sa_family_t))                                                    \
  REAL(int, listen, (int, int))                                                                    \
  REAL(ssize_t, sendto, (int, const void *, size_t, int, const struct sockaddr *, socklen_t))      \
  REAL(ssize_t, sendmsg, (int, const struct msghdr *, int))                                        \
  REAL(int, sendmmsg, (int, struct mmsghdr *, unsigned, int))                                      \
  REAL(int, socket, (int, int, int))                                                               \
  REAL(int, socketpair, (int, int, int, int *))                                                    \
  REAL(int, accept, (int, struct sockaddr *, socklen_t *))                                         \
  REAL(int, accept4, (int, struct sockaddr *, socklen_t *, int))                                   \
  REAL(int, close, (int))                                                                          \
  REAL(int, close_range, (unsigned, unsigned, int))                                                \
  REAL(int, dup2, (int, int))                                                                      \
  REAL(int, dup3, (int, int, int))                                                                 \
  REAL(int, execve, (const char *, char *const[], char *const[]))                                  \
  REAL(int, execv, (const char *, char *const[]))                                                  \
  REAL(int, execvp, (const char *, char *const[]))                                                 \
  REAL(int, execvpe, (const char *, char *const[], char *const[]))                                 \
  REAL(int, fexecve, (int, char *const[], char *const[]))                                          \
  REAL(int, execveat, (int, const char *, char *const[], char *const[], int))                      \
  REAL(int, setuid, (uid_t))                                                                       \
  REAL(int, seteuid, (uid_t))                                                                      \
  REAL(int, setreuid, (uid_t, uid_t))                                                              \
  REAL(int, setresuid, (uid_t, uid_t, uid_t))                                                      \
  REAL(int, unshare, (int))                                                                        \
  REAL(int, setns, (int, int))                                                                     \
  REAL(int, daemon, (int, int))                                                                    \
  REAL(int, pthread_getcpuclockid, (pthread_t, clockid_t *))                                       \
  REAL(int, prctl, (int, ...))                                                                     \
  REAL(int, vfork, (void))                                                                         \
  REAL(int, clone, (int (*)(void *), void *, int, void *, ...))                                    \
  REAL(void, _exit, (int))                                                                         \
  REAL(void, quick_exit, (int))

struct real {
#define REAL_MEMBER(type, name, parameters) type(*name) parameters;
  REAL_FUNCTIONS(REAL_MEMBER)
#undef REAL_MEMBER
};

/* dlsym(3); NULL where the program has none. Before main() alone. */
void *real_symbol(void *handle, const char *name);

/* All of them, looked up on the first call: in the constructor, or in a hook that another
 * library's constructor calls before it. NULL for one that this libc does not have (execveat
 * before glibc 2.34). Signal-safe from the constructor on. */
const struct real *real(void);

/* The same, NULL until they have been looked up: for a hook that may be called by an allocator in the
 * midst of dlsym(3). */
extern const struct real *_Atomic real_found;

#endif
