// SPDX-License-Identifier: MIT
#include "steer/rules.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>

#include "record/sys.h"
#include "record/text.h"
#include "steer/machine.h"
#include "steer/range.h"
#include "steer/read_image.h"
#include "steer/script.h"
#include "steer/socket.h"

static struct {
  const policy_image *image;
  struct policy_machine machine;
  struct port_bases bases;
  struct active_rule *active;
  uint32_t *numbers; /* of the active ones, for policy_match() */
  uint32_t count;
  bool refused, strict, binds_late;
  struct policy_state state;
} rules;

/* --- the rules of this program --------------------------------------------------------------- */

static const char *base_of(const char *path)
{
  const char *base = path;
  for (; *path; path++)
    if (*path == '/')
      base = path + 1;
  return base;
}

/* Which rules are for this program. */
static void choose(const char *executed)
{
  const policy_image *p = rules.image;
  char exe[1024], script[NAME_MAX + 1];
  long n = sys_readlink("/proc/self/exe", exe, sizeof exe - 1);
  exe[n > 0 ? n : 0] = '\0';
  script_find(p, script);
  for (uint32_t i = 0; i < policy_rule_count(p); i++) {
    struct policy_span programs = policy_rule(p, i)->programs;
    if (policy_names_program(p, programs, executed, base_of(exe)) ||
        policy_names_program(p, programs, script, ""))
      rules.numbers[rules.count++] = i;
  }
  rules.binds_late = policy_binds_late(p, executed, base_of(exe)) ||
                     policy_binds_late(p, script, "");
}

/* A base that several rules share has its runs once. */
static size_t count_runs(void)
{
  size_t runs = 0;
  for (uint32_t i = 0; i < rules.bases.count; i++)
    if (rules.bases.slots[i].used)
      runs += port_base_most_runs(&rules.bases.slots[i], &rules.machine);
  for (uint32_t i = 0; i < rules.count; i++)
    runs += port_set_most_cuts(policy_rule(rules.image, rules.numbers[i]));
  return runs;
}

static void activate(struct port_run *runs)
{
  const policy_image *p = rules.image;
  for (uint32_t i = 0; i < rules.count; i++) {
    struct active_rule *a = &rules.active[i];
    a->number = rules.numbers[i];
    a->rule = policy_rule(p, a->number);
    a->name = policy_string(p, a->rule->name);
    struct port_base *base = port_bases_find(&rules.bases, a->rule);
    if (!base->runs) {
      port_base_make(base, &rules.machine, runs);
      runs += base->run_count;
    }
    a->set = port_set_make(p, a->rule, base, runs);
    runs += a->set.cut_count;
  }
}

/* Two mappings: what the machine says and which rules there are tell how large the second is. */
static const char *set_up(const char *executed)
{
  uint32_t all = policy_rule_count(rules.image);
  size_t reserved = MACHINE_MOST_RESERVED * sizeof(struct policy_ports);
  struct bytes first, second;
  if (!bytes_get_room(&first, reserved + port_bases_size(all) + all * sizeof *rules.numbers))
    return problem_because("mmap", errno);
  rules.bases = port_bases_begin(first.at + reserved, all);
  rules.numbers = (void *)(first.at + reserved + port_bases_size(all));
  range_begin(machine_read(&rules.machine, (void *)first.at) ? &rules.machine : NULL);
  choose(executed);
  for (uint32_t i = 0; i < rules.count; i++)
    port_bases_find(&rules.bases, policy_rule(rules.image, rules.numbers[i]));
  size_t active = rules.count * sizeof *rules.active;
  if (!bytes_get_room(&second, active + count_runs() * sizeof(struct port_run) + 1))
    return problem_because("mmap", errno);
  rules.active = (void *)second.at;
  activate((void *)(second.at + active));
  return NULL;
}

/* --- what they remember ---------------------------------------------------------------------- */

/* Where the kernel has no random number yet, or the call is forbidden, the key is as unknown as
 * addresses are. */
