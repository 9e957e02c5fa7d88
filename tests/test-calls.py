# SPDX-License-Identifier: MIT
"""Hooked calls of hostile programs, plainly, observed, and steered by range and by bind: bad
arguments, errno, signal handlers, cancellation, small stacks, and every kind of clone."""
import contextlib
import json
import os
import socket
import subprocess
import tempfile

import berthtest
from berthtest import (LIBBERTH, PROGRAMS, Observed, Outliving, Server, berth, equal, fresh_namespace,
                       full_listener, holding, pick, program, sysctl)

# What a call goes through: a policy's rules, None for none.
MODES = {
    "observed": None,
    "range": {"rules": [{"name": "all", "via": "range"}]},
    "bind": {"rules": [{"name": "all", "via": "bind"}]},
    "pool": {"rules": [{"name": "all", "local_addresses": ["127.0.0.3", "127.0.0.4"]}]},
    "another program's": {"rules": [{"name": "all", "match": {"program": "no-such"}, "via": "bind"}]},
}
STEERED = ("range", "bind", "pool")

# Where the ports are held by others, and what else makes steering go far.
HELD = range(41000, 41200)
SET = f"{HELD[0]}-{HELD[-1]}"
FAR = {
    "range": {"rules": [{"name": "all", "via": "range", "local_ports": SET}]},
    "bind": {"rules": [{"name": "all", "via": "bind", "local_ports": SET}]},
    "hash": {"rules": [{"name": "all", "via": "bind", "local_ports": SET, "order": "double-hash",
                        "rest": 60, "exhausted": "kernel"}]},
    "pool": {"rules": [{"name": "all", "via": "bind", "local_ports": SET,
                        "local_addresses": ["127.0.0.3", "127.0.0.4"]}]},
    "late_bind": {"rules": [{"name": "all", "local_ports": SET}], "late_bind": ["*"]},
}


@contextlib.contextmanager
def options_of(mode, modes):
    """berth run's options for a mode."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump({"version": 1, **(modes[mode] or {"rules": [{"name": "none"}]})}, f)
        f.flush()
        yield ["-P", f.name] if modes[mode] else []


def observe(mode, *command, modes=MODES, **options):
    with options_of(mode, modes) as chosen:
        return Observed(list(map(str, command)), *chosen, **options)


def total(observed, key):
    return sum(s["calls"][key] for s in observed.stats)


# --- arguments --------------------------------------------------------------------------------

def test_bad_arguments():
    """14,900 calls with bad pointers, lengths and descriptors end as they do without berth"""
    fresh_namespace()
    sysctl("ipv4.tcp_tw_reuse", "0")
    with Outliving() as server:
        command = [f"{PROGRAMS}/bad_arguments", server.port]
        plain = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        want = plain.stdout.splitlines()
        assert len(want) > 14900, len(want)
        late = {"late_bind": {"rules": [{"name": "all"}], "late_bind": ["*"]}}
        for mode in {**MODES, **late}:
            o = observe(mode, *command, modes={**MODES, **late})
            equal(o.process.returncode, 0, f"exit status, {mode}")
            got = o.process.stdout.splitlines()
            equal([pair for pair in zip(got, want) if pair[0] != pair[1]][:5], [], mode)
            equal(len(got), len(want), f"lines, {mode}")
            assert total(o, "connect") > 100, o.stats
            if mode in STEERED:
                assert o.total("chosen_by", "policy") > 100, (mode, o.stats)


ERRNO = """
    libc = ctypes.CDLL(None, use_errno=True)
    to = struct.pack("=H", AF_INET) + struct.pack("!H4s8x", int(sys.argv[1]), inet_aton("127.0.0.1"))
    anywhere = struct.pack("=H14x", AF_INET)
    def after(call, *arguments):
        ctypes.set_errno(77)
        result = call(*arguments)
        print(call.__name__, "failed" if result < 0 else "ok", ctypes.get_errno())
    for kind in SOCK_STREAM, SOCK_DGRAM:
        s = socket(AF_INET, kind)
        after(libc.bind, s.fileno(), anywhere, 16)
        after(libc.connect, s.fileno(), to, 16)
        after(libc.connect, s.fileno(), to, 16)
        s = socket(AF_INET, kind)
        after(libc.connect, s.fileno(), to, 16)
        after(libc.getsockname, s.fileno(), ctypes.create_string_buffer(64), ctypes.byref(ctypes.c_int(64)))
        after(libc.sendto, s.fileno(), b"x", 1, 0, None, 0)
        s = socket(AF_INET, kind)
        after(libc.listen, s.fileno(), 1)
        after(libc.setsockopt, s.fileno(), 0, 51, ctypes.byref(ctypes.c_int(0)), 4)
    s = socket(AF_INET, SOCK_DGRAM)
    after(libc.sendto, s.fileno(), b"x", 1, 0, to, 16)
    after(libc.dup2, s.fileno(), 99)
    after(libc.close, 99)
    after(libc.close, 99)
    after(libc.connect, 99, to, 16)
    after(libc.connect, s.fileno(), None, 16)
