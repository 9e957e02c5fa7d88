# SPDX-License-Identifier: MIT
"""What berth costs, in system calls, counted by strace."""
import collections
import contextlib
import functools
import json
import os
import socket
import statistics
import subprocess
import tempfile

import berthtest
from berthtest import BERTH, LIBBERTH, PROGRAMS, TRACED, Server, Skip, equal, need, port_range

FEW, MANY = 20, 220

# What loading any one more shared object is made of. How many of each depends on its segments.
MAPPING = {"mmap", "mprotect", "munmap"}


def trace(command, **variables):
    """How often the command makes each system call: a Counter by name."""
    with tempfile.NamedTemporaryFile("r") as f:
        sets = [word for name, value in variables.items() for word in ("-E", f"{name}={value}")]
        run = subprocess.run(["strace", "-f", "-q", "-o", f.name, *sets, *map(str, command)],
                             capture_output=True, text=True)
        lines = f.read().splitlines()
    equal((run.returncode, run.stderr), (0, ""), f"strace {command}")
    calls = (line.split(None, 1)[1] for line in lines)
    return collections.Counter(c.split("(", 1)[0] for c in calls
                               if "(" in c and not c.startswith(("<...", "+++", "---")))


@functools.cache
def clock_is_asked():
    """Whether the vDSO cannot read this machine's clock, so that each look at it is a system call:
    vdso(7), and /sys/devices/system/clocksource."""
    return trace(["date"])["clock_gettime"] > 0


@functools.cache
def duration_of_call():
    """In nanoseconds, under strace."""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        trace([f"{PROGRAMS}/calls", "connect", FEW, server.port], LD_PRELOAD=LIBBERTH,
              BERTH_RECORD=folder)
        events = berthtest.berth("log", "--json", folder).stdout.splitlines()
    return statistics.median(json.loads(event)["berth.duration_ns"] for event in events)


def need_speed():
    """libberth looks once more after a call that took a millisecond, and another time after ten."""
    if duration_of_call() >= 1e6:
        raise Skip(f"a connect takes {duration_of_call() / 1e6:.0f} ms here under strace: after more "
                   "than 1 ms libberth looks once more")


def trace_calls(kind, count, port, shim, **variables):
    """`count` calls of this kind; recorded, if so, in a directory that was empty."""
    command = [f"{PROGRAMS}/calls", kind, count, port]
    with tempfile.TemporaryDirectory() as folder:
        if shim:
            variables = dict(variables, LD_PRELOAD=LIBBERTH, BERTH_RECORD=folder)
        calls = trace(command, **variables)
    if clock_is_asked():
        del calls["clock_gettime"]
    return calls


def grown(kind, port, shim, **variables):
    """The system calls that MANY calls of this kind make and FEW do not."""
    few, many = (trace_calls(kind, count, port, shim, **variables) for count in (FEW, MANY))
    many.subtract(few)
    assert many.total() >= MANY - FEW, f"{kind} makes no system calls: {many}"
    return many


def cost(kind):
    """What the shim adds to one call, by name: {'getsockname': 1.0}. Rounded: a call that took
    10 ms, on a machine under load, is looked at once more."""
    need("strace")
    need_speed()
    with Server() as server:
        bare, shim = grown(kind, server.port, False), grown(kind, server.port, True)
    shim.subtract(bare)
    each = {name: round(n / (MANY - FEW), 1) for name, n in shim.items()}
    added = {name: n for name, n in each.items() if n}
    print(f"# {kind}: {added}")
    return added


def at_most(kind, bound):
    added = sum(cost(kind).values())
    assert added <= bound, f"{kind}: {added} system calls more than without, {bound} allowed"


def test_connect():
    """a TCP connect of a socket that the program made: 1 system call more"""
    at_most("connect", 1)


def test_connect_inherited():
    """a TCP connect of a socket that came through execve: at most 2 more"""
    at_most("connect-inherited", 2)


def test_connect_that_fails():
    """a TCP connect that is refused: at most 3 more"""
    at_most("refused", 3)


def test_connect_inherited_that_fails():
    """a TCP connect of an inherited socket that is refused: at most 3 more"""
    at_most("refused-inherited", 3)


def test_bind():
    """a bind: at most 2 more"""
    at_most("bind", 2)


def test_unix():
    """a connect on AF_UNIX: none more"""
    equal(cost("unix"), {}, "more")


def test_unix_that_fails():
    """a connect on AF_UNIX that fails: none more"""
    equal(cost("unix-refused"), {}, "more")


