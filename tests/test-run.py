# SPDX-License-Identifier: MIT
"""The command: what `berth run` is to a program, a shell and an init system, and what `log`,
`stats`, `env` and the variables do."""
import contextlib
import ctypes
import datetime
import os
import re
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import time
from unittest import mock

import berthtest
from berthtest import (BERTH, LIBBERTH, Observed, Server, Skip, berth, closed_port, equal,
                       json_lines, log_of, need, program, running, started, stats_of, wait_for)

CONNECT = " connect tcp "


def environment(**variables):
    return {**os.environ, **variables}


def traffic(server, closed):
    """A program that makes one connection and has one refused."""
    return program("""
        for port in sys.argv[1:]:
            socket().connect_ex(('127.0.0.1', int(port)))""", server.port, closed)


def run_traffic(*options, **popen):
    """`berth run` of it."""
    with Server() as server, closed_port() as closed:
        return berth("run", *options, "--", *traffic(server, closed), **popen)


# A program that connects at each line of its stdin, and says so.
STEPS = """
print(os.getpid(), flush=True)
for line in sys.stdin:
    socket().connect(('127.0.0.1', int(line)))
    print('connected', flush=True)
"""


def step(process, server):
    """Has it connect once."""
    print(server.port, file=process.stdin, flush=True)
    equal(process.stdout.readline(), "connected\n", "the program's word")


def outcomes(events):
    return [e.get("error.type", e["berth.result"]) for e in events]


# --- how it ends -----------------------------------------------------------------------------


def test_outlived_unattached():
    """a process that has not come to attach to the recording when COMMAND ends: it stays, which is said"""
    until_sleep = "while [ $(cat /proc/$!/comm) != sleep ]; do :; done"
    run = berth("run", "-q", "--", "sh", "-c", "env -u LD_PRELOAD sleep 300 >/dev/null 2>&1 & "
                f"{until_sleep}; echo $! $BERTH_RECORD")
    pid, path = run.stdout.split()
    try:
        equal(run.returncode, 0, run.stderr)
        stays, *rest = run.stderr.splitlines()  # it may also be seen that it is not reached
        equal(stays, f"berth: run: processes of COMMAND still run; their recording stays: {path[1:]}")
        assert not rest or rest[0].startswith("berth: not reached: sleep "), rest
        assert os.path.exists(path), path
    finally:
        os.kill(int(pid), signal.SIGKILL)
        os.unlink(path)


def test_exit_status():
    """the exit status is COMMAND's"""
    for status in 0, 1, 7, 125, 255:
        equal(berth("run", "--", "sh", "-c", f"exit {status}").returncode, status)


def test_death_by_signal():
    """killed by a signal: berth dies of the same"""
    for name in "KILL", "TERM", "INT", "HUP", "SEGV", "ABRT", "PIPE", "USR1":
        run = berth("run", "--", "sh", "-c", f"kill -{name} $$")
        equal((run.returncode, run.stderr), (-signal.Signals["SIG" + name], ""), name)


def refusal(status, *arguments):
    """The one line on stderr of a berth that refuses."""
    run = berth(*arguments)
    equal((run.returncode, run.stdout), (status, ""), f"{arguments}")
    line, = run.stderr.splitlines()
    assert line.startswith("berth: "), line
    return line


def test_not_found():
    """a COMMAND that is not found: 127; that cannot be executed: 126"""
    readable = mock.patch.dict(os.environ, PATH="/usr/bin:/bin")  # su may leave root's PATH
    with tempfile.NamedTemporaryFile() as file, readable:
        for option in ["-q"], ["--exec"]:
            assert "no-such-program" in refusal(127, "run", *option, "no-such-program")
            assert "/no/such" in refusal(127, "run", *option, "--", "/no/such/program")
            assert file.name in refusal(126, "run", *option, file.name)
            assert "Permission denied" in refusal(126, "run", *option, "/")


def test_own_failure():
    """berth's own failures: 125, and COMMAND is not started"""
    with tempfile.TemporaryDirectory() as folder:
        touch = ["touch", folder + "/started"]
        assert "COMMAND" in refusal(125, "run")
        assert "-o" in refusal(125, "run", "-o", "/no/such/file", *touch)
        assert "--events" in refusal(125, "run", "--events", "few", *touch)
        assert "--exec" in refusal(125, "run", "--exec", "--json", *touch)
        equal(os.listdir(folder), [], "what was started")


def test_record_that_cannot_be_made():
    """a --record that cannot be made is berth's own failure too, and harms no other file"""
    with tempfile.TemporaryDirectory() as folder:
        touch, precious = ["touch", folder + "/started"], folder + "/precious"
        with open(precious, "w") as f:
            f.write("text")
        for file in folder + "/no/such.berth", precious:
            run = berth("run", "--record", file, "--", *touch)
            equal((run.returncode, os.listdir(folder)), (125, ["precious"]), file)
            assert "--record" in run.stderr, run.stderr
        with open(precious) as f:
            equal(f.read(), "text", "the other file")


