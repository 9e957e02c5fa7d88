// SPDX-License-Identifier: MIT
#include "gate/filter.h"

#include <string.h>

/* The accumulator, the index register and the scratch memory of classic BPF
 * (Documentation/networking/filter.rst). */
struct machine {
  uint32_t a, x, memory[BPF_MEMWORDS];
};

/* False: the kernel ends the program, with the answer 0, where it divides by zero. */
static bool compute(struct machine *m, const struct sock_filter *i)
{
  uint32_t by = BPF_SRC(i->code) == BPF_X ? m->x : i->k;
  switch (BPF_OP(i->code)) {
  case BPF_ADD: m->a += by; break;
  case BPF_SUB: m->a -= by; break;
  case BPF_MUL: m->a *= by; break;
  case BPF_DIV:
    if (!by)
      return false;
    m->a /= by;
    break;
  case BPF_AND: m->a &= by; break;
  case BPF_OR: m->a |= by; break;
  case BPF_XOR: m->a ^= by; break;
  case BPF_LSH: m->a <<= by & 31; break;
  case BPF_RSH: m->a >>= by & 31; break;
  case BPF_NEG: m->a = -m->a; break;
  default: return false;
  }
  return true;
}

/* How many instructions to pass over. */
static uint32_t jump(const struct machine *m, const struct sock_filter *i)
{
  uint32_t with = BPF_SRC(i->code) == BPF_X ? m->x : i->k;
  switch (BPF_OP(i->code)) {
  case BPF_JA: return i->k;
  case BPF_JEQ: return m->a == with ? i->jt : i->jf;
  case BPF_JGT: return m->a > with ? i->jt : i->jf;
  case BPF_JGE: return m->a >= with ? i->jt : i->jf;
  case BPF_JSET: return m->a & with ? i->jt : i->jf;
  default: return UINT32_MAX; /* off the end */
  }
}

/* What BPF_LD and BPF_LDX load; seccomp has no packet, but the call. */
static uint32_t load(const struct machine *m, const struct sock_filter *i,
                     const struct seccomp_data *call)
{
  uint32_t word = 0;
  switch (BPF_MODE(i->code)) {
  case BPF_ABS:
    if (i->k <= sizeof *call - sizeof word)
      memcpy(&word, (const unsigned char *)call + i->k, sizeof word);
    return word;
  case BPF_LEN: return sizeof *call;
  case BPF_MEM: return m->memory[i->k % BPF_MEMWORDS];
  default: return i->k; /* BPF_IMM */
  }
}

uint32_t filter_run(const struct sock_filter *program, uint32_t length,
                    const struct seccomp_data *call)
{
  struct machine m = {0};
  for (uint32_t at = 0; at < length; at++) {
    const struct sock_filter *i = &program[at];
    switch (BPF_CLASS(i->code)) {
    case BPF_LD: m.a = load(&m, i, call); break;
    case BPF_LDX: m.x = load(&m, i, call); break;
    case BPF_ST: m.memory[i->k % BPF_MEMWORDS] = m.a; break;
    case BPF_STX: m.memory[i->k % BPF_MEMWORDS] = m.x; break;
    case BPF_ALU:
      if (!compute(&m, i))
        return SECCOMP_RET_KILL_THREAD;
      break;
    case BPF_JMP: {
      uint32_t over = jump(&m, i);
      if (over >= length - at)
        return SECCOMP_RET_KILL_PROCESS;
      at += over;
      break;
    }
    case BPF_RET: return BPF_RVAL(i->code) == BPF_A ? m.a : i->k;
    case BPF_MISC:
      if (BPF_MISCOP(i->code) == BPF_TAX)
        m.x = m.a;
      else
        m.a = m.x;
      break;
    }
  }
  return SECCOMP_RET_KILL_PROCESS;
}

/* Compared as signed numbers: SECCOMP_RET_KILL_PROCESS is the least. */
uint32_t filter_worse(uint32_t one, uint32_t other)
{
  int32_t a = (int32_t)(one & SECCOMP_RET_ACTION_FULL);
  int32_t b = (int32_t)(other & SECCOMP_RET_ACTION_FULL);
  return a <= b ? one : other;
}

bool filter_passes(uint32_t answer)
{
  uint32_t action = answer & SECCOMP_RET_ACTION_FULL;
  return action == SECCOMP_RET_ALLOW || action == SECCOMP_RET_LOG;
}
