// SPDX-License-Identifier: MIT
/* own_json PORT: a program with a json_object_get() that is not jansson's, its own or (built as
 * json_c) json-c's. Connects to PORT of 127.0.0.1; prints what json_object_get() gave before and
 * after, whether the dynamic linker finds the same one, and the local port. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#ifdef WITH_JSON_C
#include <json-c/json.h>

static int ask(void)
{
  struct json_object *object = json_tokener_parse("{\"answer\": 42}"), *found = NULL;
  json_object_put(json_object_get(object)); /* there: one more reference */
  int answer = json_object_object_get_ex(object, "answer", &found) ? json_object_get_int(found) : 0;
  json_object_put(object);
  return answer;
}
#else
/* jansson's have other arguments, and are asked all the time. */
int json_object_get(int answer);
int json_object_get(int answer)
{
  return answer;
}

int json_object_iter_next(void);
int json_object_iter_next(void)
{
  abort();
}

static int ask(void)
{
  return json_object_get(42);
}
#endif

static int connected_from(const char *port)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((in_port_t)atoi(port))};
  socklen_t size = sizeof a;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, (struct sockaddr *)&a, sizeof a) || getsockname(fd, (struct sockaddr *)&a, &size))
    return 0;
  return ntohs(a.sin_port);
}

int main(int argc, char **argv)
{
  if (argc != 2)
    return 2;
  int before = ask(), port = connected_from(argv[1]);
  printf("%d %d %d %d\n", before, ask(),
         dlsym(RTLD_DEFAULT, "json_object_get") == (void *)json_object_get, port);
  return 0;
}
