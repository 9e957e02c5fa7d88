/* SPDX-License-Identifier: MIT
 *
 * The policy of this process: loaded once, before main(), constant afterwards but for what its
 * rules remember (policy/state.h).
 */
#ifndef BERTH_STEER_RULES_H
#define BERTH_STEER_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/image.h"
#include "policy/match.h"
#include "policy/set.h"
#include "policy/state.h"

/* A rule that is for this program, on this machine. */
struct active_rule {
  const struct policy_rule *rule;
  const char *name;
  uint32_t number; /* in the image */
  struct port_set set;
  struct order_state order;
};

/* Compiles a JSON policy; NULL, or what is wrong. Given from outside, because jansson is never
 * part of a program: see preload/loader.h. `free_image` takes what it returned. */
struct rules_loader {
  void *(*load)(const char *json, size_t size, size_t *image_size, char *problem,
                size_t problem_size);
  void (*free_image)(void *image);
};

/* Loads the policy, as read_image() takes it, for a program of this name. Returns NULL, or what is
 * wrong, in words for people that last until the next call. Allocates by mmap(2) alone. */
const char *rules_load(const char *policy, const char *executed, const struct rules_loader *loader);

/* Every call that a policy could steer is to fail (BERTH_STRICT). */
void rules_refuse(void);

/* The rules' memory in a recording, if it is there for this policy; otherwise the process keeps its
 * own. To be called after rules_load(), before any claim. */
void rules_share(void *state, size_t size);

/* From here on the hooks see the rules: to be called when all of the above is done. */
void rules_begin(void);

/* Whether there is anything for a hook to steer: the only question an observer asks. */
bool rules_any(void);
bool rules_refused(void);

/* The policy is to be kept at any price: what a sandbox keeps from being steered is refused. */
void rules_be_strict(void);
bool rules_strict(void);
bool rules_bind_late(void);
uint32_t rules_count(void);  /* in the policy, whichever program they are for */
uint32_t rules_active(void); /* for this one */

/* The machine's range is known, and the kernel has IP_LOCAL_PORT_RANGE. */
bool rules_have_range(void);

/* The rule that takes the connection, or a bind to port 0; NULL for none. Signal-safe. */
const struct active_rule *rules_match(const struct policy_connection *c);
const struct active_rule *rules_match_bind(uint8_t transport);

/* The rule of this number in the image; NULL where it is not for this program. Signal-safe. */
const struct active_rule *rules_numbered(uint32_t number);

const struct policy_machine *rules_machine(void);
const policy_image *rules_image(void);
const struct policy_state *rules_state(void);

#endif
