// SPDX-License-Identifier: MIT
#include "record/map.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "record/clock.h"
#include "record/header.h"
#include "record/sys.h"

struct record_process *record_row(const struct record_map *map, uint32_t process)
{
  return (void *)(map->processes + (size_t)process * RECORD_PROCESS_STRIDE);
}

static uint32_t power_of_two(uint32_t n)
{
  uint32_t p = 1;
  while (p < n)
    p <<= 1;
  return p;
}

struct plan {
  struct record_section processes, destinations, events;
  uint64_t size;
};

static struct plan plan(struct record_shape shape)
{
  struct plan p = {
      .processes = {RECORD_HEADER_SIZE, RECORD_PROCESS_STRIDE, shape.processes},
      .destinations = {0, RECORD_DESTINATION_STRIDE, power_of_two(shape.destinations)},
      .events = {0, RECORD_CELL_STRIDE, power_of_two(shape.events)},
  };
  p.destinations.offset = p.processes.offset + (uint64_t)p.processes.stride * p.processes.count;
  p.events.offset = p.destinations.offset + (uint64_t)p.destinations.stride * p.destinations.count;
  p.size = p.events.offset + (uint64_t)p.events.stride * p.events.count;
  return p;
}

uint64_t record_size(struct record_shape shape)
{
  return plan(shape).size;
}

static void place(struct record_map *map, void *base, const struct plan *p)
{
  map->header = base;
  map->processes = (unsigned char *)base + p->processes.offset;
  map->destinations = (unsigned char *)base + p->destinations.offset;
  map->cells = (void *)((unsigned char *)base + p->events.offset);
  map->process_count = p->processes.count;
  map->destination_count = p->destinations.count;
  map->event_count = p->events.count;
  map->size = p->size;
}

static void read_boot_id(char boot_id[36])
{
  int fd = sys_open(AT_FDCWD, "/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0)
    return;
  char id[36];
  if (sys_read(fd, id, sizeof id) == sizeof id)
    memcpy(boot_id, id, sizeof id);
  sys_close(fd);
}

static void write_header(struct record_header *h, const struct plan *p, bool shows)
{
  h->byte_order = RECORD_BYTE_ORDER;
  h->header_size = RECORD_HEADER_SIZE;
  h->file_size = p->size;
  h->processes = p->processes;
  h->destinations = p->destinations;
  h->events = p->events;
  h->created = clock_ns(CLOCK_REALTIME);
  h->flags = shows ? 0 : RECORD_HIDDEN_USE;
  read_boot_id(h->boot_id);
  memcpy(h->version, PACKAGE_VERSION, sizeof PACKAGE_VERSION);
  atomic_store_explicit(&h->magic, record_magic(), memory_order_release);
}

/* Where the file system cannot allocate. */
static int write_zeros(int fd, uint64_t size)
{
  static const char zeros[4096];
  for (uint64_t done = 0; done < size;) {
    long n = sys_write(fd, zeros, size - done < sizeof zeros ? size - done : sizeof zeros);
    if (n < 0 && errno != EINTR)
      return errno;
    done += n > 0 ? (uint64_t)n : 0;
  }
  return 0;
}

/* Room on the disk for all of it, or nothing. */
static int allocate(int fd, uint64_t size)
{
  if (sys_limit(RLIMIT_FSIZE) < size)
    return EFBIG; /* writing past it would raise SIGXFSZ */
  int tries = 16; /* a signal makes it EINTR, again and again under a storm of them */
  while (sys_allocate(fd, size)) {
    if (errno == EOPNOTSUPP || errno == ENOSYS)
      return write_zeros(fd, size);
    if (errno != EINTR || !--tries)
      return errno;
  }
  return 0;
}

static int map_file(int fd, const struct plan *p, struct record_map *map)
{
  void *base = sys_map(p->size, MAP_SHARED, fd);
  if (base == MAP_FAILED)
    return errno;
  place(map, base, p);
  return 0;
}

bool record_is_mapped(int directory, const char *name)
{
  int fd = sys_open(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
  if (fd < 0)
    return true;
  /* A lease is held until the file is closed; who opens it for writing just now makes the kernel
   * send a signal, so one that nobody minds. */
  sys_fcntl(fd, F_SETSIG, SIGURG);
  bool refused = sys_fcntl(fd, F_SETLEASE, F_RDLCK) != 0;
  sys_close(fd);
  return refused;
}

int record_create(int directory, const char *name, struct record_shape shape,
                  struct record_map *map)
{
  if (shape.processes < 2 || shape.processes > RECORD_MAX_PROCESSES ||
      shape.destinations > RECORD_MAX_DESTINATIONS || shape.events < RECORD_MIN_EVENTS ||
      shape.events > RECORD_MAX_EVENTS)
    return EINVAL;
  struct plan p = plan(shape);
  int fd = sys_open(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0)
    return errno;
  int error = allocate(fd, p.size);
  if (!error)
    error = map_file(fd, &p, map);
  sys_close(fd);
  if (!error)
    write_header(map->header, &p, record_is_mapped(directory, name));
  else
    sys_unlink(directory, name);
  return error;
}

/* The header's words, copied once, so that what was checked is what is used. */
static bool read_plan(const struct record_header *h, struct plan *p)
{
  struct record_header copy;
  memcpy(&copy, (const void *)h, sizeof copy);
  p->processes = copy.processes;
  p->destinations = copy.destinations;
  p->events = copy.events;
  return !record_header_problem(&copy, p->size);
}

static int attach(int fd, struct record_map *map)
{
  struct statx s;
  if (sys_stat(fd, "", &s))
    return errno;
  /* A file with holes could meet a full disk at any store into it. */
  if (!S_ISREG(s.stx_mode) || s.stx_size < RECORD_HEADER_SIZE || s.stx_blocks * 512 < s.stx_size)
    return EINVAL;
  struct plan p = {.size = s.stx_size};
  int error = map_file(fd, &p, map);
  if (error)
    return error;
  if (!read_plan(map->header, &p)) {
    record_unmap(map);
    return EINVAL;
  }
  place(map, map->header, &p);
  return 0;
}

int record_attach(const char *path, struct record_map *map)
{
  /* O_NONBLOCK: a FIFO in its place must not hold the program up. */
  int fd = sys_open(AT_FDCWD, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0)
    return errno;
  int error = attach(fd, map);
  sys_close(fd);
  return error;
}

void record_unmap(struct record_map *map)
{
  sys_unmap(map->header, map->size);
  map->header = NULL;
}
