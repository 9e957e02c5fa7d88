// SPDX-License-Identifier: MIT
#include "steer/candidates.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>

#include "policy/siphash.h"
#include "record/sys.h"
#include "steer/range.h"

/* From so many refusals on, what is refused is remembered for the next calls... */
#define REFUSALS_REMEMBERED 2
/* ... and from so many on, ports are offered by windows of a word of the hint. */
#define REFUSALS_SINGLY 2
/* Of an order of its own, so many candidates are offered whatever the hints say. */
#define REFUSALS_BY_ORDER 16
#define SCRATCH_SIZE (65536 / 8)

/* --- what a number stands for ---------------------------------------------------------------- */

static uint16_t port_of(const struct candidates *c, uint32_t index)
{
  return port_set_port(&c->rule->set, index);
}

/* By which of the two mechanisms a port is claimed: always the same one, because each finds a port
 * taken that the other holds. */
static uint32_t run_by_range(const struct candidates *c, uint16_t port)
{
  uint8_t via = c->rule->rule->via;
  if (c->flow->binds || c->flow->rangeless || via == POLICY_BIND)
    return 0;
  uint32_t run = range_from(port), given = policy_machine_run(rules_machine(), port);
  return via == POLICY_RANGE || run < given ? run : given;
}

static bool by_range(const struct candidates *c, uint16_t port)
{
  return run_by_range(c, port);
}

const struct route *candidates_route(struct candidates_flow *flow)
{
  uint8_t protocol = flow->transport == POLICY_UDP ? IPPROTO_UDP : IPPROTO_TCP;
  route_ask(&flow->route, flow->fd, protocol, &flow->peer, flow->local);
  return &flow->route;
}

/* A rule by range alone has no other way. */
static bool has_no_way(const struct candidates *c, uint16_t port)
{
  return c->rule->rule->via == POLICY_RANGE && !c->flow->binds && !by_range(c, port);
}

/* A connection to a port of this machine, from that very port, would connect to itself. */
static bool connects_to_itself(struct candidates *c, uint16_t port)
{
  if (port != c->flow->peer.port || c->flow->binds)
    return false;
  struct endpoint to = endpoint_reached(&c->flow->peer, c->flow->local);
  return address_is_loopback(to.address) || candidates_route(c->flow)->local;
}

static bool may_have_windows(const struct candidates *c)
{
  const struct policy_rule *rule = c->rule->rule;
  return c->rule->set.stride == 1 && !rule->rest && !c->flow->binds && rule->via != POLICY_BIND;
}

/* The numbers [index, end) are of consecutive ports, all by range, none that connects to itself;
 * at most up to `limit`. One, or an even number: of an odd one the kernel does not look at all ports
 * (__inet_hash_connect() in net/ipv4/inet_hashtables.c until 207184853dbd, Linux 6.8). */
static uint32_t stretch(struct candidates *c, uint32_t index, uint32_t limit)
{
  uint32_t end = port_set_contiguous(&c->rule->set, index);
  uint16_t port = port_of(c, index), peer = c->flow->peer.port;
  uint32_t length = (end < limit ? end : limit) - index, run = run_by_range(c, port);
  if (length > run)
    length = run;
  if (peer >= port && peer < port + length && connects_to_itself(c, peer))
    length = (uint32_t)(peer - port);
  return index + (length > 1 ? length & ~1u : length);
}

/* --- what was offered in this call ----------------------------------------------------------- */

