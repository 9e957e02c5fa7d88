// SPDX-License-Identifier: MIT
#include "kernel/model_scan.h"

/* How many ports in a row, from `port` on in this step and none above `high`, are of no use; at most
 * `most`. A word of the sets at a time: where all ports are taken, each call looks at all of them. */
static uint32_t unusable(const struct model_call *c, uint32_t port, uint32_t step, uint32_t most)
{
  uint64_t wanted = step == 2 ? UINT64_C(0x5555555555555555) << port % 2 : UINT64_MAX;
  uint32_t fit = (c->high - port) / step + 1, count = fit < most ? fit : most;
  uint32_t last = port + (count - 1) * step;
  wanted &= UINT64_MAX << port % 64;
  for (uint32_t word = port / 64; word <= last / 64; word++) {
    uint64_t found = ~(c->held->words[word] | c->taken->words[word]) & wanted;
    if (found) {
      uint32_t first = word * 64 + (uint32_t)__builtin_ctzll(found);
      return first <= last ? (first - port) / step : count;
    }
    wanted = step == 2 ? UINT64_C(0x5555555555555555) << port % 2 : UINT64_MAX;
  }
  return count;
}

bool model_is_full(const struct model_call *c)
{
  uint32_t size = model_range_size(c);
  return unusable(c, c->low, 1, size) == size;
}

bool model_pass(const struct model_call *c, struct model_choice *choice, uint32_t stride,
                uint32_t *count)
{
  bool told = c->look || choice->step > 2;
  uint32_t port = c->low + choice->start, skipped;
  choice->passes++;
  for (uint32_t i = 0; i < choice->size; i += stride * skipped, port += choice->step * skipped) {
    if (port > c->high)
      port -= choice->size;
    skipped = told ? 0 : unusable(c, port, choice->step, (choice->size - i + stride - 1) / stride);
    choice->looked_at += skipped;
    if (!skipped && model_try(c, port, choice)) {
      *count = i;
      return true;
    }
    skipped += !skipped;
  }
  return false;
}

bool model_passes(const struct model_call *c, struct model_choice *choice, bool parities,
                  uint32_t *count)
{
  if (!parities)
    return model_pass(c, choice, 1, count);
  choice->start &= ~1U;
  if (model_pass(c, choice, 2, count))
    return true;
  if (choice->size == 1)
    return false;
  choice->start++;
  return model_pass(c, choice, 2, count);
}