def test_unix_inherited():
    """a connect of an inherited AF_UNIX socket: none more"""
    equal(cost("unix-inherited"), {}, "more")


def test_unix_inherited_that_fails():
    """a connect of an inherited AF_UNIX socket that fails: at most a look at its address"""
    at_most("unix-refused-inherited", 1)


def test_send_connected():
    """send, sendto, sendmsg, sendmmsg, write on connected UDP and TCP: none more"""
    equal(cost("send-connected"), {}, "more on UDP")
    equal(cost("send-tcp"), {}, "more on TCP")


def test_send_with_port():
    """the same to an address, on a UDP socket that is bound or was used before: none more"""
    equal(cost("send-bound"), {}, "more on a bound one")
    equal(cost("send-used"), {}, "more on a used one")


def test_send_accepted():
    """the same on an accepted TCP socket: none more"""
    equal(cost("send-accepted"), {}, "more")


def test_send_pair():
    """sendmsg on a socketpair: none more"""
    equal(cost("send-pair"), {}, "more")


def test_read_write():
    """read, write; socket, dup2, close: none more"""
    equal(cost("read-write"), {}, "more for read and write")
    equal(cost("socket"), {}, "more for socket, dup2 and close")


# --- what a policy adds --------------------------------------------------------------------------

@contextlib.contextmanager
def image(rule):
    """A compiled policy of this one rule: its path."""
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/policy.json", "w") as f:
            json.dump({"version": 1, "rules": [{"name": "counted", **rule}]}, f)
        subprocess.run([BERTH, "compile", f"{folder}/policy.json", "-o", f"{folder}/image"],
                       check=True)
        yield f"{folder}/image"


def cost_steered(kind, bare, rule):
    """What the shim and this rule add to one call over the plain one of kind `bare`."""
    need("strace")
    need_speed()
    with Server() as server, image(rule) as path:
        plain = grown(bare, server.port, False)
        steered = grown(kind, server.port, True, BERTH_POLICY=path)
    steered.subtract(plain)
    each = {name: round(n / (MANY - FEW), 1) for name, n in steered.items()}
    added = {name: n for name, n in sorted(each.items()) if n}
    print(f"# {kind} with {json.dumps(rule)}: {sum(added.values()):g}: {added}")
    return added


def steered(kind, rule, bound):
    """The sum, and that it is no more than this."""
    added = sum(cost_steered(kind, kind, rule).values())
    by_chance = 0.5  # now and then a port is offered that an earlier connection still has
    assert added < bound + by_chance, f"{kind} with {rule}: {added} system calls more, not {bound}"
    return added


RANGE = {"via": "range", "local_ports": ["40000-59999"]}
# So many that a port which an earlier call closed just now is hardly ever drawn.
BIND = {"via": "bind", "local_ports": ["2000-32767"]}


def test_steered_by_range():
    """a TCP connect steered by range to a free port: at most 4 system calls more"""
    steered("connect", RANGE, 4)
    for order in "kernel", "hash":
        steered("connect", {**RANGE, "order": order}, 4)
    for order in "sequential", "least-recent": # a port that was given just now may come once more
        steered("connect", {**RANGE, "order": order}, 5)
    steered("connect", {"local_ports": ["40000-59999"]}, 4)
    steered("refused", RANGE, 5)


def test_steered_by_bind():
    """a TCP connect steered by bind to a port that nobody has: at most 7 more"""
    steered("connect", BIND, 7.5)
    steered("refused", BIND, 8.5)


def test_steered_inherited():
    """a TCP connect of a socket that came through execve, steered by range: at most 9 more"""
    steered("connect-inherited", RANGE, 9)


def test_steered_udp():
    """a UDP connect steered by range or bind: at most 6 more, a sendto 7"""
    steered("udp", RANGE, 6)
    steered("udp", BIND, 6)
    steered("udp-sendto", RANGE, 7)
    steered("udp-sendto", BIND, 7)


def test_steered_bind():
    """a bind to port 0 of a UDP socket, steered: at most 7 more"""
    steered("bind", RANGE, 7)


def test_steered_from_pool():
    """a TCP connect steered by range from a pool of addresses: at most 9 more"""
    steered("connect", {**RANGE, "local_addresses": ["127.0.0.2", "127.0.0.3"]}, 9)


def test_matched_not_steered():
    """a connection that a rule leaves alone, or no rule takes: as many as without, and one look"""
    steered("connect", {"match": {"to": ["192.0.2.0/24"]}, **RANGE}, 2)
    steered("connect", {"match": {"to": ["127.0.0.0/8"]}}, 2)
    steered("send-used", RANGE, 0)
    steered("send-bound", RANGE, 0)
    steered("read-write", RANGE, 0)
    steered("socket", RANGE, 0)


