// SPDX-License-Identifier: MIT
//
// plugin.so, to be preloaded or opened: it connects in its constructor (with PLUGIN_THREAD set, in a
// thread that it starts there), when it is asked to, and with PLUGIN_LATE in its destructor.
// Its thread-local storage is TLS_SIZE bytes of the static block, with which few libraries may come
// later. As AUDIT it is one for LD_AUDIT, which sees each symbol bound.
#include <arpa/inet.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef TLS_SIZE
#define TLS_SIZE 16
#endif
static _Thread_local char storage[TLS_SIZE] __attribute__((tls_model("initial-exec")));

#ifdef AUDIT

unsigned la_version(unsigned version)
{
  return version;
}

unsigned la_objopen(struct link_map *map, Lmid_t id, uintptr_t *cookie)
{
  (void)map, (void)id, (void)cookie;
  return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

uintptr_t la_symbind64(Elf64_Sym *symbol, unsigned index, uintptr_t *from, uintptr_t *to,
                       unsigned *flags, const char *name)
{
  (void)index, (void)from, (void)to, (void)flags, (void)name;
  return symbol->st_value;
}

#else

int plugin_connect(void)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9)};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int result = connect(fd, (struct sockaddr *)&a, sizeof a);
  memset(storage, 1, sizeof storage);
  close(fd);
  return result;
}

static void *connect_often(void *unused)
{
  for (int i = 0; i < 20; i++)
    if (plugin_connect())
      abort();
  return unused;
}

static pthread_t thread;

/* Before the constructor of libberth.so, or after it. */
__attribute__((constructor)) static void construct(void)
{
  if (!getenv("PLUGIN_THREAD"))
    plugin_connect();
  else if (pthread_create(&thread, NULL, connect_often, NULL))
    abort();
}

__attribute__((destructor)) static void destruct(void)
{
  if (thread)
    pthread_join(thread, NULL);
  if (getenv("PLUGIN_LATE"))
    plugin_connect();
}

#endif
