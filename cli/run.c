// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/beside.h"
#include "cli/child.h"
#include "cli/cli.h"
#include "cli/escaped.h"
#include "cli/follow.h"
#include "cli/inside.h"
#include "cli/killed.h"
#include "cli/preflight.h"
#include "cli/preload.h"
#include "cli/prepare.h"
#include "cli/print.h"
#include "cli/recordings.h"
#include "cli/relay.h"
#include "cli/running.h"
#include "cli/steering.h"
#include "cli/summary.h"
#include "cli/tidy.h"
#include "cli/why.h"
#include "gate/inherited.h"

static const char usage[] =
    "Usage: berth run [OPTIONS] [--] COMMAND [ARGUMENT...]\n"
    "Runs COMMAND and shows the source ports of all that it starts, live on stderr.\n\n"
    "  -o, --output FILE   lines to FILE instead\n"
    "  -q, --quiet         no lines\n"
    "  -Z, --failed-only   only calls that failed\n"
    "      --json          JSON Lines\n"
    "  -c, --summary-only  statistics a process at the end, instead of lines\n"
    "  -C, --summary       lines, and the statistics at the end\n"
    "      --record FILE   keep the recording there (else it is deleted at the end)\n"
    "      --events N      events that the recording keeps (default 65536)\n"
    "      --exec          become COMMAND, the same process: read it with `berth log`\n"
    "      --why           why each port was chosen; why none was is said anyhow\n"
    "  -f, --follow        accepted, and always so: what COMMAND starts is seen too\n"
    "  -h, --help          this text\n"
    "  -V, --version       the version\n\n"
    "Steering, by a policy or by one rule of options:\n"
    "  -P, --policy FILE   the policy: JSON, or an image of `berth compile`\n"
    "      --strict        refuse the calls of a program that cannot load the policy\n"
    "  -L, --local-ports LIST      such as 40000-40999,41005\n"
    "  -A, --local-addresses LIST  such as 10.1.0.5,10.1.0.16/28\n"
    "      --except LIST   ports to leave out\n"
    "      --order NAME    kernel, random (default), random-start, hash, double-hash,\n"
    "                      random-increment, sequential or least-recent\n"
    "      --mod OF:IS     only ports of which the remainder by OF is IS\n"
    "      --to ADDR[/LEN][:PORTS]  only connections to there; may be given again\n"
    "      --via NAME      range, bind or auto (default)\n"
    "      --tries N       candidates for one call (default: the whole set)\n"
    "      --exhausted WHAT  fail (default), or kernel: the kernel chooses then\n\n"
    "Exits as COMMAND does; 125 is a failure of berth, 126 a COMMAND that cannot be\n"
    "executed, 127 one that is not found.\n";

static const struct option long_options[] = {
    {"output", required_argument, NULL, 'o'},
    {"quiet", no_argument, NULL, 'q'},
    {"failed-only", no_argument, NULL, 'Z'},
    {"json", no_argument, NULL, 'j'},
    {"summary-only", no_argument, NULL, 'c'},
    {"summary", no_argument, NULL, 'C'},
    {"record", required_argument, NULL, 'r'},
    {"events", required_argument, NULL, 'e'},
    {"exec", no_argument, NULL, 'x'},
    {"why", no_argument, NULL, 'w'},
    {"follow", no_argument, NULL, 'f'},
    {"pid", required_argument, NULL, 'p'},
    {"policy", required_argument, NULL, 'P'},
    {"strict", no_argument, NULL, 's'},
    ONE_RULE_OPTIONS,
    COMMON_OPTIONS,
    {0},
};

/* Lines are shown within 50 ms of their event. */
#define TICK_MS 20

struct run {
  const char *output, *record;
  unsigned long events;
  bool quiet, summary, exec, strict;
  struct steering steering;
  struct printer printer;
  char path[PATH_MAX]; /* the recording's; "" where there is none */
  struct handed_policy policy;
  char library[PATH_MAX];
  char told[PATH_MAX]; /* the program of which it was said that it is not reached */
  struct follower follower;
  bool is_first; /* process 1 of its namespace: no other outlives it */
  bool to_file;  /* the output is a regular file, in which nothing stands still */
};

