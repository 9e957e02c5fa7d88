// SPDX-License-Identifier: MIT
//
// opens LIBRARY now|lazy|deep|other: opens plugin.so (deep: with RTLD_DEEPBIND; other: in a namespace
// of its own), has it connect in a thread, closes it and connects itself. Prints what succeeded.
#include <arpa/inet.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int (*ask)(void);

static void *in_thread(void *unused)
{
  printf("plugin: %d\n", ask());
  return unused;
}

static void *open_library(const char *path, const char *how)
{
  if (strcmp(how, "other") == 0)
    return dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
  return dlopen(path, strcmp(how, "deep") == 0   ? RTLD_NOW | RTLD_DEEPBIND
                      : strcmp(how, "lazy") == 0 ? RTLD_LAZY
                                                 : RTLD_NOW);
}

static int connect_here(void)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9)};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int result = connect(fd, (struct sockaddr *)&a, sizeof a);
  close(fd);
  return result;
}

int main(int argc, char **argv)
{
  pthread_t thread;
  if (argc != 3)
    return 2;
  for (int i = 0; i < 2; i++) {
    void *library = open_library(argv[1], argv[2]), *found;
    printf("open: %d\n", library != NULL);
    if (library && (found = dlsym(library, "plugin_connect"))) {
      memcpy(&ask, &found, sizeof ask);
      pthread_create(&thread, NULL, in_thread, NULL);
      pthread_join(thread, NULL);
      printf("close: %d\n", dlclose(library));
    }
    printf("own: %d\n", connect_here());
  }
  return 0;
}