def test_unknown_option():
    """an unknown option: 125 from run, 2 from the others, and the nearest is named"""
    assert "--record" in refusal(125, "run", "--recrod", "x", "true")
    assert "-q" in refusal(125, "run", "-Q", "true")
    assert "--json" in refusal(125, "run", "--jsno", "true")
    assert "--follow" in refusal(2, "log", "--folow")
    assert "--json" in refusal(2, "stats", "--jason")
    assert "--events" in refusal(2, "env", "--event-s")
    assert "'run'" in refusal(2, "rnu")


def test_options_end_at_the_operand():
    """options end at the first operand: what follows is COMMAND's"""
    equal(berth("run", "echo", "-q", "--json", "--", "-V").stdout, "-q --json -- -V\n")


def test_help_and_version():
    """-h and -V of each command: 0, on stdout"""
    for command in [], ["run"], ["log"], ["stats"], ["env"]:
        for option, begins in ("-h", "Usage: berth"), ("--help", "Usage: berth"), \
                ("-V", "berth "), ("--version", "berth "):
            said = berth(*command, option)
            equal((said.returncode, said.stderr), (0, ""), f"{command} {option}")
            assert said.stdout.startswith(begins), said.stdout


# --- what COMMAND gets -----------------------------------------------------------------------


def test_streams():
    """stdin, stdout and stderr are COMMAND's, byte for byte"""
    data = bytes(range(256)) * 4096
    run = berth("run", "--", "sh", "-c", "cat; printf 'a\\0b' >&2", input=data, text=False)
    equal((run.stdout == data, run.stderr), (True, b"a\0b"), "streams")


def with_and_without(command, **popen):
    """What a command says under berth, and alone."""
    return [subprocess.run([*before, *command], capture_output=True, text=True, check=True,
                           **popen).stdout
            for before in ([BERTH, "run", "-q", "--"], [BERTH, "run", "--exec", "--"], [])]


def test_descriptors():
    """COMMAND inherits no descriptor of berth's, and what others left open"""
    with open(os.devnull) as null:
        for kept in (), (null.fileno(),):
            beside, instead, alone = with_and_without(program("""
                print([fd for fd in range(64) if os.path.exists('/proc/self/fd/%d' % fd)])"""),
                pass_fds=kept)
            equal((beside, instead), (alone, alone), "descriptors")


def test_signal_state():
    """COMMAND has the signal mask and the ignored signals that berth was started with"""
    for trap in "", "trap '' INT HUP USR1 CHLD PIPE; ":
        beside, instead, alone = with_and_without(
            ["sh", "-c", trap + 'exec "$@"', "sh", "grep", "^Sig[BI]", "/proc/self/status"])
        equal((beside, instead), (alone, alone), "mask and ignored")
    blocked = {signal.SIGTERM, signal.SIGUSR2, signal.SIGCHLD}
    beside, instead, alone = with_and_without(
        ["grep", "^Sig[BI]", "/proc/self/status"],
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, blocked))
    equal((beside, instead), (alone, alone), "mask and ignored, some blocked")


def library(name):
    """The file of a library."""
    ctypes.CDLL(name)
    with open("/proc/self/maps") as f:
        return next(line.split()[-1] for line in f if line.rstrip().endswith("/" + name))


def preload_under_berth(existing, *before):
    """LD_PRELOAD's entries in COMMAND, our library as 'libberth'."""
    run = subprocess.run([*before, BERTH, "run", "-q", "--", "printenv", "LD_PRELOAD"],
                         env=environment(LD_PRELOAD=existing), capture_output=True, text=True)
    equal(run.stderr, "", "stderr")
    ours = os.path.realpath(LIBBERTH)
    return ["libberth" if os.path.realpath(entry) == ours else entry
            for entry in run.stdout.rstrip("\n").split(":")]


ASAN_PROGRAM = """
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  char small[8];
  if (argc < 2)
    return 0;
  a.sin_port = htons(atoi(argv[1]));
  if (connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof a))
    return 1;
  if (argc > 2)
    memset(small, 0, strlen(argv[2]) + 8);
  return 0;
}
"""


def test_ld_preload():
    """an existing LD_PRELOAD is kept, libasan stays first, no entry is there twice"""
    with tempfile.TemporaryDirectory() as folder:
        other, asan = library("libm.so.6"), folder + "/libasan.so.8"
        os.symlink(other, asan)
        ours = os.path.realpath(LIBBERTH)
        equal(preload_under_berth(""), ["libberth"], "none before")
        equal(preload_under_berth(other), ["libberth", other], "another")
        equal(preload_under_berth(f"{other} {asan}"), [asan, "libberth", other], "libasan")
        equal(preload_under_berth(ours), ["libberth"], "ours")
        equal(preload_under_berth(f"{other}:{ours}"), ["libberth", other], "ours, later")
        equal(preload_under_berth(other, BERTH, "run", "-q", "--"), ["libberth", other], "nested")


