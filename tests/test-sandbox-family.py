# SPDX-License-Identifier: MIT
"""Programs behind a seccomp filter that forbids one system call: each that libberth.so can make, with
each action of a filter, installed in each way, and followed by a fork, a thread, an exec and so on.
Observed and steered, a program says the same and ends in the same way as without berth.

`make check` runs a part of the combinations. SANDBOX_WHOLE=1 in the environment runs all of them."""
import collections
import concurrent.futures
import contextlib
import glob
import itertools
import os
import re
import subprocess
import tempfile
import threading

import berthtest
from berthtest import (BERTH, LIBBERTH, PROGRAMS, TRACED, Server, Skip, berth, equal,
                       fresh_namespace, holding, log_of, need, policy, stats_of, sysctl)

WHOLE = os.environ.get("SANDBOX_WHOLE") == "1"
FILTERED = f"{PROGRAMS}/filtered"

ACTIONS = "kill kill-thread trap handled eperm enosys trace notify".split()
WAYS = "prctl seccomp prctl-syscall tsync libseccomp nested".split()
FOLLOWS = "direct early fork clone thread apart vfork exec spawn ends".split()

# Sets of many ports, so that none is in the way that a moment ago was somebody's.
RANGE = {"local_ports": "33000-59999"}
BIND = {"local_ports": "10000-29999", "via": "bind"}
HELD = range(9000, 9080)  # more than a call remembers without mmap()
RULES = {
    "range": RANGE,
    "bind": BIND,
    "pool": {**BIND, "local_addresses": ["127.0.0.2", "127.0.0.3"]},
    "rest": {**RANGE, "order": "least-recent", "rest": 1},
    "held": {"local_ports": "9000-9999", "via": "bind", "order": "sequential"},
    "late": RANGE,
    "only-range": {**RANGE, "via": "range"},
    "preload-range": RANGE,
    "preload-bind": BIND,
}
OBSERVED = ("preload", "run")
STRICT = {"strict": "range", "strict-only-range": "only-range", "strict-bind": "bind"}
MODES = (*OBSERVED, *RULES, "strict")
FEW = ("run", "range", "bind")


# --- what is compared ----------------------------------------------------------------------------

class Mode:
    """A way that berth comes into a program."""

    def __init__(self, name, folder):
        self.name = name
        self.folder = folder
        self.files = contextlib.ExitStack()
        self.policy = None
        # Two policies that go over the same ports in one order try for the same 4-tuple at the same
        # time, which no bind(2) settles: `stuck`, in berth-policy(5).
        self.alone = threading.Lock() if name == "held" else contextlib.nullcontext()
        rule = RULES.get(STRICT.get(name, name))
        if rule:
            late = {"late_bind": ["filtered"]} if name == "late" else {}
            self.policy = self.files.enter_context(policy(rule, **late))
            if name.startswith("preload"):  # what JSON takes is malloc()'s: getrandom(2)
                image = f"{folder}/{name}.img"
                subprocess.run([BERTH, "compile", self.policy, "-o", image], check=True)
                self.policy = image

    def run(self, command):
        """What the command says; its recordings are in a folder of their own, which is returned."""
        record = tempfile.mkdtemp(dir=self.folder)
        environment = dict(os.environ)
        before = []
        if self.name.startswith("preload"):
            environment.update(LD_PRELOAD=LIBBERTH, BERTH_RECORD=record)
            if self.policy:
                environment["BERTH_POLICY"] = self.policy
        else:
            before = [BERTH, "run", "-q", "--record", record + "/run.berth"]
            before += ["-P", self.policy] if self.policy else []
            before.append("--")
        if self.name in STRICT:
            environment["BERTH_STRICT"] = "1"
        with self.alone:
            return said(before + command, environment), record


def said(command, environment):
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True,
                          errors="replace", timeout=berthtest.DEADLINE)
    return done.stdout + done.stderr


