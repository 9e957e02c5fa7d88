// SPDX-License-Identifier: MIT
//
// seeds FOLDER POLICY...: writes what fuzzing begins with into folders of it: policy/, the policies
// as they are; image/, their images; text/; recording/, small recordings as recording_input.h has
// them. Made anew each time, so that they are never of a layout of yesterday.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "policy/inline.h"
#include "policy/parse.h"
#include "record/write.h"
#include "recording_input.h"

static const char *folder;

static FILE *create(const char *kind, const char *name)
{
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, kind);
  HOLDS(mkdir(path, 0700) == 0 || errno == EEXIST);
  snprintf(path, sizeof path, "%s/%s/%s", folder, kind, name);
  FILE *f = fopen(path, "wb");
  HOLDS(f);
  return f;
}

static void save(const char *kind, const char *name, const void *bytes, size_t size)
{
  FILE *f = create(kind, name);
  HOLDS(fwrite(bytes, 1, size, f) == size && fclose(f) == 0);
}

/* --- policies ------------------------------------------------------------------------------- */

static void save_policy(const char *path)
{
  static char json[1 << 16];
  struct policy_problems problems;
  size_t image_size;
  const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
  FILE *f = fopen(path, "rb");
  HOLDS(f);
  size_t size = fread(json, 1, sizeof json, f);
  fclose(f);
  save("policy", name, json, size);
  void *image = policy_parse(json, size, &image_size, &problems);
  if (image) {
    char *text = malloc(policy_inline_room(image_size) + 1);
    HOLDS(text);
    text[0] = 'i';
    save("image", name, image, image_size);
    save("text", name, text, 1 + policy_inline_write(image, text + 1));
    free(text);
  }
  policy_problems_free(&problems);
  free(image);
}

/* --- texts ---------------------------------------------------------------------------------- */

static void save_texts(void)
{
  static const char *const texts[] = {
      "p443",
      "p40000-40999",
      "p1-65535",
      "d10.0.0.0/8:9042",
      "d[fd00::]/8:9042",
      "d*:9142-9144",
      "d*",
      "dfd00::1",
      "d::ffff:10.0.0.0/104",
      "a10.1.0.5",
      "afd00::/112",
      "a::ffff:192.0.2.0/120",
      "f40000-40999,41005",
      "f[fd00::]/8:9042",
      "f:443",
      "f10.0.0.0/8",
      "r40000-40999,41005\n10.1.0.5,10.1.0.16/28\n40001\nrandom\n8:3\nauto\n64\nfail\n10.0.0.0/8:1",
      "r40000-41000\n\n\nleast-recent\n\nrange\n\nkernel\n*:443\n[fd00::1]:80",
      "g*a?b[c-e]\\*\nxxaybd*",
      "gcqlsh*\ncqlsh.py",
      "g[!a-c]*[]x]\nz]",
      "s#!/usr/bin/env -S A=1 python3 -u\n",
      "s#!/bin/sh -e\n",
      "m32768\t60999\n",
      "m8080,9148-9150,1-2,65535\n",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    char name[16];
    snprintf(name, sizeof name, "%02zu", i);
    save("text", name, texts[i], strlen(texts[i]));
  }
}

/* --- recordings ----------------------------------------------------------------------------- */

static void write_head(FILE *f, unsigned reads, unsigned length, size_t at)
{
  const uint8_t head[RECORDING_STORE_HEAD] = {(uint8_t)reads,      (uint8_t)length,
                                              (uint8_t)at,         (uint8_t)(at >> 8),
                                              (uint8_t)(at >> 16), (uint8_t)(at >> 24)};
  fwrite(head, 1, sizeof head, f);
}

/* How many bytes from `at` on one store takes: up to a few zeros. */
static unsigned run_length(const uint8_t *bytes, size_t at, size_t size)
{
  unsigned length = 0, zeros = 0;
  while (at + length < size && length < 255 && zeros < 8)
    zeros = bytes[at + length++] ? 0 : zeros + 1;
  return length - zeros;
}

static void write_stores(FILE *f, const uint8_t *bytes, size_t size)
{
  write_head(f, 0, 0, size);
  for (size_t at = 0; at < size; at++) {
    unsigned length = run_length(bytes, at, size);
    if (!length)
      continue;
    write_head(f, 0, length, at);
    fwrite(bytes + at, 1, length, f);
    at += length - 1;
  }
}

/* One recording for each command, and how it changes while it is read. */
static void save_recording(const char *name, const struct record_map *map,
                           void (*change)(FILE *, const struct record_map *))
{
  for (int command = 0; command < 7; command++) {
    char numbered[64];
    snprintf(numbered, sizeof numbered, "%s-%d", name, command);
    FILE *f = create("recording", numbered);
    putc(command, f);
    write_stores(f, (const uint8_t *)map->header, map->size);
    if (change)
      change(f, map);
    HOLDS(fclose(f) == 0);
  }
}