def test_asan():
    """programs that are linked to ASan's library run, also such as COMMAND starts, and ASan finds
    what it would; ASAN_OPTIONS keeps what it says"""
    gcc, = need("gcc")
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        with open(folder + "/asan.c", "w") as f:
            f.write(ASAN_PROGRAM)
        made = subprocess.run([gcc, "-fsanitize=address", "-o", folder + "/asan",
                               folder + "/asan.c"], capture_output=True)
        if made.returncode or subprocess.run([folder + "/asan"]).returncode:
            raise Skip("no program can be linked to libasan")
        for command in [folder + "/asan", server.port], ["sh", "-c", f"{folder}/asan $1; exit", "sh",
                                                         server.port]:
            o = Observed(command)
            equal((o.process.returncode, o.process.stderr), (0, ""), f"{command}")
            equal([e["process.executable.name"] for e in o.events], ["asan"], f"{command}")
        found = berth("run", "-q", folder + "/asan", server.port, "overflow")
        assert "stack-buffer-overflow" in found.stderr, found.stderr
    for before, want in ((None, "verify_asan_link_order=0"), ("", "verify_asan_link_order=0"),
                         ("detect_leaks=0", "detect_leaks=0:verify_asan_link_order=0"),
                         ("verify_asan_link_order=1", "verify_asan_link_order=1")):
        env = environment(**({} if before is None else {"ASAN_OPTIONS": before}))
        if before is None:
            env.pop("ASAN_OPTIONS", None)
        equal(berth("run", "-q", "printenv", "ASAN_OPTIONS", env=env).stdout, want + "\n", before)


# --- signals ---------------------------------------------------------------------------------

# A program that says which signals it gets.
RELAY = """
for name in 'TERM', 'HUP', 'USR1', 'USR2', 'INT', 'QUIT':
    signal.signal(signal.Signals['SIG' + name], lambda n, _: print(n, flush=True))
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def test_same_group():
    """COMMAND runs in berth's process group"""
    with running(program(RELAY)) as (process, _):
        equal(os.getpgid(int(process.stdout.readline())), os.getpgid(process.pid), "group")