@contextlib.contextmanager
def scene(*modes):
    """A server, and these modes."""
    fresh_namespace()
    sysctl("ipv4.tcp_max_tw_buckets", "0")  # no port is at rest but where a rule says so
    with Server(keep=False) as server, tempfile.TemporaryDirectory() as folder, \
            holding(HELD), contextlib.ExitStack() as stack:
        all_of_them = [Mode(name, folder) for name in modes]
        for mode in all_of_them:
            stack.enter_context(mode.files)
        yield server, all_of_them


def refused(bare, got):
    """Whether all differences are calls that strict refused: a step that failed with EPERM."""
    bare, got = bare.split(), got.split()
    return len(bare) == len(got) and all(
        b == g or re.sub(r"!\d+$", "", b) + "!1" == g for b, g in zip(bare, got))


def lines_of(text):
    """What was said of each call."""
    return dict(line.split(":  ", 1) if ":  " in line else line.split(": ", 1)
                for line in text.splitlines() if ": " in line)


def first_difference(bare, got):
    """Where the one goes on otherwise than the other: 'udp signal 31, bare udp unspec'."""
    bare, got = bare.split(), got.split()
    same = len(os.path.commonprefix([bare, got]))
    got, bare = (" ".join(words[max(same - 1, 0):][:4]) for words in (got, bare))
    return f"{got!r}, bare {bare!r}"


def differences(mode, combination, bare, got):
    """Of each call where there is one: what, and in which mode."""
    bare, got = lines_of(bare), lines_of(got)
    for call in bare:
        here = got.get(call, "nothing")
        if here != bare[call] and not (mode.name in STRICT and refused(bare[call], here)):
            where = f"{call} {' '.join(combination)}"
            yield f"{where}: {first_difference(bare[call], here)}", mode.name


def possible(action, way, follow):
    """Whether it ends without berth: for a notification libseccomp makes a listener, which nobody
    reads."""
    return not (way == "libseccomp" and action == "notify")


def same(modes, combinations, *calls):
    """Each combination of action, way and follow: the same in these modes as without berth."""
    wrong, cells = [], 0
    combinations = [c for c in combinations if possible(*c)]
    with scene(*modes) as (server, modes), concurrent.futures.ThreadPoolExecutor(2) as pool:
        def one(combination):
            command = [FILTERED, "all", server.port, *combination, *calls]
            bare = said(command, os.environ)
            if "no libseccomp" in bare:
                raise Skip("libseccomp.so.2 is not installed")
            assert bare.count("\n") > 1 or len(calls) == 1, bare
            found = []
            for mode in modes:
                got, _ = mode.run(command)
                found += differences(mode, combination, bare, got)
            return found, bare.count("\n") * len(modes)
        for found, count in pool.map(one, combinations):
            wrong += found
            cells += count
    print(f"# {cells} compared, {len(wrong)} differ")
    by_what = collections.defaultdict(list)
    for what, mode in wrong:
        by_what[what].append(mode)
    assert not wrong, "not as without berth:\n" + "\n".join(
        f"{what} ({', '.join(modes)})" for what, modes in by_what.items())


# --- the family ----------------------------------------------------------------------------------

def test_names():
    """the family has each system call that libberth.so makes, as its source names them"""
    names = set(said([FILTERED, "names"], os.environ).split())
    source = os.environ.get("srcdir", ".")
    made = set()
    for room in "preload", "steer", "record", "policy":
        for file in glob.glob(f"{source}/{room}/*.[ch]"):
            with open(file) as f:
                made |= set(re.findall(r"\bSYS_([a-z]\w+)", f.read()))
    assert made, source
    # Of other machines, or the program's own calls, which are looked at and not made.
    others = {"mmap2", "fstatfs64", "geteuid32", "seccomp", "exit", "exit_group", "clone", "clone3"}
    equal(sorted(made - names - others), [], "calls that the family lacks")


