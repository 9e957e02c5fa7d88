// SPDX-License-Identifier: MIT
#include "simulate/algorithm.h"

#include <string.h>

/* Measured on Linux 6.18: the kernel's scan of one port, and a connect() that is refused the one
 * port that it asks for by IP_LOCAL_PORT_RANGE. */
#define SCAN_NS 28
#define TRY_NS 1000

#define ORDER(order_value, order_name, other_name, sentence)                                       \
  {                                                                                                \
    .order = (order_value), .name = (order_name), .alias = (other_name), .rule = (sentence)        \
  }

const struct algorithm algorithms[] = {
    {.model = &model_3_10},
    {.model = &model_4_2},
    {.model = &model_4_6},
    {.model = &model_5_12},
    {.model = &model_5_18},
    {.model = &model_6_8},
    {.model = &model_7_1},
    {.model = &model_bind, .to_all = true},
    {.model = &model_udp, .to_all = true},
    ORDER(POLICY_RANDOM_START, "random-start", "rfc6056-1",
          "a random start, then each port in turn"),
    ORDER(POLICY_RANDOM, "random", "rfc6056-2", "a random port at each try"),
    ORDER(POLICY_HASH, "hash", "rfc6056-3", "from a hash of the connection on, by one counter"),
    ORDER(POLICY_DOUBLE_HASH, "double-hash", "rfc6056-4",
          "as hash, by a counter of 256 that another hash picks"),
    ORDER(POLICY_RANDOM_INCREMENT, "random-increment", "rfc6056-5",
          "a random step on from the port used last"),
    ORDER(POLICY_SEQUENTIAL, "sequential", NULL, "the port after the one used last"),
    ORDER(POLICY_LEAST_RECENT, "least-recent", NULL, "the port unused for longest"),
};

int algorithm_count(void)
{
  return sizeof algorithms / sizeof *algorithms;
}

const struct algorithm *algorithm_find(const char *name)
{
  for (int i = 0; i < algorithm_count(); i++) {
    const struct algorithm *a = &algorithms[i];
    if (strcmp(name, algorithm_name(a)) == 0 || (a->alias && strcmp(name, a->alias) == 0))
      return a;
  }
  return NULL;
}

const char *algorithm_name(const struct algorithm *a)
{
  return a->model ? a->model->name : a->name;
}

const char *algorithm_rule(const struct algorithm *a)
{
  return a->model ? a->model->rule : a->rule;
}

/* bind() to port 0 says EADDRINUSE, and UDP's connect() and send EAGAIN. */
const char *algorithm_error(const struct algorithm *a)
{
  if (a->model == &model_bind)
    return "EADDRINUSE";
  return a->model == &model_udp ? "EAGAIN" : "EADDRNOTAVAIL";
}

uint32_t algorithm_look_ns(const struct algorithm *a)
{
  return a->model ? SCAN_NS : TRY_NS;
}