def state(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(") ")[2][0]


def test_stops_and_continues():
    """berth stops when COMMAND stops; CONT to either continues both"""
    with running(program(RELAY)) as (process, _):
        command = int(process.stdout.readline())
        for continued in process.pid, command:
            os.kill(command, signal.SIGSTOP)
            wait_for(lambda: state(process.pid) == state(command) == "T")
            os.kill(continued, signal.SIGCONT)
            wait_for(lambda: "T" not in state(process.pid) + state(command))
        equal((process.communicate()[0], process.returncode), ("", 0), "end")


def test_killed_while_stopped():
    """COMMAND killed while both are stopped: berth dies of the same"""
    with running(program(RELAY)) as (process, _):
        command = int(process.stdout.readline())
        os.kill(command, signal.SIGSTOP)
        wait_for(lambda: state(process.pid) == "T")
        os.kill(command, signal.SIGKILL)
        equal(process.wait(), -signal.SIGKILL, "exit status")


def test_berth_killed():
    """kill -9 of berth leaves COMMAND running and recorded"""
    with Server() as server, running(program(STEPS)) as (process, recording):
        command = int(process.stdout.readline())
        step(process, server)
        process.kill()
        process.wait()
        step(process, server)
        equal([e["process.pid"] for e in log_of(recording)], [command, command], "events")
        equal([row["berth.state"] for row in stats_of(recording)], ["running"], "state")


def test_pid_1():
    """as PID 1: 128+N where COMMAND is killed, its own status else; TERM is passed on"""
    init = ["unshare", "-p", "--fork", "--mount-proc", BERTH, "run", "-q", "--"]
    for end, status in ("kill -KILL $$", 137), ("kill -TERM $$", 143), ("exit 7", 7):
        equal(subprocess.run([*init, "sh", "-c", end]).returncode, status, end)
    equal(subprocess.run([*init, *program("""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.kill(1, signal.SIGTERM)
        signal.sigwait([signal.SIGTERM])
        sys.exit(9)""")]).returncode, 9, "after TERM")


def test_exec():
    """--exec keeps the pid: a notify socket sees it, and the recording is there to be read"""
    with Server() as server, tempfile.TemporaryDirectory() as folder, \
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        notify.bind(folder + "/notify")
        os.mkdir(folder + "/recordings", 0o700)
        service = program("""
            socket().connect(('127.0.0.1', int(sys.argv[1])))
            socket(AF_UNIX, SOCK_DGRAM).sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])
            sys.stdin.read()""", server.port)
        with started([BERTH, "run", "--exec", "--", *service],
                     env=environment(BERTH_RECORD=folder + "/recordings",
                                     NOTIFY_SOCKET=folder + "/notify")) as process:
            message, credentials, *_ = notify.recvmsg(64, socket.CMSG_SPACE(12))
            equal(message, b"READY=1", "message")
            equal(struct.unpack("3i", credentials[0][2])[0], process.pid, "the sender's pid")
            event, = log_of(folder + "/recordings")
            equal((event["process.pid"], event["process.executable.name"]),
                  (process.pid, "python3"), "event")
            row, = stats_of(folder + "/recordings")
            equal((row["process.pid"], row["berth.state"]), (process.pid, "running"), "statistics")
            equal(process.communicate(), ("", ""), "output")


# --- what it prints --------------------------------------------------------------------------


def test_lines_are_live():
    """a line is there while the program that it is about still runs"""
    with Server() as server, started([BERTH, "run", "--", *program(STEPS)]) as process:
        process.stdout.readline()
        for _ in range(3):
            step(process, server)
            line = process.stderr.readline()
            assert f"{CONNECT}127.0.0.1:" in line and " ok kernel " in line, line
            equal(process.poll(), None, "exit status")
        equal((process.communicate()[1], process.returncode), ("", 0), "end")


def test_lines_of_all_processes():
    """lines of all that COMMAND starts, each as its own name and pid"""
    need("nc", "curl")
    with Server(keep=False) as server:
        run = berth("run", "--", "sh", "-c", f"nc -z 127.0.0.1 {server.port} & nc=$!; wait;"
                    f"curl -s 127.0.0.1:{server.port} & echo $nc $!; wait")
    nc, curl = run.stdout.split()
    first, second = run.stderr.splitlines()
    assert f" {nc} nc{CONNECT}" in first, first
    assert f" {curl} curl{CONNECT}" in second, second


def is_line(line, outcome):
    assert CONNECT in line and f" {outcome} kernel " in line, line


def test_default_lines():
    """without options: a line an event on stderr, nothing on stdout"""
    run = run_traffic()
    ok, refused = run.stderr.splitlines()
    is_line(ok, "ok")
    is_line(refused, "ECONNREFUSED")
    equal(run.stdout, "", "stdout")


def test_output_file():
    """-o FILE: the lines go there, none to stderr"""
    with tempfile.TemporaryDirectory() as folder:
        run = run_traffic("-o", folder + "/lines")
        with open(folder + "/lines") as f:
            ok, refused = f.read().splitlines()
    is_line(ok, "ok")
    is_line(refused, "ECONNREFUSED")
    equal((run.stdout, run.stderr), ("", ""), "output")


def test_quiet():
    """-q: no line; -f is accepted"""
    equal(run_traffic("-q").stderr, "", "stderr")
    equal(len(run_traffic("-f").stderr.splitlines()), 2, "lines")


def test_failed_only():
    """-Z: failed ones only, as text and as JSON"""
    line, = run_traffic("-Z").stderr.splitlines()
    is_line(line, "ECONNREFUSED")
    equal(outcomes(json_lines(run_traffic("-Z", "--json").stderr)), ["ECONNREFUSED"], "as JSON")


def test_json():
    """--json: JSON Lines"""
    equal(outcomes(json_lines(run_traffic("--json").stderr)), ["ok", "ECONNREFUSED"], "events")


def test_summary():
    """-c: a summary a process at the end instead of lines; -C: both"""
    only, both = run_traffic("-c").stderr, run_traffic("-C").stderr
    assert CONNECT not in only, only
    equal(both.count(CONNECT), 2, "lines")
    for text in only, both:
        head = re.search(r"^python3 \d+ exited\n", text, re.M)
        summary = text[head.start():]
        assert CONNECT not in summary, text
        for word in "2 connect", "1 ok", "1 failed", "ECONNREFUSED 1", "kernel 2", "2 distinct":
            assert word in summary, summary


def test_summary_json():
    """-c --json: an object a process; -C --json: after the events"""
    row, = json_lines(run_traffic("-c", "--json").stderr)
    equal((row["calls"]["connect"], row["berth.state"]), (2, "exited"), "summary")
    with tempfile.TemporaryDirectory() as folder:
        run_traffic("-C", "--json", "-o", folder + "/lines")
        with open(folder + "/lines") as f:
            first, second, row = json_lines(f.read())
    equal(outcomes([first, second]), ["ok", "ECONNREFUSED"], "events")
    equal((row["calls"]["connect"], row["process.pid"]), (2, first["process.pid"]), "summary")


# --- the recording ---------------------------------------------------------------------------


def test_recording_deleted():
    """without --record no recording is left, however COMMAND ends"""
    with tempfile.TemporaryDirectory() as folder:
        env = environment(XDG_RUNTIME_DIR=folder)
        run_traffic(env=env)
        berth("run", "sh", "-c", "kill -9 $$", env=env)
        berth("run", "no-such-program", env=env)
        equal(os.listdir(folder + "/berth"), [], "recordings")


def test_recording_kept():
    """--record FILE: kept there, 0600, and replaced by the next run"""
    with tempfile.TemporaryDirectory() as folder:
        env = environment(XDG_RUNTIME_DIR=folder + "/default")
        os.mkdir(folder + "/default", 0o700)
        pids = []
        for _ in range(2):
            run_traffic("-q", "--record", folder + "/kept", env=env)
            events = log_of(folder + "/kept")
            equal(outcomes(events), ["ok", "ECONNREFUSED"], "events")
            pids += {e["process.pid"] for e in events}
        equal(len(set(pids)), 2, "processes")
        equal(stat.S_IMODE(os.stat(folder + "/kept").st_mode), 0o600, "mode")
        equal([name for *_, names in os.walk(folder + "/default") for name in names], [],
              "default recordings")


def test_daemon_left_behind():
    """a daemon that COMMAND leaves keeps its recording, which is named, and is recorded on"""
    daemon = program("""
        if os.fork():
            sys.exit(5)
        os.setsid()
        null = os.open('/dev/null', os.O_RDWR)
        os.dup2(null, 1), os.dup2(null, 2)
        os.closerange(3, 256)
        socket().connect(('127.0.0.1', int(sys.stdin.readline())))""")
    with Server() as server, started([BERTH, "run", "--", *daemon]) as process:
        equal(process.wait(), 5, "exit status")
        said = process.stderr.read()
        place = re.fullmatch(r"berth: run: .* (/\S+\.berth)\n", said)
        assert place, said
        print(server.port, file=process.stdin, flush=True)
        event, = wait_for(lambda: log_of(place[1]))
        equal((event["berth.call"], event["network.local.port"]),
              ("connect", server.saw(1)[0][1]), "event")
        wait_for(lambda: stats_of(place[1])[0]["berth.state"] == "exited")


# --- log -------------------------------------------------------------------------------------


def test_log_filters():
    """log: -n -Z -4 -6 -L -D -p, and together"""
    with Server() as four, Server(family=socket.AF_INET6) as six, closed_port() as closed, \
            tempfile.TemporaryDirectory() as folder:
        recording = folder + "/all.berth"
        berth("run", "-q", "--record", recording, "--", *program("""
            four, six, closed = map(int, sys.argv[1:])
            socket().connect(('127.0.0.1', four))
            socket(AF_INET6).connect(('::1', six))
            if not os.fork():
                socket().connect_ex(('127.0.0.2', closed))
                os._exit(0)
            os.wait()
            socket().bind(('127.0.0.1', 7400))""", four.port, six.port, closed), check=True)
        events = log_of(recording)
        equal(outcomes(events), ["ok", "ok", "ECONNREFUSED", "ok"], "all")
        first = events[0]["network.local.port"]

        def check(want, *options):
            equal([events.index(e) for e in log_of(*options, recording)], want, f"{options}")
            equal(len(berth("log", *options, recording).stdout.splitlines()), len(want), "lines")

        for want, options in (
                ([2, 3], ["-n", 2]), ([0, 1, 2, 3], ["-n", 9]), ([2], ["-Z"]), ([0, 2, 3], ["-4"]),
                ([1], ["-6"]), ([3], ["-L", 7400]), ([3], ["-L", "7399-7401"]),
                ([0, 3], ["-L", f"{first},7400"]), ([], ["-L", "1-1023"]),
                ([0], ["-D", f"127.0.0.1:{four.port}"]), ([0], ["-D", four.port]),
                ([0], ["-D", f":{four.port}"]), ([0, 2], ["-D", "127.0.0.0/8"]),
                ([2], ["-D", f"127.0.0.0/8:{closed}"]), ([1], ["-D", f"[::1]:{six.port}"]),
                ([1], ["-D", "::1"]), ([0, 1], ["-D", f"{four.port}-{six.port}"]),
                ([2], ["-p", events[2]["process.pid"]]),
                ([0, 1, 3], ["-p", events[0]["process.pid"]]),
                ([3], ["-4", "-n", 1]), ([], ["-6", "-Z"]),
                ([1], ["-p", events[0]["process.pid"], "-6", "-D", "::/0"])):
            check(want, *options)


def test_log_usage():
    """log: what it cannot read or understand is named, exit 2"""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x" * 8192)
        file.flush()
        assert file.name in refusal(2, "log", file.name)
        assert file.name in refusal(2, "stats", file.name)
        assert "/no/such" in refusal(2, "log", "/no/such/file")
        for option, value in (("-L", "65536"), ("-L", "2-1"), ("-D", "1.2.3"),
                              ("-D", "1.2.3.4/33"), ("-n", "0"), ("-p", "x")):
            line = refusal(2, "log", option, value, file.name)
            assert option in line and value in line, line
        for option, first, second in ("-D", "10.0.0.1:80", "10.0.0.2:90"), ("-p", "1", "2"):
            line = refusal(2, "log", option, first, option, second, file.name)
            assert f"another {option}" in line, line


def test_log_follows():
    """log -f: events so far, then each as it comes"""
    with Server() as server, running(program(STEPS)) as (process, recording):
        pid = int(process.stdout.readline())
        step(process, server)
        with started([BERTH, "log", "-f", "--json", recording]) as log:
            for count in 1, 2, 3:
                event, = json_lines(log.stdout.readline())
                server.saw(count)
                equal((event["process.pid"], event["network.local.port"]),
                      (pid, server.peers[count - 1][1]), "event")
                step(process, server)


def test_log_follows_directory():
    """log -f DIR: recordings that appear later too"""
    with tempfile.TemporaryDirectory() as folder, Server() as server, closed_port() as closed, \
            started([BERTH, "log", "-f", "--json", folder]) as log:
        preloaded = environment(LD_PRELOAD=LIBBERTH, BERTH_RECORD=folder)
        for _ in range(2):
            subprocess.run(traffic(server, closed), env=preloaded, check=True)
            equal(outcomes(json_lines(log.stdout.readline() + log.stdout.readline())),
                  ["ok", "ECONNREFUSED"], "events")


@contextlib.contextmanager
def being_made(path):
    """A recording as its maker has it open before it says what the file is; write(bytes) does."""
    with open(path, "wb+", buffering=0) as f:
        f.truncate(8192)

        def write(content):
            f.seek(8)
            f.write(content[8:])
            f.seek(0)
            f.write(content[:8])
        yield write


def test_log_unfinished():
    """log, stats: one that is being made is not there yet; one that never will be is named"""
    with tempfile.TemporaryDirectory() as folder:
        with being_made(f"{folder}/x.berth"):
            for command in "log", "stats":
                done = berth(command, folder)
                equal((done.returncode, done.stdout, done.stderr), (0, "", ""), command)
        for command in "log", "stats":
            assert "never finished" in refusal(0, command, folder)


def test_log_follows_unfinished():
    """log -f DIR: one that is being made when it is found is read once it is made"""
    with tempfile.TemporaryDirectory() as folder, Server() as server, closed_port() as closed:
        berth("run", "-q", "--record", f"{folder}/made", "--", *traffic(server, closed))
        with open(f"{folder}/made", "rb") as f:
            content = f.read()
        os.mkdir(f"{folder}/new")
        with being_made(f"{folder}/new/early.berth") as early, \
                started([BERTH, "log", "-f", "--json", f"{folder}/new"]) as log, \
                being_made(f"{folder}/new/late.berth") as late:
            # When it has read this one, it has been at the others.
            os.rename(f"{folder}/made", f"{folder}/new/whole.berth")
            for write in None, early, late:
                if write:
                    write(content)
                equal(outcomes(json_lines(log.stdout.readline() + log.stdout.readline())),
                      ["ok", "ECONNREFUSED"], "events")
            log.terminate()
            equal(log.stderr.read(), "", "stderr")


def deleted_files(process):
    """How many files that have no name any more it holds open."""
    folder, count = f"/proc/{process.pid}/fd", 0
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += os.readlink(f"{folder}/{fd}").endswith("(deleted)")
    return count


def delete_recordings(folder):
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))