static void note_offered(struct candidates *c, uint32_t index)
{
  if (c->offered_count == CANDIDATES_KEPT && !c->scratch) {
    void *map = sys_map(SCRATCH_SIZE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    c->scratch = map == MAP_FAILED ? NULL : map;
  }
  if (c->scratch)
    c->scratch[index / 8] |= (unsigned char)(1u << index % 8);
  else if (c->offered_count < CANDIDATES_KEPT)
    c->offered[c->offered_count++] = (uint16_t)index;
}

static bool was_offered(const struct candidates *c, uint32_t index)
{
  if (c->scratch && c->scratch[index / 8] >> index % 8 & 1)
    return true;
  for (uint32_t i = 0; i < c->offered_count; i++)
    if (c->offered[i] == index)
      return true;
  return false;
}

/* --- the names of a flow --------------------------------------------------------------------- */

/* RFC 6056's F and G, and the name of this destination's hints. */
static uint64_t flow_hash(const struct candidates_flow *flow, const uint8_t local[16],
                          uint64_t what)
{
  uint64_t words[6];
  struct endpoint to = flow->peer;
  if (!flow->binds)
    to = endpoint_reached(&flow->peer, flow->local);
  memcpy(&words[0], local, 16);
  memcpy(&words[2], to.address, 16);
  words[4] = (uint64_t)to.scope << 32 | (uint64_t)flow->transport << 16 | to.port;
  words[5] = what;
  return siphash(rules_state()->header->key, words, 6);
}

/* --- rest ------------------------------------------------------------------------------------ */

static uint64_t rest_key(uint64_t tag, uint16_t port)
{
  const uint64_t words[] = {tag, port};
  return siphash(rules_state()->header->key, words, 2);
}

static bool is_bound(const struct candidates_flow *flow)
{
  return !address_is_unspecified(flow->local);
}

/* From one source address a port rests apart from the others of a pool. What an unbound socket
 * leaves from is not known before: it heeds the rest of each address, and each heeds its. */
static void begin_rests(struct candidates *c)
{
  static const uint8_t unbound[16];
  uint64_t rule = (uint64_t)c->rule->number << 8;
  const uint8_t *local = is_bound(c->flow) ? c->flow->local : unbound;
  c->rest_tags[0] = flow_hash(c->flow, local, rule | 1);
  c->rest_tags[1] = flow_hash(c->flow, unbound, is_bound(c->flow) ? rule | 1 : rule | 2);
}

static bool is_resting(const struct candidates *c, uint16_t port)
{
  const struct rest_table *table = &rules_state()->rest;
  uint32_t rest = c->rule->rule->rest;
  return rest && !(rest_is_over(table, rest_key(c->rest_tags[0], port), c->now, rest) &&
                   rest_is_over(table, rest_key(c->rest_tags[1], port), c->now, rest));
}

/* By any address: what an unbound socket heeds, and a bound one leaves for it. */
static uint64_t rest_key_of_all(const struct candidates *c, uint16_t port)
{
  static const uint8_t unbound[16];
  return rest_key(flow_hash(c->flow, unbound, (uint64_t)c->rule->number << 8 | 2), port);
}

void candidates_withdraw(struct candidates_flow *flow)
{
  rest_take_back(&flow->resting[0]);
  rest_take_back(&flow->resting[1]);
}

bool candidates_again(struct candidates *c, const struct candidate *offer)
{
  const struct rest_table *table = &rules_state()->rest;
  uint32_t rest = c->rule->rule->rest;
  if (!rest)
    return true;
  if (is_resting(c, offer->low) ||
      !rest_take(table, rest_key(c->rest_tags[0], offer->low), c->now, rest, &c->flow->resting[0]))
    return false;
  if (is_bound(c->flow))
    rest_take(table, rest_key_of_all(c, offer->low), c->now, 0, &c->flow->resting[1]);
  return true;
}

/* The same for certain, after a call that others may have taken their own offers back during. */
static void note_given(struct candidates *c, uint16_t port)
{
  const struct rest_table *table = &rules_state()->rest;
  if (!c->rule->rule->rest)
    return;
  rest_given(table, rest_key(c->rest_tags[0], port), c->now);
  if (is_bound(c->flow))
    rest_given(table, rest_key_of_all(c, port), c->now);
  memset(c->flow->resting, 0, sizeof c->flow->resting);
}

/* --- a call ---------------------------------------------------------------------------------- */

static void begin_order(struct candidates *c)
{
  enum policy_order order = c->rule->rule->order;
  struct order_input in = {.size = c->rule->set.size, .state = &c->order};
  if (order == POLICY_HASH || order == POLICY_DOUBLE_HASH) {
    in.flow = flow_hash(c->flow, c->flow->local, 1);
    in.other_flow = flow_hash(c->flow, c->flow->local, 2);
  }
  if (order != POLICY_KERNEL && order != POLICY_SEQUENTIAL && order != POLICY_LEAST_RECENT)
    c->random = in.random = policy_state_draw(rules_state());
  order_begin(&c->walk, order, &in);
}

void candidates_begin(struct candidates *c, const struct active_rule *rule,
                      struct candidates_flow *flow)
{
  const struct policy_state *state = rules_state();
  c->rule = rule;
  c->flow = flow;
  c->order = rule->order;
  c->now = (uint32_t)(flow->now / 62500000);
  c->tag = flow_hash(flow, flow->local, (uint64_t)rule->number << 8) | 1;
  c->taken = taken_find(state->taken, c->tag, flow->now);
  c->given_back_first = taken_given_back(state->taken);
  c->offers = c->refused = c->cursor = c->covered = c->offered_count = 0;
  c->last_pass = false;
  c->scratch = NULL;
  if (rule->rule->rest)
    begin_rests(c);
  if (rule->set.size)
    begin_order(c);
  if (rule->set.size && rule->rule->order == POLICY_KERNEL)
    c->cursor = atomic_load_explicit(&c->order.words->next, memory_order_relaxed) % rule->set.size;
}

void candidates_end(struct candidates *c)
{
  void *scratch = c->scratch;
  c->scratch = NULL;
  if (scratch)
    sys_unmap(scratch, SCRATCH_SIZE);
}

static void one(const struct candidates *c, uint32_t index, struct candidate *offer)
{
  offer->low = offer->high = port_of(c, index);
  offer->index = index;
  offer->count = 1;
  offer->by_range = by_range(c, offer->low);
}

static void window(const struct candidates *c, uint32_t first, uint32_t end,
                   struct candidate *offer)
{
  one(c, first, offer);
  offer->high = port_of(c, end - 1);
  offer->count = end - first;
}

/* Orders that say which port comes next are overridden by a hint, which may be stale, only where
 * most ports are taken anyway. */
static bool heeds_hints(const struct candidates *c)
{
  uint8_t order = c->rule->rule->order;
  return c->refused >= REFUSALS_BY_ORDER || order == POLICY_KERNEL || order == POLICY_RANDOM ||
         order == POLICY_RANDOM_START;
}

static bool is_put_off(const struct candidates *c, uint32_t index)
{
  return c->taken && heeds_hints(c) && taken_test(c->taken, index);
}

static bool is_left_out(struct candidates *c, uint32_t index)
{
  uint16_t port = port_of(c, index);
  return has_no_way(c, port) || connects_to_itself(c, port) || is_resting(c, port);
}

/* order `kernel`: from where the last call came to on, a word at a time; the kernel picks. */
static bool next_for_kernel(struct candidates *c, struct candidate *offer)
{
  uint32_t size = c->rule->set.size;
  while (c->covered < size + TAKEN_WINDOW) {
    uint32_t from = c->cursor % size, at = from, width;
    if (c->taken)
      at = taken_next_window(c->taken, size, from, &width);
    if (at >= size)
      return false;
    if (at / TAKEN_WINDOW != from / TAKEN_WINDOW)
      c->covered += (at + size - from) % size;
    uint32_t end = stretch(c, at, at / TAKEN_WINDOW * TAKEN_WINDOW + TAKEN_WINDOW);
    uint32_t taken = end > at ? end - at : 1;
    c->cursor = at + taken;
    c->covered += taken;
    if (taken > 1) {
      window(c, at, end, offer);
      return true;
    }
    if (!is_left_out(c, at) && !was_offered(c, at)) {
      one(c, at, offer);
      return true;
    }
  }
  return false;
}

/* A number that is not put off, uniformly: by the walk while that finds one soon, else by counting
 * those that are left. */
static bool draw(struct candidates *c, uint32_t *index)
{
  bool may_count = c->rule->rule->order == POLICY_RANDOM && !c->rule->rule->rest;
  for (int tries = 0; order_next(&c->walk, index); tries++) {
    if (!is_put_off(c, *index) && !is_left_out(c, *index) && !was_offered(c, *index))
      return true;
    if (c->taken && may_count && tries == 16)
      break;
  }
  if (!c->taken || !may_count)
    return false;
  uint32_t left = taken_free_count(c->taken, c->rule->set.size);
  for (uint32_t tries = 0; left && tries < TAKEN_WINDOW; tries++) {
    c->random = c->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    *index = taken_nth_free(c->taken, c->rule->set.size, (uint32_t)(c->random >> 33) % left);
    if (*index < c->rule->set.size && !is_left_out(c, *index) && !was_offered(c, *index))
      return true;
  }
  return false;
}

/* The window of `index`'s word, whole if that can be. */
static void widen(struct candidates *c, uint32_t index, struct candidate *offer)
{
  uint32_t word = index / TAKEN_WINDOW * TAKEN_WINDOW, end = stretch(c, word, word + TAKEN_WINDOW);
  if (end > index)
    window(c, word, end, offer);
  else if ((end = stretch(c, index, word + TAKEN_WINDOW)) > index)
    window(c, index, end, offer);
}

static bool next_hinted(struct candidates *c, struct candidate *offer)
{
  uint32_t index;
  uint8_t order = c->rule->rule->order;
  if (order == POLICY_KERNEL && may_have_windows(c))
    return next_for_kernel(c, offer);
  if (!draw(c, &index))
    return false;
  one(c, index, offer);
  bool widens = order == POLICY_RANDOM && c->refused >= REFUSALS_SINGLY && may_have_windows(c);
  if (widens)
    widen(c, index, offer);
  return true;
}

/* Nothing is left to be found in this window: each of its ports was offered singly. */
static bool all_offered(const struct candidates *c, uint32_t index, uint32_t end)
{
  if (end - index > c->offers)
    return false;
  while (index < end && was_offered(c, index))
    index++;
  return index == end;
}

/* All that the hints left out, in the order of the ports. */
static bool next_of_rest(struct candidates *c, struct candidate *offer)
{
  uint32_t size = c->rule->set.size;
  while (c->cursor < size) {
    uint32_t at = c->cursor;
    uint32_t end = may_have_windows(c) && !c->rule->rule->tries ? stretch(c, at, size) : at;
    c->cursor = end > at ? end : at + 1;
    if (end > at + 1 && !all_offered(c, at, end)) {
      window(c, at, end, offer);
      return true;
    }
    if (end <= at + 1 && !was_offered(c, at) && !is_left_out(c, at)) {
      one(c, at, offer);
      return true;
    }
  }
  return false;
}

static void end_hints(struct candidates *c)
{
  if (!c->last_pass)
    c->cursor = 0;
  c->last_pass = true;
}

static bool next(struct candidates *c, struct candidate *offer)
{
  uint32_t tries = c->rule->rule->tries;
  if (!c->rule->set.size || (tries && c->offers >= tries))
    return false;
  /* As many offers as ports: somebody unsets what this call notes. The last pass has an end. */
  if (c->offers >= c->rule->set.size + TAKEN_WINDOW)
    end_hints(c);
  bool found = !c->last_pass && next_hinted(c, offer);
  if (!found) {
    end_hints(c);
    found = next_of_rest(c, offer);
  }
  if (found && offer->count == 1)
    note_offered(c, offer->index);
  return found;
}

bool candidates_next(struct candidates *c, struct candidate *offer)
{
  do {
    if (!next(c, offer))
      return false;
  } while (!candidates_again(c, offer));
  c->offers++;
  c->given_back = taken_given_back(rules_state()->taken);
  return true;
}

/* --- what became of it ----------------------------------------------------------------------- */

/* All that was offered before the number `last`. */
static void remember(struct candidates *c, uint32_t last)
{
  const struct policy_state *state = rules_state();
  c->taken = taken_make(state->taken, c->tag, c->flow->now);
  for (uint32_t i = 0; c->taken && i < c->offered_count; i++)
    if (c->offered[i] != last)
      taken_refused(state->taken, c->taken, c->offered[i], 1, c->given_back_first);
}

void candidates_refused(struct candidates *c, const struct candidate *offer)
{
  c->refused++;
  candidates_withdraw(c->flow);
  if (!c->taken && (offer->count > 1 || c->refused >= REFUSALS_REMEMBERED))
    remember(c, offer->index);
  if (c->taken)
    taken_refused(rules_state()->taken, c->taken, offer->index, offer->count, c->given_back);
}

/* By what the kernel sees, whether the socket is bound or not. */
static uint64_t tag_of_tuples(const struct candidates *c, const uint8_t source[16])
{
  return flow_hash(c->flow, source, (uint64_t)c->rule->number << 8 | 3);
}

uint32_t candidates_keep(struct candidates *c, const struct candidate *offer,
                         const uint8_t source[16], uint32_t self)
{
  uint64_t tag = tag_of_tuples(c, source);
  return taken_reserve(rules_state()->taken, tag, offer->index, c->flow->now, self);
}

void candidates_let_go(struct candidates *c, const struct candidate *offer,
                       const uint8_t source[16], uint32_t thread)
{
  taken_unreserve(rules_state()->taken, tag_of_tuples(c, source), offer->index, thread);
}

bool candidates_reserve(struct candidates *c, const struct candidate *offer, bool known_free)
{
  bool noted = c->taken && taken_test(c->taken, offer->index);
  if (!c->taken)
    remember(c, offer->index);
  if (!c->taken || !taken_set(c->taken, offer->index))
    return true;
  return known_free && noted; /* a hint from before; set since then, by one who was faster */
}

/* What a descriptor holds, in one word: the rule, the number, and the end of the hint's tag. */
static uint64_t pack(uint32_t rule, uint32_t index, uint64_t tag)
{
  return (uint64_t)(rule + 1) << (16 + TAKEN_TAG_BITS) | (uint64_t)index << TAKEN_TAG_BITS |
         (tag & TAKEN_TAG_END);
}
static_assert(POLICY_MAX_RULES < 1u << (64 - 16 - TAKEN_TAG_BITS), "a rule's number has room");

uint64_t candidates_granted(struct candidates *c, uint16_t port, bool bound)
{
  uint32_t index;
  if (!port_set_index(&c->rule->set, port, &index))
    return 0;
  order_settle(&c->walk, index);
  if (!c->taken && bound)
    remember(c, index);
  if (c->taken)
    taken_set(c->taken, index);
  note_given(c, port);
  return pack(c->rule->number, index, c->tag);
}

const struct active_rule *candidates_holder(uint64_t held)
{
  return held ? rules_numbered((uint32_t)(held >> (16 + TAKEN_TAG_BITS)) - 1) : NULL;
}

const char *candidates_giver(uint64_t held)
{
  uint32_t rule = (uint32_t)(held >> (16 + TAKEN_TAG_BITS)) - 1;
  if (!held || rule >= rules_count())
    return NULL;
  return policy_string(rules_image(), policy_rule(rules_image(), rule)->name);
}

void candidates_released(uint64_t held)
{
  const struct policy_state *state = rules_state();
  uint32_t rule = (uint32_t)(held >> (16 + TAKEN_TAG_BITS)) - 1;
  uint32_t index = (uint32_t)(held >> TAKEN_TAG_BITS) & 0xffff;
  if (!held || rule >= rules_count())
    return;
  taken_give_back(state->taken, held & TAKEN_TAG_END, index);
  if (policy_rule(rules_image(), rule)->order == POLICY_LEAST_RECENT) {
    struct order_state order = policy_state_order(state, rules_image(), rule);
    order_release(&order, index);
  }
}