def test_kill():
    """a filter that kills at one call, by prctl(), in each way that berth comes into a program"""
    follows = FOLLOWS if WHOLE else ("direct", "exec")
    same(MODES, [("kill", "prctl", follow) for follow in follows])


def test_follow():
    """followed by a fork, a raw clone, a thread, vfork and exec, exec, posix_spawn, or the end"""
    same(MODES if WHOLE else FEW, [("kill", "prctl", follow) for follow in FOLLOWS])


def test_actions():
    """a filter that kills the thread, traps, refuses, or asks a tracer or a supervisor"""
    follows = FOLLOWS if WHOLE else ("direct",)
    same(MODES if WHOLE else FEW,
         [(action, "prctl", follow) for action in ACTIONS for follow in follows])


def test_ways():
    """installed by syscall(), libseccomp, a thread for all threads (TSYNC), between other filters"""
    actions, follows = (ACTIONS, FOLLOWS) if WHOLE else (("kill",), ("direct", "exec"))
    same(MODES if WHOLE else ("run", "bind"),
         itertools.product(actions, [way for way in WAYS if way != "prctl"], follows))


def test_arguments():
    """filters that look at arguments: an option, an address family, a null or a wrong pointer"""
    ip, netlink, range_option, bind_no_port = 0, 16, 51, 24
    calls = [f"setsockopt:1={ip}:2={range_option}", f"setsockopt:1={ip}:2={bind_no_port}",
             "setsockopt:1=1:2=2", "setsockopt:1=1", f"getsockopt:1={ip}", "getsockopt:1=1",
             "getsockopt:0=0xffffffff", f"socket:0={netlink}", "socket:0=2:1=524290", "mmap:2=3",
             "mmap:3=0x22", "madvise:2=10", "fcntl:1=3", "rt_sigprocmask:0=0xffffffff",
             "prctl:0=21", "openat:0=0xffffff9c", "readlinkat:0=0xffffff9c"]
    actions = ACTIONS if WHOLE else ("kill", "eperm")
    same(MODES, [(action, "prctl", follow) for action in actions for follow in ("direct", "exec")],
         *calls)


def test_calculations():
    """filters that calculate: what they allow is done and is recorded, and nothing else"""
    calls = [f"getsockname?{seed}" for seed in range(2000 if WHOLE else 60)]
    verdicts = collections.Counter()
    with scene("run") as (server, (mode,)):
        for call in calls:
            bare = said([FILTERED, "all", server.port, "kill", "prctl", "direct", call], os.environ)
            got, record = mode.run([FILTERED, "all", server.port, "kill", "prctl", "direct", call])
            equal(got, bare, call)
            forbidden, = {"forbidden", "allowed"} & set(bare.split())
            verdicts[forbidden] += 1
            ports = [e["network.local.port"] for e in log_of(f"{record}/run.berth")
                     if e["berth.call"] == "connect" and e["berth.result"] == "ok"]
            equal({bool(port) for port in ports}, {forbidden == "allowed"}, f"ports, {call}")
    print(f"# {dict(verdicts)}")
    assert min(verdicts.values()) > len(calls) / 8 and len(verdicts) == 2, verdicts


def test_no_vdso():
    """a clock that is a system call, which a filter kills: it is not read"""
    modes = "preload", "run", "range", "bind", "rest", "strict"
    with scene(*modes) as (server, modes):
        for follow in ("direct", "early", "fork", "thread"):
            command = [f"{PROGRAMS}/without_vdso", FILTERED, "one", server.port, "kill", "prctl", follow,
                       "clock_gettime"]
            bare = said(command, os.environ)
            if "not on this architecture" in bare:
                raise Skip("this architecture's registers are not looked at")
            assert "listen" in bare, bare
            for mode in modes:
                got, record = mode.run(command)
                equal(got, bare, f"{mode.name}, {follow}")
                if mode.name == "run":
                    times = [e["timestamp"] for e in log_of(f"{record}/run.berth")]
                    assert times and all(t[:2] == "20" for t in times), times