def test_log_follows_deleted():
    """log -f DIR: a deleted recording is followed while its program runs, then closed"""
    with tempfile.TemporaryDirectory() as folder, Server() as server, closed_port() as closed, \
            started([BERTH, "log", "-f", "--json", folder]) as log:
        preloaded = environment(LD_PRELOAD=LIBBERTH, BERTH_RECORD=folder)
        for _ in range(3):
            subprocess.run(traffic(server, closed), env=preloaded, check=True)
            log.stdout.readline(), log.stdout.readline()
        with started(program(STEPS), env=preloaded) as process:
            pid = int(process.stdout.readline())
            for _ in range(3):
                step(process, server)
                equal(json_lines(log.stdout.readline())[0]["process.pid"], pid, "pid")
                delete_recordings(folder)
                wait_for(lambda: deleted_files(log) == 1)
        wait_for(lambda: not deleted_files(log))


def test_log_follows_deleted_file():
    """log -f FILE: is silent once the file was deleted"""
    with tempfile.TemporaryDirectory() as folder, Server() as server, closed_port() as closed:
        recording = f"{folder}/x.berth"
        berth("run", "-q", "--record", recording, "--", *traffic(server, closed))
        with started([BERTH, "log", "-f", recording]) as log:
            log.stdout.readline(), log.stdout.readline()
            os.unlink(recording)
            wait_for(lambda: not deleted_files(log))
            log.terminate()
            equal(log.stderr.read(), "", "stderr")


