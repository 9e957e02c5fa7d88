// SPDX-License-Identifier: MIT
#include "steer/seal.h"

#include <errno.h>
#include <linux/filter.h>
#include <string.h>

#include "gate/gate.h"
#include "steer/memory.h"
#include "steer/recorder.h"

static struct gate_filter *begin(const struct sock_fprog *filter)
{
  struct sock_fprog f;
  if (!filter) {
    recorder_prepare(NULL);
    return gate_keep_strict();
  }
  enum memory answer = memory_ask_all(filter, sizeof *filter);
  if (answer == MEMORY_READABLE) {
    memcpy(&f, (const void *)filter, sizeof f);
    if (!f.len || f.len > BPF_MAXINSNS)
      return NULL;
    answer = memory_ask_all(f.filter, f.len * sizeof *f.filter);
  }
  if (answer == MEMORY_UNREADABLE)
    return NULL;
  if (answer == MEMORY_UNKNOWN)
    return gate_keep_unknown();
  recorder_prepare(&f);
  return gate_keep(&f);
}

struct gate_filter *seal_begin(const struct sock_fprog *filter)
{
  int error = errno;
  struct gate_filter *kept = begin(filter);
  errno = error;
  return kept;
}

void seal_failed(struct gate_filter *kept)
{
  int error = errno;
  if (kept)
    gate_drop(kept);
  errno = error;
}