def test_synced():
    """a filter comes down on a thread that is in a call of berth's: after that call"""
    strace, = need("strace")
    # A tracer holds each such call up for a millisecond.
    slow = [strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=getsockname",
            "-e", "inject=getsockname:delay_enter=1000"]
    with tempfile.TemporaryDirectory() as folder:
        run = berth("run", "-q", "--record", f"{folder}/run.berth", "--", *slow,
                    f"{PROGRAMS}/synced", 20, 9, env=TRACED)
    equal((run.returncode, run.stdout, run.stderr), (0, "0 killed\n", ""))


def test_nothing_offered():
    """an event has `via` only where a candidate was offered"""
    with Server(keep=False) as server, tempfile.TemporaryDirectory() as folder:
        for call in "getsockopt", "setsockopt", "bind", "getsockname":
            for via in "bind", "auto":
                record = f"{folder}/{call}-{via}"
                run = berth("run", "-q", "--record", record, "-L", "10000-29999", "--via", via, "--",
                            FILTERED, "one", server.port, "eperm", "prctl", "direct", call)
                equal(run.returncode, 0, run.stderr)
                for e in log_of(record):
                    assert e.get("berth.via") in (None, "range", "bind"), e
                    assert ("berth.via" in e) == ("berth.tries" in e), e


def test_unknown_user():
    """who the user is cannot be asked: no folder of another user's is made"""
    unrecorded = {k: v for k, v in os.environ.items() if k not in ("XDG_RUNTIME_DIR", "RUNTIME_DIRECTORY")}
    with Server(keep=False) as server:
        done = subprocess.run([FILTERED, "within", "0", "eperm", "unseen", "exec", "geteuid", FILTERED,
                               "steps", str(server.port)], capture_output=True, text=True,
                              env={**unrecorded, "LD_PRELOAD": LIBBERTH})
    equal(done.returncode, 0, done.stderr)
    equal([name for name in os.listdir("/dev/shm") if name.startswith("berth-429")], [])


def test_supervised():
    """a supervisor (SECCOMP_FILTER_FLAG_NEW_LISTENER) is notified of the program's own calls alone"""
    same(MODES, [("notify", "listener", follow) for follow in ("direct", "early", "fork")])


def test_failing():
    """installations that fail: nothing is different afterwards, and nothing is missing"""
    same(MODES, [("kill", "failing", "direct")], "getsockname")
    complete("failing", "direct", ["getsockname", "setsockopt", "bind", "gettid"])


def test_vfork_child():
    """a vfork child that installs a filter: its parent's calls and events are not affected"""
    same(MODES, [("kill", "prctl", "guarded")])
    complete("prctl", "guarded", ["getsockname", "setsockopt", "getsockopt", "gettid"])


def test_strict_mode():
    """SECCOMP_MODE_STRICT: no call is made but the program's own"""
    same(MODES, [("kill", "strict", "ends")], "getpid")
    same(MODES, [("kill", "strict", "early")], "getpid")


# What berth calls where it does not know the filter, of what the program itself does not call.
LEAST = ("getsockname", "getsockopt", "setsockopt", "bind")


def test_unseen():
    """a filter that was installed unseen, then an exec: only the least set of calls is made"""
    names = said([FILTERED, "names"], os.environ).split()
    actions = ("kill", "trap", "eperm") if WHOLE else ("kill",)
    same(MODES, [(action, "unseen", "exec") for action in actions],
         *[name for name in names if name not in LEAST])


# --- what is recorded ----------------------------------------------------------------------------

STOPS = {"connect", "socket", "sendto", "bind", "close", "write"}  # the steps' own calls


ANY_PORT = ("connect", "sendto", "sendmsg", "sendmmsg")  # calls for which a port is chosen