def test_log_merges():
    """log of two recordings: one stream, in the order of time"""
    with Server() as server, running(program(STEPS)) as (a, first), \
            running(program(STEPS)) as (b, second):
        pids = [int(process.stdout.readline()) for process in (a, b)]
        for process in a, b, a, b, b, a:
            step(process, server)
        for places in (first, second), (second, first):
            events = log_of(*places)
            equal([pids.index(e["process.pid"]) for e in events], [0, 1, 0, 1, 1, 0], "order")
            equal(sorted(e["timestamp"] for e in events), [e["timestamp"] for e in events])
        equal([pids.index(e["process.pid"]) for e in log_of("-n", 2, first, second)], [1, 0])


def test_log_of_many():
    """log of more recordings than the soft limit of descriptors"""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        subprocess.run(program("create_connection(('127.0.0.1', int(sys.argv[1])))", server.port),
                       check=True, env=environment(LD_PRELOAD=LIBBERTH, BERTH_RECORD=folder))
        made, = os.listdir(folder)
        for i in range(60):
            shutil.copy(f"{folder}/{made}", f"{folder}/{i}.berth")
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        done = subprocess.run([BERTH, "log", folder], capture_output=True, text=True,
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                    (32, hard)))
    equal((done.returncode, done.stderr, done.stdout.count("\n")), (0, "", 61))