static void draw_key(uint64_t key[2])
{
  const unsigned dont_wait = 1; /* GRND_NONBLOCK */
  key[0] = (uint64_t)(uintptr_t)&key ^ (uint64_t)sys_getpid() << 40;
  key[1] = (uint64_t)(uintptr_t)rules.image;
  SYS_CALL(SYS_getrandom, key, 2 * sizeof *key, dont_wait);
}

static const char *own_state(void)
{
  uint64_t key[2];
  size_t size = policy_state_size(rules.image);
  void *block = sys_map(size, MAP_SHARED | MAP_ANONYMOUS, -1); /* forks share it */
  if (block == MAP_FAILED)
    return problem_because("mmap", errno);
  draw_key(key);
  policy_state_begin(block, rules.image, key);
  policy_state_open(&rules.state, block, size, rules.image);
  return NULL;
}

static void hand_out_state(void)
{
  struct order_place place = {0};
  for (uint32_t i = 0; i < rules.count; i++)
    rules.active[i].order = policy_state_next_order(&rules.state, rules.image,
                                                    rules.active[i].number, &place);
}

void rules_share(void *state, size_t size)
{
  struct policy_state shared;
  if (!rules.image || !state || !policy_state_open(&shared, state, size, rules.image))
    return;
  sys_unmap(rules.state.header, policy_state_size(rules.image));
  rules.state = shared;
  hand_out_state();
}

const char *rules_load(const char *policy, const char *executed, const struct rules_loader *loader)
{
  struct bytes image;
  const char *wrong = read_image(policy, loader, &image);
  if (wrong)
    return wrong;
  rules.image = (const void *)image.at;
  wrong = set_up(executed);
  if (!wrong)
    wrong = own_state();
  if (wrong) {
    rules.image = NULL;
    rules.count = 0;
    rules.binds_late = false;
    return wrong;
  }
  hand_out_state();
  return NULL;
}

/* --- asked by the hooks ---------------------------------------------------------------------- */

void rules_refuse(void)
{
  rules.refused = true;
}

/* All above is as it stays. */
static atomic_bool ready;

void rules_begin(void)
{
  atomic_store_explicit(&ready, true, memory_order_release);
}

static bool are_ready(void)
{
  return atomic_load_explicit(&ready, memory_order_acquire);
}

bool rules_any(void)
{
  return are_ready() && (rules.count || rules.binds_late || rules.refused);
}

bool rules_refused(void)
{
  return rules.refused;
}

void rules_be_strict(void)
{
  rules.strict = true;
}

bool rules_strict(void)
{
  return rules.strict;
}

bool rules_bind_late(void)
{
  return are_ready() && rules.binds_late;
}

uint32_t rules_active(void)
{
  return rules.count;
}

bool rules_have_range(void)
{
  uint32_t value;
  socklen_t size = sizeof value;
  int fd = sys_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool have = fd >= 0 && range_is_known() &&
              sys_getsockopt(fd, IPPROTO_IP, OPTION_LOCAL_PORT_RANGE, &value, &size) == 0;
  if (fd >= 0)
    sys_close(fd);
  return have;
}

uint32_t rules_count(void)
{
  return rules.image ? policy_rule_count(rules.image) : 0;
}

/* The active rules are in the image's order. */
static const struct active_rule *active(uint32_t number)
{
  uint32_t low = 0, high = rules.count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (rules.numbers[middle] < number)
      low = middle + 1;
    else
      high = middle;
  }
  return number == POLICY_NO_RULE ? NULL : &rules.active[low];
}

const struct active_rule *rules_match(const struct policy_connection *c)
{
  return rules.count ? active(policy_match(rules.image, rules.numbers, rules.count, c)) : NULL;
}

const struct active_rule *rules_match_bind(uint8_t transport)
{
  return rules.count ? active(policy_match_bind(rules.image, rules.numbers, rules.count, transport))
                     : NULL;
}

const struct policy_machine *rules_machine(void)
{
  return &rules.machine;
}

const policy_image *rules_image(void)
{
  return rules.image;
}

const struct policy_state *rules_state(void)
{
  return &rules.state;
}

const struct active_rule *rules_numbered(uint32_t number)
{
  const struct active_rule *rule = rules.count ? active(number) : NULL;
  return rule && rule < rules.active + rules.count && rule->number == number ? rule : NULL;
}