"""


def test_errno():
    """errno is untouched by a call that succeeds, and the kernel's after one that fails"""
    with Server() as server:
        command = program(ERRNO, server.port)
        plain = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert " ok 77" in plain and " failed " in plain, plain
        for mode in MODES:
            equal(observe(mode, *command).process.stdout, plain, mode)


def test_errno_at_main():
    """errno is 0 at main(), whatever the library found at its start"""
    command = [f"{PROGRAMS}/errno_at_main"]
    with tempfile.TemporaryDirectory() as folder:
        bad = os.path.join(folder, "bad.json")
        good = os.path.join(folder, "good.json")
        image = os.path.join(folder, "image")
        with open(bad, "w", encoding="ascii") as f:
            f.write("{")
        with open(good, "w", encoding="ascii") as f:
            json.dump({"version": 1, "rules": [{"local_ports": "1-2"}]}, f)
        equal(berth("compile", good, "-o", image).returncode, 0)
        for variables in ({}, {"BERTH_RECORD": folder}, {"BERTH_RECORD": "/nonexistent/x"},
                          {"BERTH_RECORD": "//nonexistent/x"}, {"BERTH_VERBOSE": "1"},
                          {"BERTH_POLICY": bad}, {"BERTH_POLICY": good}, {"BERTH_POLICY": image},
                          {"BERTH_POLICY": "/nonexistent"}, {"BERTH_LOG": "/nonexistent/log"},
                          {"BERTH_LOG": folder + "/log"}, {"BERTH_EVENTS": "x"}):
            done = subprocess.run(command, capture_output=True, text=True,
                                  env={**os.environ, "LD_PRELOAD": LIBBERTH, **variables})
            equal((done.returncode, done.stdout), (0, "0\n"), variables)


# --- signals, cancellation --------------------------------------------------------------------

def interrupted(how):
    for mode in MODES:
        fresh_namespace()
        with Outliving() as server:
            o = observe(mode, f"{PROGRAMS}/interrupted", how, server.port, 1500)
        equal((o.process.returncode, o.process.stderr), (0, ""), mode)
        words = o.process.stdout.split()
        made = dict(zip(words[::2], map(int, words[1::2])))
        assert made["handled"] > 0, mode
        calls = {key: total(o, key) for key in ("connect", "bind", "send")}
        equal((calls["bind"], calls["send"]), (made["binds"], made["sends"]), mode)
        # A call that was jumped out of may be counted by one side alone, and leave half an event.
        assert abs(calls["connect"] - made["connects"]) <= made["jumps"], (mode, calls, made)
        assert o.total("events", "torn") <= made["jumps"], (mode, made)
        equal((o.total("events", "lost"), made["jumps"] > 0), (0, how == "jump"), mode)


def test_restart():
    """A handler that connects, binds and sends, on a small stack, in the middle of connects"""
    interrupted("restart")


def test_eintr():
    """... without SA_RESTART: connects fail with EINTR, as without berth"""
    interrupted("eintr")


def test_jump():
    """... and one that leaves by siglongjmp()"""
    interrupted("jump")


def test_cancel():
    """A thread that is cancelled in a blocking connect ends, and the program goes on"""
    for how in ("deferred", "asynchronous"):
        for mode in MODES:
            fresh_namespace()
            with full_listener() as full, Server() as server:
                o = observe(mode, f"{PROGRAMS}/cancelling", how, full.getsockname()[1], server.port)
            equal((o.process.returncode, o.process.stdout, o.process.stderr),
                  (0, "cancelled 20, then connected\n", ""), f"{how}, {mode}")
            equal(len(pick(o.events, "connect", berth__result="ok")), 1, "connects that succeeded")


# --- stacks -----------------------------------------------------------------------------------

LAW = 4096  # bytes that a hook may use


def depths(text):
    return {name: int(depth) for name, depth in (line.split() for line in text.splitlines())}


def said(command, environment):
    return subprocess.run(command, capture_output=True, text=True, check=True,
                          env=environment).stdout