# --- stats -----------------------------------------------------------------------------------

# SPEC section 5; a list holds what one of its members looks like.
STATISTICS = {
    "version": int, "process.pid": int, "process.parent_pid": int, "process.executable.name": str,
    "process.creation.time": str, "berth.state": str,
    "calls": {"connect": int, "bind": int, "listen": int, "send": int},
    "results": {"ok": int, "in_progress": int, "failed": int},
    "errors": {"ECONNREFUSED": int},
    "chosen_by": {"kernel": int, "program": int, "policy": int},
    "rules": [],
    "ports": {"distinct": int, "lowest": int, "highest": int, "even": int, "odd": int},
    "duration_ns": {"p50": int, "p90": int, "p99": int, "max": int},
    "destinations": [{"address": str, "port": int, "transport": str, "connects": int,
                      "failed": int, "distinct_ports_estimate": int}],
    "destinations_merged": int,
    "events": {"written": int, "overwritten": int, "lost": int, "torn": int},
    "forbidden": {"local_port": int, "steering": int},
}
MORE = {"process.user.id": int, "berth.net_namespace": int, "berth.pid_namespace": int,
        "berth.mnt_namespace": int, "berth.version": str, "rules_merged": int}


def shape(value):
    """The types in a value."""
    if isinstance(value, dict):
        return {key: shape(v) for key, v in value.items()}
    if isinstance(value, list):
        return [shape(v) for v in value[:1]]
    return type(value)


def test_stats_json():
    """stats --json: the keys of the contract, and right counts"""
    with Server() as server, closed_port() as closed:
        o = Observed(traffic(server, closed))
    row, = o.stats
    equal(shape(row), {**STATISTICS, **MORE}, "keys")
    counts = {group: {name: n for name, n in row[group].items() if n}
              for group in ("calls", "results", "errors", "chosen_by", "events")}
    equal(counts, {"calls": {"connect": 2}, "results": {"ok": 1, "failed": 1},
                   "errors": {"ECONNREFUSED": 1}, "chosen_by": {"kernel": 2},
                   "events": {"written": 2}}, "counts")
    ports = sorted(e["network.local.port"] for e in o.events)
    even = sum(port % 2 == 0 for port in ports)
    equal(row["ports"], {"distinct": 2, "lowest": ports[0], "highest": ports[1], "even": even,
                         "odd": 2 - even}, "ports")
    equal(sorted(row["destinations"], key=lambda d: d["failed"]),
          [{"address": "127.0.0.1", "port": port, "transport": "tcp", "connects": 1,
            "failed": failed, "distinct_ports_estimate": 1}
           for failed, port in enumerate((server.port, closed))], "destinations")
    equal(row["duration_ns"]["max"], max(e["berth.duration_ns"] for e in o.events), "longest")
    equal((row["berth.state"], row["process.user.id"]), ("exited", os.geteuid()), "state, user")
    equal(row["berth.net_namespace"], os.stat("/proc/self/ns/net").st_ino, "network namespace")


def test_states():
    """states: replaced by exec, exited, died of a signal, running"""
    with Server() as server, running(program("""
        to = '127.0.0.1', int(sys.argv[1])
        socket().connect(to)
        for end in lambda: os._exit(1), lambda: os.kill(os.getpid(), 9):
            if not os.fork():
                socket().connect(to)
                end()
            os.wait()
        again = 'import socket, sys; socket.create_connection((sys.argv[1], sys.argv[2])); '
        again += 'print(1, flush=True); sys.stdin.read()'
        os.execv(sys.executable, ['python3', '-c', again, *map(str, to)])""", server.port)) \
            as (process, recording):
        process.stdout.readline()
        rows = stats_of(recording)
        equal([row["berth.state"] for row in rows], ["replaced", "exited", "died", "running"])
        equal([rows[0]["process.pid"]] * 3,
              [rows[3]["process.pid"]] + [row["process.parent_pid"] for row in rows[1:3]], "pids")


# --- without the command ---------------------------------------------------------------------


def preloaded(server, closed, **variables):
    """The stderr of that traffic, by the variables alone; nothing is recorded by default."""
    variables = {"LD_PRELOAD": LIBBERTH, "BERTH_RECORD": "off", **variables}
    return subprocess.run(traffic(server, closed), env=environment(**variables), check=True,
                          capture_output=True, text=True).stderr


