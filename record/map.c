// SPDX-License-Identifier: MIT
#include "record/map.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "record/clock.h"
#include "record/header.h"
#include "record/sys.h"
#include "record/write.h"

struct record_process *record_row(const struct record_map *map, uint32_t process)
{
  return (void *)(map->processes + (size_t)process * RECORD_PROCESS_STRIDE);
}

/* At least 2, as a header must have it. */
static uint32_t power_of_two(uint32_t n)
{
  uint32_t p = 2;
  while (p < n)
    p <<= 1;
  return p;
}

struct plan {
  struct record_section processes, destinations, rules, events, state;
  uint64_t size;
};

static uint64_t end_of(const struct record_section *s)
{
  return s->offset + (uint64_t)s->stride * s->count;
}

static struct plan plan(struct record_shape shape)
{
  struct plan p = {
      .processes = {RECORD_HEADER_SIZE, RECORD_PROCESS_STRIDE, shape.processes},
      .destinations = {0, RECORD_DESTINATION_STRIDE, power_of_two(shape.destinations)},
      .rules = {0, RECORD_RULE_STRIDE, power_of_two(shape.rules)},
      .events = {0, RECORD_CELL_STRIDE, power_of_two(shape.events)},
      .state = {0, 1, shape.state},
  };
  p.destinations.offset = end_of(&p.processes);
  p.rules.offset = end_of(&p.destinations);
  p.events.offset = end_of(&p.rules);
  p.state.offset = end_of(&p.events);
  p.size = end_of(&p.state);
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
  map->rules = (unsigned char *)base + p->rules.offset;
  map->cells = (void *)((unsigned char *)base + p->events.offset);
  map->process_count = p->processes.count;
  map->destination_count = p->destinations.count;
  map->rule_count = p->rules.count;
  map->event_count = p->events.count;
  map->state = p->state.count ? (unsigned char *)base + p->state.offset : NULL;
  map->state_size = p->state.count;
  map->size = p->size;
  map->mount_id = 0;
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
  h->rules = p->rules;
  h->events = p->events;
  h->state = p->state;
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

/* Where a store into a block that is there may need another one: on a full disk it kills by SIGBUS,
 * whatever was allocated (btrfs_page_mkwrite() in fs/btrfs/file.c, nilfs_page_mkwrite() in
 * fs/nilfs2/file.c). */
static bool copies_on_write(int fd)
{
  const uint32_t btrfs = 0x9123683e, bcachefs = 0xca451a4e, nilfs = 0x3434;
  struct statfs64 fs;
  if (sys_statfs(fd, &fs))
    return false;
  uint32_t type = (uint32_t)fs.f_type;
  return type == btrfs || type == bcachefs || type == nilfs;
}

/* Room on the disk for all of it, or nothing. */
static int allocate(int fd, uint64_t size)
{
  if (copies_on_write(fd))
    return EOPNOTSUPP;
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

static bool refuses_lease(int fd)
{
  /* A lease is held until the file is closed; who opens it for writing just now makes the kernel
   * send a signal, so one that nobody minds. */
  sys_fcntl(fd, F_SETSIG, SIGURG);
  return sys_fcntl(fd, F_SETLEASE, F_RDLCK) != 0;
}

bool record_is_mapped(int directory, const char *name)
{
  int fd = sys_open(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
  if (fd < 0)
    return true;
  bool refused = refuses_lease(fd);
  sys_close(fd);
  return refused;
}

/* check_conflicting_open() in fs/locks.c refuses by EAGAIN; a file system without leases, and who
 * has no right to one, are told by other errors. */
enum record_use record_use(int fd)
{
  bool refused = refuses_lease(fd);
  enum record_use use = !refused          ? RECORD_UNUSED
                        : errno == EAGAIN ? RECORD_USED
                                          : RECORD_USE_UNKNOWN;
  sys_fcntl(fd, F_SETLEASE, F_UNLCK);
  return use;
}

bool record_is_mapped_still(int fd)
{
  return record_use(fd) != RECORD_UNUSED;
}

static bool is_possible(struct record_shape s)
{
  return s.processes >= 2 && s.processes <= RECORD_MAX_PROCESSES &&
         s.destinations <= RECORD_MAX_DESTINATIONS && s.rules <= RECORD_MAX_RULES &&
         s.events >= RECORD_MIN_EVENTS && s.events <= RECORD_MAX_EVENTS &&
         s.state <= RECORD_MAX_STATE;
}

int record_create(int directory, const char *name, struct record_shape shape,
                  struct record_map *map)
{
  if (!is_possible(shape))
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

void record_locate(int directory, const char *name, struct record_map *map)
{
  struct statx s;
  if (sys_stat(directory, name, &s))
    return;
  map->header->mount_id = sys_mount_id(&s);
  record_namespaces_ask(&map->header->namespaces);
}

/* The header's words, copied once, so that what was checked is what is used. */
static bool read_plan(const struct record_header *h, struct plan *p)
{
  struct record_header copy;
  memcpy(&copy, (const void *)h, sizeof copy);
  atomic_signal_fence(memory_order_seq_cst); /* no compiler reads the file's words again below */
  p->processes = copy.processes;
  p->destinations = copy.destinations;
  p->rules = copy.rules;
  p->events = copy.events;
  p->state = copy.state;
  return !record_header_problem(&copy, p->size);
}

/* The auxiliary vector spares a system call, but where the program has changed its user. */
bool record_trusts(uint32_t owner)
{
  return owner == 0 || owner == getauxval(AT_EUID) || owner == sys_geteuid();
}

static int attach(int fd, struct record_map *map)
{
  struct statx s;
  if (sys_stat(fd, "", &s))
    return errno;
  if (!record_trusts(s.stx_uid))
    return EACCES;
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
  map->mount_id = sys_mount_id(&s);
  return 0;
}

int record_attach(const char *path, struct record_map *map)
{
  /* A FIFO in its place must not hold the program up, nor a terminal become the session's. */
  int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  int fd = sys_open(AT_FDCWD, path, flags, 0);
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