def shallow(mode, *before, modes=MODES):
    """The calls go less than that deeper than without berth, with a line of BERTH_LOG, and each name
    bound at the start: to bind one at its first call goes deeper than any hook."""
    with tempfile.TemporaryDirectory() as folder, Outliving() as server:
        environment = {**os.environ, "LD_BIND_NOW": "1", "BERTH_LOG": folder + "/log"}
        command = [*before, f"{PROGRAMS}/stack_use", str(server.port), "9"]
        plain = depths(said(command, environment))
        if mode:
            used = observe(mode, *command, modes=modes, env=environment).process.stdout
        else:
            used = said(command, {**environment, "LD_PRELOAD": LIBBERTH, "BERTH_RECORD": folder})
    used = depths(used)
    equal(used.keys(), plain.keys(), "calls")
    more = {name: used[name] - plain[name] for name in plain}
    deepest = max(more, key=more.get)
    print(f"# {mode} {before[1:]}: {deepest}, {more[deepest]} bytes")
    assert 0 < more[deepest] < LAW, more


def test_stack():
    """A hook needs less than 4 KiB of stack, whatever it goes through"""
    for mode in MODES:
        fresh_namespace()
        shallow(mode)


def test_stack_first_event():
    """... where the first event makes the recording"""
    shallow(None)


def test_stack_far():
    """... where each port is held, or shared, and with late_bind"""
    for mode in FAR:
        for listening in True, False:
            for before in (), (f"{PROGRAMS}/without_netlink", "EPERM"):
                fresh_namespace()
                with holding(HELD, "0.0.0.0", listening):
                    shallow(mode, *before, modes=FAR)


def small_stacks(mode, modes):
    with Outliving() as server:
        o = observe(mode, f"{PROGRAMS}/stack_use", "small", server.port, modes=modes)
    equal((o.process.returncode, o.process.stdout), (0, "done\n"), mode)
    equal(total(o, "connect"), 20 * 3, mode)


def test_small_stacks():
    """Threads with stacks of 16 KiB"""
    for mode in MODES:
        fresh_namespace()
        small_stacks(mode, MODES)
    for mode in FAR:
        fresh_namespace()
        with holding(HELD, "0.0.0.0", listening=True):
            small_stacks(mode, FAR)


# --- clone ------------------------------------------------------------------------------------

def test_clone():
    """Children of clone(), with the parent's memory and without, are counted to the last connect"""
    for mode in MODES:
        fresh_namespace()
        with Outliving() as server:
            o = observe(mode, f"{PROGRAMS}/cloned", server.port)
        equal((o.process.returncode, o.process.stderr), (0, ""), mode)
        equal(total(o, "connect"), int(o.process.stdout), mode)


FORKS = """
    import threading, time
    stop = threading.Event()
    made = [0] * 4
    def connect(i):
        while not stop.is_set():
            s = socket()
            s.connect(("127.0.0.1", int(sys.argv[1])))
            s.close()
            made[i] += 1
            time.sleep(0.001)  # four threads that never wait leave the others no interpreter
    threads = [threading.Thread(target=connect, args=(i,)) for i in range(4)]
    for t in threads: t.start()
    for _ in range(30):
        child = os.fork()
        if child == 0:
            s = socket()
            s.connect(("127.0.0.1", int(sys.argv[1])))
            os._exit(0)
        if os.waitpid(child, 0)[1]: sys.exit("a child failed")
    stop.set()
    for t in threads: t.join()
    print(sum(made) + 30)
"""


def test_fork_among_threads():
    """fork() while other threads connect: no deadlock, and exact sums"""
    for mode in MODES:
        fresh_namespace()
        sysctl("ipv4.tcp_tw_reuse", "1")
        with Outliving() as server:
            o = observe(mode, *program(FORKS, server.port))
        equal((o.process.returncode, o.process.stderr), (0, ""), mode)
        equal(total(o, "connect"), int(o.process.stdout), mode)


MOVES = """
    libc = ctypes.CDLL(None, use_errno=True)
    def connect():
        s = socket()
        s.connect_ex(("127.0.0.1", 9))
        s.close()
    connect()
    assert libc.unshare(0x40000000) == 0
    os.system("ip link set lo up")
    connect()
    if os.fork() == 0:
        connect()
        os._exit(0)
    os.wait()
"""


def test_another_namespace():
    """What a process does in a namespace that it has entered is recorded all the same"""
    if os.geteuid():
        raise berthtest.Skip("not root")
    for mode in MODES:
        o = observe(mode, *program(MOVES))
        equal((o.process.returncode, o.process.stderr), (0, ""), mode)
        equal(sum(s["calls"]["connect"] for s in o.stats
                  if s["process.executable.name"].startswith("python")), 3, mode)


if __name__ == "__main__":
    berthtest.main()
