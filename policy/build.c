// SPDX-License-Identifier: MIT
#include "policy/build.h"

#include <stdlib.h>
#include <string.h>

#include "policy/image.h"

void policy_draft_reset(struct policy_draft *d)
{
  struct list *const lists[] = {&d->globs, &d->destinations, &d->ipv4,
                                &d->ipv6,  &d->ports,        &d->except};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
    lists[i]->size = 0;
  d->name[0] = '\0';
  d->rule = (struct policy_rule){
      .mod_of = 1, .transports = POLICY_TCP | POLICY_UDP, .order = POLICY_RANDOM};
}

void policy_draft_free(struct policy_draft *d)
{
  list_free(&d->globs);
  list_free(&d->destinations);
  list_free(&d->ipv4);
  list_free(&d->ipv6);
  list_free(&d->ports);
  list_free(&d->except);
}

void policy_build_free(struct policy_build *b)
{
  list_free(&b->rules);
  list_free(&b->destinations);
  list_free(&b->addresses);
  list_free(&b->ports);
  list_free(&b->programs);
  list_free(&b->names);
  list_free(&b->globs);
}

/* Appends `count` items, and returns their span. */
static struct policy_span append(struct list *to, const struct list *items, size_t each)
{
  size_t count = items->size / each;
  struct policy_span span = {count ? (uint32_t)(to->size / each) : 0, (uint32_t)count};
  list_add(to, items->bytes, items->size);
  to->failed |= items->failed;
  return span;
}

/* Offsets are within the globs: the names come before them. */
static struct policy_span append_globs(struct policy_build *b, const struct list *globs)
{
  const char *text = globs->bytes;
  uint32_t first = (uint32_t)LIST_COUNT(&b->programs, uint32_t), count = 0;
  for (size_t at = 0; at < globs->size; at += strlen(text + at) + 1, count++) {
    uint32_t offset = (uint32_t)(b->globs.size + at);
    list_add(&b->programs, &offset, sizeof offset);
  }
  list_add(&b->globs, text, globs->size);
  b->globs.failed |= globs->failed;
  return (struct policy_span){count ? first : 0, count};
}

static struct policy_span append_addresses(struct policy_build *b, const struct list *addresses)
{
  struct policy_span span = append(&b->addresses, addresses, sizeof(struct policy_address));
  struct policy_address *all = b->addresses.bytes;
  uint32_t before = 0;
  for (uint32_t i = 0; i < span.count && !b->addresses.failed; i++) {
    all[span.first + i].before = before;
    before += all[span.first + i].count;
  }
  return span;
}

void policy_build_rule(struct policy_build *b, const struct policy_draft *d)
{
  struct policy_rule rule = d->rule;
  rule.name = (uint32_t)b->names.size;
  list_add(&b->names, d->name, strlen(d->name) + 1);
  rule.programs = append_globs(b, &d->globs);
  rule.destinations = append(&b->destinations, &d->destinations, sizeof(struct policy_destination));
  rule.ipv4 = append_addresses(b, &d->ipv4);
  rule.ipv6 = append_addresses(b, &d->ipv6);
  rule.ports = append(&b->ports, &d->ports, sizeof(struct policy_ports));
  rule.except = append(&b->ports, &d->except, sizeof(struct policy_ports));
  list_add(&b->rules, &rule, sizeof rule);
}

void policy_build_late_bind(struct policy_build *b, const struct list *globs)
{
  b->late_bind = append_globs(b, globs);
}

/* --- the image ------------------------------------------------------------------------------ */

static size_t padded(size_t size)
{
  return (size + 7) & ~(size_t)7;
}

size_t policy_build_size(const struct policy_build *b)
{
  return sizeof(struct policy_header) + padded(b->rules.size) + padded(b->destinations.size) +
         padded(b->addresses.size) + padded(b->ports.size) + padded(b->programs.size) +
         padded(b->names.size + b->globs.size);
}

static bool failed(const struct policy_build *b)
{
  return b->rules.failed || b->destinations.failed || b->addresses.failed || b->ports.failed ||
         b->programs.failed || b->names.failed || b->globs.failed;
}

/* Copies a list to `*at` and moves that behind it. */
static struct policy_section place(char *image, size_t *at, const struct list *l, size_t each)
{
  struct policy_section section = {(uint32_t)*at, (uint32_t)(l->size / each)};
  if (l->size)
    memcpy(image + *at, l->bytes, l->size);
  *at += padded(l->size);
  return section;
}

static struct policy_section place_strings(const struct policy_build *b, char *image, size_t at)
{
  struct policy_section section = {(uint32_t)at, (uint32_t)(b->names.size + b->globs.size)};
  if (b->names.size)
    memcpy(image + at, b->names.bytes, b->names.size);
  if (b->globs.size)
    memcpy(image + at + b->names.size, b->globs.bytes, b->globs.size);
  return section;
}

void *policy_build_image(const struct policy_build *b)
{
  size_t size = policy_build_size(b), at = sizeof(struct policy_header);
  char *image = failed(b) ? NULL : calloc(1, size);
  if (!image)
    return NULL;
  struct policy_header h = {.byte_order = POLICY_BYTE_ORDER, .header_size = sizeof h, .size = size};
  memcpy(h.magic, POLICY_MAGIC, sizeof h.magic);
  h.rules = place(image, &at, &b->rules, sizeof(struct policy_rule));
  h.destinations = place(image, &at, &b->destinations, sizeof(struct policy_destination));
  h.addresses = place(image, &at, &b->addresses, sizeof(struct policy_address));
  h.ports = place(image, &at, &b->ports, sizeof(struct policy_ports));
  h.programs = place(image, &at, &b->programs, sizeof(uint32_t));
  h.strings = place_strings(b, image, at);
  h.late_bind = b->late_bind;
  uint32_t *programs = (uint32_t *)(void *)(image + h.programs.offset);
  for (uint32_t i = 0; i < h.programs.count; i++)
    programs[i] += (uint32_t)b->names.size;
  memcpy(image, &h, sizeof h);
  h.checksum = policy_image_checksum(image, size);
  memcpy(image, &h, sizeof h);
  return image;
}