def events_of(mode, port, action, way, follow, call):
    _, record = mode.run([FILTERED, "all", port, action, way, follow, call])
    return log_of(f"{record}/run.berth"), stats_of(f"{record}/run.berth")


def seen_by(mode, way, follow, call, port):
    """How often each call is an event. Those that succeeded have a port, and it is the rule's."""
    events, _ = events_of(mode, port, "kill", way, follow, call)
    for e in events:
        if e["berth.result"] in ("ok", "in_progress"):
            assert e["network.local.port"], (call, mode.name, e)
            if mode.policy and e["berth.call"] in ANY_PORT and e["berth.chosen_by"] != "program":
                equal(e["berth.chosen_by"], "policy", f"{call}, {mode.name}: {e}")
    return collections.Counter(e["berth.call"] for e in events)


def complete(way, follow, calls):
    """Nothing is missing from the recording, and no port is outside of the rule's set."""
    with scene(*FEW) as (server, modes):
        port = server.port
        for mode in modes:
            want = seen_by(mode, "none", follow if follow != "guarded" else "direct", "kcmp", port)
            for call in calls:
                equal(seen_by(mode, way, follow, call, port), want, f"events, {call}, {mode.name}")


def test_complete():
    """where the forbidden call is not needed, no event is missing and each port is of the set"""
    names = said([FILTERED, "names"], os.environ).split()
    needed = set(LEAST) | STOPS
    complete("prctl", "direct", [n for n in names if n not in needed])


def test_port_unknown():
    """a filter that forbids getsockname: the events are there, and those without a port say it"""
    with scene(*FEW) as (server, modes):
        for mode, action in itertools.product(modes, ("kill", "eperm")):
            want, _ = events_of(mode, server.port, action, "none", "direct", "kcmp")
            got, _ = events_of(mode, server.port, action, "prctl", "direct", "getsockname")
            equal(collections.Counter(e["berth.call"] for e in got),
                  collections.Counter(e["berth.call"] for e in want), f"{mode.name}, {action}")
            for e in got:
                assert e["network.local.port"] or e["berth.result"] == "failed" or \
                    e.get("berth.forbidden"), (mode.name, e)


# Without this call nothing can be steered in this mode.
NEEDED = {"only-range": "setsockopt:1=0:2=51", "bind": "bind"}


def test_forbidden():
    """a filter that forbids what steers: the connection leaves, and it is recorded and counted"""
    with scene(*NEEDED) as (server, modes):
        for mode, action in itertools.product(modes, ("kill", "trap", "eperm", "enosys")):
            events, rows = events_of(mode, server.port, action, "prctl", "direct",
                                     NEEDED[mode.name])
            left = [e for e in events if e["berth.call"] in ANY_PORT and
                    e["berth.result"] in ("ok", "in_progress") and
                    e["berth.chosen_by"] == "kernel"]
            assert len(left) >= 3, (mode.name, action, events)
            equal({e.get("berth.unsteered") for e in left}, {"forbidden"}, f"{mode.name}, {action}")
            count = sum(rule["forbidden"] for row in rows for rule in row["rules"])
            assert count >= len(left), (mode.name, action, count, len(left))


def test_forbidden_strict():
    """likewise with BERTH_STRICT=1: no connection leaves, and the program lives"""
    for name, needed in NEEDED.items():
        with scene(f"strict-{name}") as (server, (mode,)):
            for action in "kill", "trap", "eperm", "enosys":
                text, _ = mode.run([FILTERED, "all", server.port, action, "prctl", "direct", needed])
                assert re.search(r"udp!1 .*sendto!1 connect!1 ", text), (name, action, text)
            # A bind() to port 0 had its port of the rule, by bind(), and its connection is steered.
            steered = 4 if name == "only-range" else 0
            equal(len(server.peers), steered, f"connections, {name}: {server.peers}")


if __name__ == "__main__":
    berthtest.main()
