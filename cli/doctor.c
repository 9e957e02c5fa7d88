// SPDX-License-Identifier: MIT
#include "cli/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/look.h"
#include "cli/match.h"
#include "cli/proc.h"
#include "cli/running.h"

static const char usage[] =
    "Usage: berth doctor [OPTIONS] [ADDR:PORT]\n"
    "Reads the sockets and the settings of this network namespace, and says what its\n"
    "ports are short of, or slow for, and what to do. Changes nothing; needs no\n"
    "privilege. With ADDR:PORT, towards this destination alone.\n\n"
    "  -p, --pid PID            the network namespace that this process is in\n"
    "  -i, --interval SECONDS   look twice, and tell the rate of new connections\n"
    "      --threshold PERCENT  of the range, from which on it warns (default 80)\n"
    "      --map                draw the range, port by port\n"
    "      --json               as a JSON object\n"
    "  -h, --help               this text\n"
    "  -V, --version            the version\n\n"
    "Exits with 1 where a destination is over the threshold.\n";

enum option_value { THRESHOLD = 0x100, MAP, JSON };

static const struct option long_options[] = {
    {"pid", required_argument, NULL, 'p'},
    {"interval", required_argument, NULL, 'i'},
    {"threshold", required_argument, NULL, THRESHOLD},
    {"map", no_argument, NULL, MAP},
    {"json", no_argument, NULL, JSON},
    COMMON_OPTIONS,
    {0},
};

struct request {
  struct event_match to; /* the destination, where `has_to` */
  bool has_to, map, json;
  unsigned long pid;
  double interval, threshold;
};

/* --- reading --------------------------------------------------------------------------------- */

/* Of a process whose main thread has ended, /proc shows nothing but by another one. */
static unsigned long with_thread(unsigned long pid)
{
  pid_t thread = proc_thread((pid_t)pid);
  return thread ? (unsigned long)thread : pid;
}

/* The namespace of another process: its sockets by netlink, and its sysctls, which /proc shows to
 * whom is in it. */
static bool enter(unsigned long pid)
{
  char path[64];
  snprintf(path, sizeof path, "/proc/%lu/ns/net", with_thread(pid));
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd >= 0 && setns(fd, CLONE_NEWNET) == 0) {
    close(fd);
    return true;
  }
  complain("doctor", "the network namespace of process %lu: %s%s", pid, strerror(errno),
           errno == EPERM || errno == EACCES ? " (as root it can be entered)" : "");
  if (fd >= 0)
    close(fd);
  return false;
}

static const char *look_for_library(unsigned long pid)
{
  char path[PATH_MAX];
  int others;
  if (running_library((pid_t)with_thread(pid), path, &others))
    return "whether libberth.so is loaded cannot be seen";
  return path[0] ? "libberth.so is loaded" : "libberth.so is not loaded";
}

static bool can_see(int error)
{
  if (error)
    complain("doctor", "sock_diag(7): %s: the sockets of this namespace cannot be seen",
             strerror(error));
  return !error;
}

static bool read_view(struct doctor_view *v, double interval)
{
  v->interval = interval;
  if (interval > 0) {
    struct timespec wait = {(time_t)interval, (long)(fmod(interval, 1) * 1e9)};
    if (!can_see(look_at_sockets(&v->before)))
      return false;
    while (nanosleep(&wait, &wait) && errno == EINTR)
      ;
  }
  return can_see(look_here(v));
}

/* --- one destination ------------------------------------------------------------------------- */

static bool is_asked_for(const struct request *q, const struct destination *d)
{
  struct record_event e = {.peer_port = d->peer_port};
  memcpy(e.peer, d->peer, 16);
  return !q->has_to || event_matches(&q->to, &e);
}

static void leave_asked_for(struct destinations *d, const struct request *q)
{
  uint32_t left = 0;
  for (uint32_t i = 0; i < d->count; i++)
    if (is_asked_for(q, &d->list[i]))
      d->list[left++] = d->list[i];
  d->count = left;
}

static bool is_in_danger(const struct diagnosis *d)
{
  for (uint32_t i = 0; i < d->destinations.count; i++)
    if (destination_is_short(&d->destinations.list[i], &d->view, d->threshold))
      return true;
  return false;
}