def are_utc_lines(text, *outcomes):
    lines = text.splitlines()
    equal(len(lines), len(outcomes), text)
    for line, outcome in zip(lines, outcomes):
        stamp, rest = line.split(" ", 1)
        assert re.fullmatch(r"\d+-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stamp), line
        age = time.time() - datetime.datetime.fromisoformat(stamp[:-1] + "+00:00").timestamp()
        assert 0 <= age < 3600, f"{age} s ago: {line}"
        assert re.match(r"\d+ python3 connect tcp [0-9.]+:", rest), line
        assert f" {outcome} kernel " in line, line


def test_log_variable():
    """BERTH_LOG=stderr, or a file, appended to; BERTH_LOG_ONLY=failed"""
    with Server() as server, closed_port() as closed, tempfile.TemporaryDirectory() as folder:
        both, file = ("ok", "ECONNREFUSED"), folder + "/log"
        are_utc_lines(preloaded(server, closed, BERTH_LOG="stderr"), *both)
        are_utc_lines(preloaded(server, closed, BERTH_LOG="stderr", BERTH_LOG_ONLY="failed"),
                      "ECONNREFUSED")
        for _ in range(2):
            equal(preloaded(server, closed, BERTH_LOG=file), "", "stderr")
        with open(file) as f:
            are_utc_lines(f.read(), *both, *both)


def test_log_variable_knows_its_stderr():
    """BERTH_LOG=stderr writes to descriptor 2 only while it is the file that it was at start"""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(program("""
            to = '127.0.0.1', int(sys.argv[1])
            socket().connect(to)
            os.dup2(os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY), 2)
            socket().connect(to)""", server.port, folder + "/data"), capture_output=True, text=True,
            env=environment(LD_PRELOAD=LIBBERTH, BERTH_RECORD="off", BERTH_LOG="stderr"))
        are_utc_lines(run.stderr, "ok")
        equal(os.path.getsize(folder + "/data"), 0, "bytes in the program's own file")


def test_verbose_variable():
    """BERTH_VERBOSE=1: one line at start: version, program, recording"""
    with Server() as server, closed_port() as closed, tempfile.TemporaryDirectory() as folder:
        version = berth("-V").stdout.strip()
        off = preloaded(server, closed, BERTH_VERBOSE="1")
        assert re.fullmatch(rf"{re.escape(version)}: python3: .*\boff\b.*\n", off), off
        there = preloaded(server, closed, BERTH_VERBOSE="1", BERTH_RECORD=folder)
        assert re.fullmatch(rf".*: python3: recording to {folder};.*\n", there), there
        equal(preloaded(server, closed, BERTH_VERBOSE="0"), "", "without")


def test_variables_that_cannot_be_honoured():
    """a variable that cannot be honoured: one line on stderr, and the program runs on"""
    with Server() as server, closed_port() as closed:
        for name, value in (("BERTH_LOG", "/no/such/log"), ("BERTH_EVENTS", "many"),
                            ("BERTH_LOG_ONLY", "some"), ("BERTH_RECORD", "/no/such/recording")):
            line, = preloaded(server, closed, **{name: value}).splitlines()
            assert line.startswith(f"berth: {name}: {value}: "), line


def test_record_variable():
    """BERTH_RECORD, and the default directory: one recording a process that has an event"""
    with Server() as server, closed_port() as closed, tempfile.TemporaryDirectory() as folder:
        os.mkdir(folder + "/here", 0o700)
        preloaded(server, closed, BERTH_RECORD=folder + "/here")
        subprocess.run(program("pass"), env=environment(LD_PRELOAD=LIBBERTH,
                                                        BERTH_RECORD=folder + "/here"))
        equal(outcomes(log_of(folder + "/here")), ["ok", "ECONNREFUSED"], "events")
        equal(len(os.listdir(folder + "/here")), 1, "recordings")
        env = environment(XDG_RUNTIME_DIR=folder)

        def read(verb):  # /dev/shm may hold recordings of others
            return json_lines(berth(verb, "--json", env=env).stdout)

        events, rows = read("log"), read("stats")
        preloaded(server, closed, BERTH_RECORD="", XDG_RUNTIME_DIR=folder)
        equal(outcomes([e for e in read("log") if e not in events]), ["ok", "ECONNREFUSED"])
        equal(len(read("stats")) - len(rows), 1, "processes")


def test_env():
    """env: variables that do what its options say, a line each"""
    with Server() as server, closed_port() as closed, tempfile.TemporaryDirectory() as folder:
        os.mkdir(folder + "/here", 0o700)
        text = berth("env", "--record", folder + "/here", "--log", folder + "/log", "-Z",
                     "--events", 64).stdout
        variables = dict(line.split("=", 1) for line in text.splitlines())
        equal(preloaded(server, closed, **variables), "", "stderr")
        equal(outcomes(log_of(folder + "/here")), ["ok", "ECONNREFUSED"], "events")
        with open(folder + "/log") as f:
            are_utc_lines(f.read(), "ECONNREFUSED")


def test_env_in_a_shell():
    """env $(berth env) COMMAND"""
    with Server() as server, closed_port() as closed:
        run = subprocess.run(["sh", "-c", 'env $("$0" env --log stderr --record off) "$@"', BERTH,
                              *traffic(server, closed)], capture_output=True, text=True)
        are_utc_lines(run.stderr, "ok", "ECONNREFUSED")
    assert "--events" in refusal(2, "env", "--events", "1")
    assert "operand" in refusal(2, "env", "operand")


if __name__ == "__main__":
    berthtest.main()