static void set_option(struct run *run, int c)
{
  switch (c) {
  case 'o': run->output = optarg; break;
  case 'q': run->quiet = true; break;
  case 'Z': run->printer.match.failed_only = true; break;
  case 'j': run->printer.json = true; break;
  case 'c': run->quiet = run->summary = true; break;
  case 'C': run->summary = true; break;
  case 'r': run->record = optarg; break;
  case 'w': run->printer.reason = why; break;
  case 'x': run->exec = true; break;
  case 's': run->strict = true; break;
  case 'P': run->steering.file = optarg; break;
  default: one_rule_take(&run->steering.rule, c, optarg); break;
  }
}

static bool check_options(struct run *run, int operands)
{
  bool prints = run->output || run->summary || run->printer.json || run->printer.match.failed_only;
  if (!operands)
    complain("run", "no COMMAND; `berth run -h` tells how");
  else if (run->exec && prints)
    complain("run", "--exec leaves no berth to print anything: use `berth log` or `berth stats`");
  else
    return true;
  return false;
}

static bool open_output(struct run *run)
{
  run->printer.out = stderr;
  if (!run->printer.reason)
    run->printer.reason = why_shortage;
  if (!run->output)
    return true;
  struct stat s;
  /* To its end each time, wherever that is: the file may be cut off meanwhile (logrotate(8)). */
  int fd = open(run->output, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
  run->printer.out = fd < 0 ? NULL : fdopen(fd, "a");
  if (!run->printer.out)
    complain("run", "-o: %s: %s", run->output, strerror(errno));
  run->to_file = run->printer.out && fstat(fileno(run->printer.out), &s) == 0 && S_ISREG(s.st_mode);
  return run->printer.out != NULL;
}

static bool set_policy(struct run *run)
{
  const char *recording = run->record ? "" : run->path;
  return steering_hand_over(&run->steering, "run", recording, &run->policy) &&
         (!run->policy.value || setenv("BERTH_POLICY", run->policy.value, 1) == 0) &&
         (!run->strict || setenv("BERTH_STRICT", "1", 1) == 0);
}

static bool set_asan_options(void)
{
  char *value = preload_asan_options(getenv("ASAN_OPTIONS"));
  bool set = setenv("ASAN_OPTIONS", value, 1) == 0;
  free(value);
  return set;
}

/* What BERTH_RECORD was does not matter to COMMAND: where nothing can be recorded, nothing is,
 * and the program is not told again. */
static bool set_environment(struct run *run)
{
  char *value = preload_value(getenv("LD_PRELOAD"), run->library);
  char record[PATH_MAX + 1] = "off";
  if (run->path[0])
    snprintf(record, sizeof record, "/%s", run->path); /* RECORD_PREPARED */
  bool set = setenv("LD_PRELOAD", value, 1) == 0 && setenv("BERTH_RECORD", record, 1) == 0 &&
             setenv(INHERITED_VARIABLE, INHERITED_NONE, 0) == 0 && set_asan_options() &&
             set_policy(run);
  free(value);
  return set;
}

/* Before anything is made: a policy that COMMAND would not heed is berth's failure. */
static bool look_at_command(struct run *run, char **argv)
{
  const char *named = getenv("BERTH_POLICY");
  bool steered = run->steering.image || (named && named[0]);
  return preload_library("run", run->library) && preflight(argv, run->library, steered, run->told);
}

static bool open_recording(struct run *run)
{
  struct record_reader reader;
  const char *problem = record_open(&reader, AT_FDCWD, run->path);
  if (!problem && follow_begin(&run->follower, &reader))
    return true;
  complain("run", "%s: %s", run->path, problem ? problem : strerror(ENOMEM));
  run->path[0] = '\0';
  return false;
}

/* What a machine may lack: a program is not kept from running for it. */
static bool is_lack(int error)
{
  return error == ENOSPC || error == EDQUOT || error == EFBIG || error == EROFS;
}

/* Returns false where --record names what cannot be: then COMMAND does not start. */
static bool prepare(struct run *run)
{
  int error = prepare_recording(run->record, (uint32_t)run->events, run->steering.image,
                                run->quiet && !run->summary, run->path);
  if (!error)
    return true;
  run->path[0] = '\0';
  if (run->record && !is_lack(error))
    return false;
  complain("run", "nothing is recorded");
  return true;
}

static int cannot_execute(const char *command, int error)
{
  complain("run", "%s: %s", command, strerror(error));
  return error == ENOENT || error == ENOTDIR ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE;
}

/* What was made for a COMMAND that does not run. */
static void discard(const struct run *run)
{
  prepare_release();
  steering_remove(run->path, run->policy.file);
  if (run->path[0] && !run->record)
    recording_delete(AT_FDCWD, run->path);
}

static int become(const struct run *run, char **argv)
{
  execvp(argv[0], argv);
  int error = errno;
  discard(run);
  return cannot_execute(argv[0], error);
}

/* What is not a file is told of each line when it was written: see give_up(). */
static void show_event(const struct record_event *e, const struct event_origin *origin,
                       void *context)
{
  struct run *run = context;
  print_event(e, origin, &run->printer);
  if (run->to_file)
    return;
  fflush(run->printer.out);
  beside_shown(run->follower.next + 1);
}

static void show(struct run *run)
{
  if (run->path[0] && !run->quiet) {
    follow_read(&run->follower, false, show_event, run);
    fflush(run->printer.out);
    beside_shown(run->follower.next);
  }
}

/* COMMAND has ended: events that others are just writing get their time. */
static void show_rest(struct run *run)
{
  const struct timespec patience = {.tv_nsec = RECORD_PATIENCE_MS * 1000000L};
  show(run);
  if (!run->path[0] || run->quiet || run->follower.next >= record_head(&run->follower.reader))
    return;
  nanosleep(&patience, NULL);
  follow_settle(&run->follower);
  show(run);
}

/* What others still use of what was made for COMMAND: it stays. */
struct left {
  bool policy, recording;
};

/* A process that was started with it may not have come to attach to it yet. */
static bool recording_is_handed_to_any(const struct run *run)
{
  char value[PATH_MAX + 1];
  snprintf(value, sizeof value, "/%s", run->path);
  return running_any_with("BERTH_RECORD", value);
}

static struct left put_away(const struct run *run)
{
  struct left left = {0};
  bool is_ours = run->path[0] && !run->record;
  if (run->is_first) {
    kill(-1, SIGKILL); /* as the kernel does when berth ends, a moment later: pid_namespaces(7) */
    steering_delete(run->policy.file);
    if (is_ours)
      unlink(run->path);
    return left;
  }
  left.policy = !steering_remove(run->path, run->policy.file);
  left.recording = is_ours &&
                   (recording_is_handed_to_any(run) || !recording_delete(AT_FDCWD, run->path));
  return left;
}

static void say_left(const struct run *run, struct left left)
{
  if (left.policy && !left.recording) /* with that, it is tidied */
    complain("run", "processes of COMMAND still run; their policy stays: %s", run->policy.file + 1);
  if (left.recording)
    complain("run", "processes of COMMAND still run; their recording stays: %s", run->path);
}

static void finish(struct run *run)
{
  if (!run->path[0]) {
    say_left(run, put_away(run));
    return;
  }
  show_rest(run);
  follow_say_missing(&run->follower, "run", "lines");
  if (run->summary)
    print_summary(run->printer.out, &run->follower.reader, run->printer.json);
  if (run->follower.reader.broken)
    complain("run", "%s: " BROKEN, run->path);
  if (fflush(run->printer.out) || ferror(run->printer.out))
    complain("run", "the output could not be written whole");
  follow_end(&run->follower);
  say_left(run, put_away(run));
}

/* Until COMMAND has ended. */
static void look_on(struct run *run, struct escaped *escaped)
{
  do {
    show(run);
    escaped_look(escaped);
  } while (beside_waits(TICK_MS));
  escaped_look_last(escaped);
  beside_answers(escaped_any(escaped));
}

/* The second process. */
__attribute__((noreturn)) static void report(struct run *run, pid_t command)
{
  struct escaped escaped;
  const struct handed handed = {run->policy.value, run->policy.file, run->path};
  escaped_begin(&escaped, command, run->library, run->told, &handed);
  look_on(run, &escaped);
  finish(run);
  escaped_end(&escaped);
  _exit(0);
}

/* What the second process could not say. */
struct unread {
  const struct run *run;
  uint64_t events;
  struct left left;
};

static void say_unread(const void *context)
{
  const struct unread *u = context;
  complain("run",
           "the output is not whole: for %d s nobody read it after COMMAND had ended; %llu events "
           "are not shown%s",
           BESIDE_PATIENCE_S, (unsigned long long)u->events,
           u->run->summary ? ", nor are the statistics" : "");
  say_left(u->run, u->left);
}

static uint64_t events_since(const struct run *run, uint64_t next)
{
  struct record_reader reader;
  if (run->quiet || record_open(&reader, AT_FDCWD, run->path))
    return 0;
  uint64_t head = record_head(&reader);
  record_close(&reader);
  return head > next ? head - next : 0;
}

/* Returns whether all that COMMAND started was steered, as far as it was looked at. The second
 * process is -1 where none could be made. */
static bool end_report(struct run *run, pid_t second)
{
  if (second < 0) {
    finish(run);
    return false;
  }
  struct beside_result result = beside_end();
  if (!result.whole) {
    struct unread u = {.run = run};
    u.events = run->path[0] ? events_since(run, result.next) : 0;
    u.left = put_away(run);
    beside_say(say_unread, &u);
  }
  return result.answered && !result.answer;
}

/* berth has too few descriptors to stay: COMMAND has them. Its policy is its own to load. */
static int run_alone(const struct run *run, char **argv, int error)
{
  complain("run", "nothing is recorded, nor shown: %s", strerror(error));
  prepare_release();
  if (run->path[0] && !run->record)
    unlink(run->path); /* the policy's file stays: COMMAND reads it */
  setenv("BERTH_RECORD", "off", 1);
  execvp(argv[0], argv);
  return cannot_execute(argv[0], errno);
}

static int run_beside(struct run *run, char **argv)
{
  struct child child = {0};
  int log = killed_begin();
  int error = child_start(&child, argv);
  if (error == EMFILE || error == ENFILE)
    return run_alone(run, argv, error);
  if (error) {
    prepare_release();
    finish(run);
    return cannot_execute(argv[0], error);
  }
  pid_t second = beside_begin();
  if (second == 0)
    report(run, child.pid);
  if (second < 0)
    complain("run", "the lines come at the end: no process to write them: %s", strerror(errno));
  child_wait(&child);
  prepare_release();
  const struct killed_command killed = {log, run->path, child.pid, child.status};
  if (killed_any(&killed))
    beside_say(killed_say, &killed);
  bool steered = end_report(run, second);
  relay_end();
  if (!steered && run->strict && run->policy.value && WIFEXITED(child.status) &&
      !WEXITSTATUS(child.status))
    return EXIT_RUN_TROUBLE;
  child_end_likewise(&child);
}

static bool parse_events(const char *where, const char *text, unsigned long *events)
{
  if (parse_number(text, RECORD_MIN_EVENTS, RECORD_MAX_EVENTS, events))
    return true;
  complain("run", "%s: '%s' is not a whole number from %u to %u", where, text, RECORD_MIN_EVENTS,
           RECORD_MAX_EVENTS);
  return false;
}

/* Returns false where the option, or its value, will not do. */
static bool take_option(struct run *run, int c)
{
  if (c == 'e')
    return parse_events("--events", optarg, &run->events);
  if (c == 'p') {
    complain("run",
             "-p: nothing can be preloaded into a process that already runs; `berth doctor -p %s` "
             "looks at its ports, `berth reach -p %s` whether it was preloaded",
             optarg, optarg);
    return false;
  }
  set_option(run, c);
  return true;
}

static int run_main(int argc, char **argv)
{
  static struct run run;
  const char *events = secure_getenv("BERTH_EVENTS");
  int c, status;
  if (!inside_can_run())
    return EXIT_RUN_TROUBLE;
  run.is_first = getpid() == 1;
  if (events && events[0] && !parse_events("BERTH_EVENTS", events, &run.events))
    return EXIT_RUN_TROUBLE;
  while ((c = next_option(&run_command, argc, argv, "+:o:qZcCfp:P:" ONE_RULE_SHORT COMMON_SHORT,
                          long_options, EXIT_RUN_TROUBLE, &status)) != -1) {
    if (c == OPTION_EXIT)
      return status;
    if (!take_option(&run, c))
      return EXIT_RUN_TROUBLE;
  }
  argv += optind;
  if (!check_options(&run, argc - optind) || !steering_load(&run.steering, "run"))
    return EXIT_RUN_TROUBLE;
  steering_inherit(&run.steering, secure_getenv("BERTH_POLICY"));
  if (!look_at_command(&run, argv) || !open_output(&run) || !prepare(&run))
    return EXIT_RUN_TROUBLE;
  if (run.path[0] && !run.exec)
    open_recording(&run);
  if (!set_environment(&run)) {
    discard(&run);
    return EXIT_RUN_TROUBLE;
  }
  return run.exec ? become(&run, argv) : run_beside(&run, argv);
}

const struct command run_command = {"run", run_main, "runs a program and shows its ports", usage};