static void shrink(FILE *f, const struct record_map *map)
{
  write_head(f, 5, 0, map->size / 2);
}

static void move_head(FILE *f, const struct record_map *map)
{
  const size_t at = offsetof(struct record_header, head);
  (void)map;
  write_head(f, 3, 2, at);
  fwrite("\377\2", 1, 2, f);
  write_head(f, 3, 2, at);
  fwrite("\3\0", 1, 2, f);
}

static void tear(FILE *f, const struct record_map *map)
{
  size_t at = (size_t)((unsigned char *)&map->cells[1] - (unsigned char *)map->header);
  write_head(f, 4, 1, at);
  putc((int)(map->cells[1].seq - 1) & 0xff, f);
}

static void write_call(const struct record_map *map, unsigned i)
{
  static const struct record_steering steered = {
      .rule = "shard-3", .tries = 2, .via = RECORD_VIA_RANGE, .claimed = true};
  static const struct record_steering left = {
      .rule = "left", .unsteered = RECORD_EXHAUSTED, .exhausted = true, .kernel = true};
  struct record_event e = {.time = UINT64_C(1700000000123456789) + i,
                           .duration = 1000u << i % 16,
                           .pid = 7 + i % 2,
                           .tid = 7,
                           .fd = i,
                           .transport = i % 3 ? IPPROTO_TCP : IPPROTO_UDP,
                           .call = (uint8_t)(i % RECORD_CALLS),
                           .result = (uint8_t)(i % RECORD_RESULTS),
                           .error = i % RECORD_RESULTS == RECORD_FAILED ? 99 : 0,
                           .chosen_by = (uint8_t)(i % RECORD_CHOOSERS),
                           .local_port = (uint16_t)(40000 + i),
                           .peer_port = 80,
                           .local = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1},
                           .peer = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};
  if (i % 5 == 4) {
    const uint8_t link_local[16] = {0xfe, 0x80, [15] = 1};
    memcpy(e.peer, link_local, 16);
    memcpy(e.local, link_local, 16);
    e.peer_scope = e.local_scope = 1;
  }
  record_write(map, i % 2, &e, i % 4 == 2 ? &steered : i % 4 == 3 ? &left : NULL);
}

static void make(struct record_map *map, unsigned events, unsigned calls)
{
  const struct record_shape shape = {3, 4, events, 4, 64};
  const struct record_identity who[] = {
      {.pid = 7,
       .parent_pid = 1,
       .created = UINT64_C(1700000000000000000),
       .name = "curl",
       .namespaces = {RECORDING_NET, RECORDING_PID, 3}},
      {.pid = 8, .parent_pid = 7, .uid = 1000, .name = "caf\xc3\xa9 \xff\033[1m\xe2\x80\xae\177"}};
  char path[4096];
  snprintf(path, sizeof path, "%s/recording.tmp", folder);
  HOLDS(record_create(AT_FDCWD, path, shape, map) == 0 && unlink(path) == 0);
  map->header->created = UINT64_C(1700000000000000000);
  memset(map->header->boot_id, '0', sizeof map->header->boot_id);
  for (unsigned i = 0; i < 2; i++) {
    record_describe(map, record_reserve(map), &who[i]);
    record_mark(map, i, i ? RECORD_REPLACED : RECORD_EXITED);
    record_row(map, i)->claimed = 1;
  }
  for (unsigned i = 0; i < calls; i++)
    write_call(map, i);
}

static void save_recordings(void)
{
  struct record_map map;
  make(&map, 16, 0);
  save_recording("bare", &map, NULL);
  record_unmap(&map);
  make(&map, 16, 12);
  save_recording("some", &map, NULL);
  save_recording("shrinks", &map, shrink);
  save_recording("jumps", &map, move_head);
  save_recording("tears", &map, tear);
  record_unmap(&map);
  make(&map, 16, 60);
  map.cells[3].seq -= 1; /* torn; and one that a lost event has left */
  map.cells[5].seq -= 2 * 16;
  record_mark(&map, 0, RECORD_RUNNING);
  save_recording("full", &map, NULL);
  record_unmap(&map);
  make(&map, 512, 10);
  map.header->head = 520; /* of writers that took an index and went no further */
  save_recording("large", &map, NULL);
  record_unmap(&map);
}

int main(int argc, char **argv)
{
  if (argc < 2)
    return 2;
  folder = argv[1];
  HOLDS(mkdir(folder, 0700) == 0 || errno == EEXIST);
  for (int i = 2; i < argc; i++)
    save_policy(argv[i]);
  save_texts();
  save_recordings();
  return 0;
}