/* --- the command ----------------------------------------------------------------------------- */

static int examine(struct diagnosis *d, const struct request *q)
{
  d->pid = q->pid;
  d->threshold = q->threshold;
  d->loaded = q->pid ? look_for_library(q->pid) : NULL;
  d->features = kernel_features_probe();
  if (q->pid && !enter(q->pid))
    return EXIT_TROUBLE;
  if (!read_view(&d->view, q->interval))
    return EXIT_TROUBLE;
  bool enough = destinations_find(&d->destinations, &d->view);
  leave_asked_for(&d->destinations, q);
  struct examination e = {&d->view, &d->destinations, q->threshold};
  findings_find(&d->findings, &e);
  if (!enough || d->findings.failed) {
    complain("doctor", "not enough memory");
    return EXIT_TROUBLE;
  }
  if (q->json)
    doctor_as_json(d);
  else
    doctor_as_text(d);
  if (q->map && !q->json)
    doctor_map(&d->view, d->destinations.count ? &d->destinations.list[0] : NULL);
  return fflush(stdout) ? EXIT_TROUBLE : is_in_danger(d) ? EXIT_NO : EXIT_YES;
}

static void forget(struct diagnosis *d)
{
  findings_free(&d->findings);
  destinations_free(&d->destinations);
  diag_free(&d->view.sockets);
  diag_free(&d->view.before);
}

static bool take_real(const char *option, const char *value, double least, double most,
                      double *number)
{
  char *end;
  *number = strtod(value, &end);
  if (end != value && !*end && *number >= least && *number <= most)
    return true;
  complain("doctor", "%s: '%s' is not a number from %g to %g", option, value, least, most);
  return false;
}

static bool take_option(struct request *q, int option, const char *value)
{
  switch (option) {
  case 'p':
    if (parse_number(value, 1, INT32_MAX, &q->pid))
      return true;
    complain("doctor", "-p: '%s' is not a process id", value);
    return false;
  case 'i': return take_real("-i", value, 0.01, 86400, &q->interval);
  case THRESHOLD: return take_real("--threshold", value, 1, 100, &q->threshold);
  case MAP: return q->map = true;
  default: return q->json = true;
  }
}

/* connect() to the unspecified address goes to loopback (ip_route_output_key_hash_rcu(),
 * tcp_v6_connect()). */
static void leads_to_loopback(struct event_match *to)
{
  static const uint8_t none[16], none_ipv4[16] = {[10] = 0xff, 0xff};
  if (!to->has_peer_address || to->peer_prefix != 128)
    return;
  if (memcmp(to->peer_address, none, 16) == 0)
    to->peer_address[15] = 1;
  else if (memcmp(to->peer_address, none_ipv4, 16) == 0)
    memcpy(to->peer_address + 12, (uint8_t[]){127, 0, 0, 1}, 4);
}

static bool take_operand(struct request *q, const char *text)
{
  const char *problem = "an address and a port, such as 10.0.0.1:443 or [fd00::1]:443";
  q->has_to = true;
  if (parse_peer(&q->to, text, &problem)) {
    leads_to_loopback(&q->to);
    return true;
  }
  complain("doctor", "'%s': %s", text, problem);
  return false;
}

static int doctor_main(int argc, char **argv)
{
  struct request q = {.threshold = 80};
  int c, status;
  while ((c = next_option(&doctor_command, argc, argv, "+:p:i:" COMMON_SHORT, long_options,
                          EXIT_TROUBLE, &status)) != -1) {
    if (c == OPTION_EXIT)
      return status;
    if (!take_option(&q, c, optarg))
      return EXIT_TROUBLE;
  }
  if (argc - optind > 1) {
    complain("doctor", "'%s': one destination is wanted", argv[optind + 1]);
    return EXIT_TROUBLE;
  }
  if (optind < argc && !take_operand(&q, argv[optind]))
    return EXIT_TROUBLE;
  struct diagnosis *d = calloc(1, sizeof *d);
  if (!d)
    abort();
  status = examine(d, &q);
  forget(d);
  free(d);
  return status;
}

const struct command doctor_command = {"doctor", doctor_main,
                                       "says what this machine's ports are short of", usage};