def cost_of_refusal(via, low):
    """What one candidate more costs that the kernel refuses: all ports of the set have listeners,
    and no window is offered where `tries` is given."""
    with contextlib.ExitStack() as stack:
        for port in range(low, low + 5):
            s = stack.enter_context(socket.socket())
            s.bind(("127.0.0.1", port))
            s.listen()
        one, five = (sum(cost_steered("no-port", "connect", {
            "via": via, "tries": 64, "local_ports": [f"{low}-{low + n - 1}"]}).values())
                     for n in (1, 5))
    each = (five - one) / 4
    print(f"# {via}: {each:g} system calls for each refused candidate")
    return each


def test_refused_by_range():
    """a candidate that the kernel refuses, by range: 2 system calls"""
    port_range(62000, 62999)  # where no other test leaves from
    assert cost_of_refusal("range", 62000) <= 2


def test_refused_by_bind():
    """a candidate that the kernel refuses, by bind: at most 6, two of them to ask who has it"""
    assert cost_of_refusal("bind", 1500) <= 6


# --- programs that never connect ----------------------------------------------------------------

def empty_library(folder):
    """A shared object with nothing in it."""
    compiler, = need("cc")
    path = f"{folder}/empty.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-nostdlib", "-x", "c", "/dev/null", "-o", path],
                   check=True)
    return path


def unlike(one, other):
    """The calls of which there are more in `one`, and fewer: but for mapping."""
    more = {name: n for name, n in (one - other).items() if name not in MAPPING}
    fewer = {name: n for name, n in (other - one).items() if name not in MAPPING}
    return more, fewer


def test_start():
    """loading libberth.so makes the system calls of loading an empty library, and maps"""
    need("strace")
    with tempfile.TemporaryDirectory() as folder:
        empty = trace(["/bin/true"], LD_PRELOAD=empty_library(folder))
        shim = trace(["/bin/true"], LD_PRELOAD=LIBBERTH)
    equal(unlike(shim, empty), ({}, {}), "more and fewer calls")
    # A segment is an mmap, RELRO an mprotect; bss beyond its file's page one mmap more.
    more = {name: n for name, n in (shim - empty).items() if name in MAPPING}
    print(f"# libberth.so maps more than an empty library: {more}")
    assert more.get("mmap", 0) <= 4 and more.get("mprotect", 0) <= 1, more


def started_by(run):
    """The system calls of /bin/true, from its own execve on, under this command."""
    need("strace")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["strace", "-ff", "-q", "-o", f"{folder}/trace", *run], check=True,
                       capture_output=True, env=TRACED)
        for name in os.listdir(folder):
            with open(f"{folder}/{name}") as f:
                lines = f.read().splitlines()
            at = [i for i, line in enumerate(lines) if line.startswith("execve(\"/bin/true\"")]
            if at:
                return collections.Counter(line.split("(", 1)[0] for line in lines[at[0]:]
                                           if not line.startswith(("+++", "---")))
    raise AssertionError("/bin/true was not run")


def test_start_with_recording():
    """with a prepared recording, ten more: it is attached to, are there filters, and who this is"""
    alone = started_by(["-E", f"LD_PRELOAD={LIBBERTH}", "/bin/true"])
    run = started_by([BERTH, "run", "-q", "--", "/bin/true"])
    more, fewer = run - alone, alone - run
    equal(dict(fewer), {}, "fewer")
    equal(dict(more), {"openat": 2, "read": 1, "statx": 1, "mmap": 1, "close": 2, "madvise": 1,
                       "getpid": 1, "getppid": 1})


def test_no_file():
    """a program that never connects makes no recording, nor a directory for one"""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/named")
        for variable, value in (("BERTH_RECORD", f"{folder}/named"),
                                ("BERTH_RECORD", f"{folder}/missing"),
                                ("XDG_RUNTIME_DIR", folder), ("RUNTIME_DIRECTORY", folder)):
            environment = dict(os.environ, LD_PRELOAD=LIBBERTH, **{variable: value})
            subprocess.run(["/bin/sh", "-c", "exec ls /"], env=environment, check=True,
                           stdout=subprocess.DEVNULL)
            equal((os.listdir(folder), os.listdir(f"{folder}/named")), (["named"], []), variable)


if __name__ == "__main__":
    berthtest.main()
