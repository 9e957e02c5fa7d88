# SPDX-License-Identifier: MIT
"""Programs that lock themselves in: a filter kills at any system call but their own and those that
libberth.so(8) names as berth's, read from the page itself."""
import collections
import contextlib
import os
import re
import signal
import socket

import berthtest
from berthtest import (PROGRAMS, Observed, Server, Skip, equal, fresh_namespace, holding, policy,
                       program)

PAGE = os.path.join(os.environ.get("srcdir", "."), "man/libberth.so.8")

# By tests/programs/sealed.c: what behind the seal is an event.
CLAIMED = 14
CALLS = {"connect": 8, "bind": 2, "listen": 1, "sendto": 3, "sendmsg": 1, "sendmmsg": 1}


def named(*items):
    """The system calls that the page's items of these headings name, in "System calls"."""
    return sorted({call for item in items for call in named_by(item)})


def named_by(item):
    with open(PAGE) as f:
        section = f.read().split(".Ss System calls\n")[1].split("\n.Ss ")[0]
    for part in section.split("\n.It ")[1:]:
        heading, _, text = part.partition("\n")
        if heading == item:
            return re.findall(r"^\.Xr (\w+) 2", text, re.MULTILINE)
    raise AssertionError(f"libberth.so(8) has no item {item!r} in System calls")


@contextlib.contextmanager
def scene():
    """The first of three ports: a listener, one whose queue is full, and nobody."""
    first = 9000
    with contextlib.ExitStack() as stack:
        server, full, nobody = (stack.enter_context(socket.socket()) for _ in range(3))
        for number, s in enumerate((server, full, nobody)):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", first + number))
        server.listen(4096)
        full.listen(0)
        waiting = stack.enter_context(socket.create_connection(("127.0.0.1", first + 1)))
        assert waiting
        yield first


def sealed(where, calls, *options, more=(), before=()):
    """The program, behind a seal that lets these of berth's calls pass, with berth's options."""
    need_filter()
    with scene() as first:
        o = Observed([*before, f"{PROGRAMS}/sealed", where, str(first), *calls, *more], *options)
    print(f"# {where}, {' '.join(calls)}: {o.process.stdout!r}")
    equal((o.process.returncode, o.process.stdout, o.process.stderr), (0, "done\n", ""),
          "exit status, stdout and stderr")
    return o


def need_filter():
    """Or the test is skipped."""
    if not os.path.exists("/proc/sys/kernel/seccomp/actions_avail"):
        raise Skip("this kernel has no seccomp filters")


def counted(o, **others):
    seen = collections.Counter(e["berth.call"] for e in o.events)
    equal(seen, {**CALLS, **others}, "events")


def test_page():
    """libberth.so(8) names two calls as those of observing: getsockname and one more"""
    calls = named("Observing")
    equal((len(calls), len(set(calls)), "getsockname" in calls), (2, 2, True), str(calls))


def test_seal():
    """without berth's calls a program that is observed lives as it does bare"""
    need_filter()
    for where in "main", "thread", "fork", "fork-thread", "twice", "exit-thread", "clone":
        for calls in ["0"], ["getsockname"], ["getsockopt"]:
            sealed(where, calls)


def observed(where, pids=1, unknown=(), **more):
    o = sealed(where, named("Observing"), **more)
    counted(o)
    equal(len({e["process.pid"] for e in o.events}), pids, "processes")
    row, = o.stats
    for key in "net", "pid", "mnt":
        inode = 0 if key in unknown else os.stat(f"/proc/self/ns/{key}").st_ino
        equal(row[f"berth.{key}_namespace"], inode, key)
    equal(row["berth.state"], "exited", "state")
    return o


def test_observed():
    """observed in a sealed main thread: each event, and no other call than those named"""
    o = observed("main")
    event = o.events[0]
    equal(event["berth.tid"], event["process.pid"], "thread")


def test_observed_thread():
    """in a sealed thread, which ends the process by _exit(), or by exit()"""
    for where in "thread", "exit-thread":
        tid, = {e["berth.tid"] for e in observed(where).events}
        pid, = {e["process.pid"] for e in observed(where).events}
        assert tid != pid, tid


def parents(o):
    row, = o.stats
    return row["process.pid"], row["process.parent_pid"]


def test_observed_child():
    """in the sealed child of a fork, and in a grandchild"""
    for where in "fork", "twice":
        o = observed(where)
        pid, parent = parents(o)
        equal({e["berth.tid"] for e in o.events}, {pid}, "threads")
        assert 0 < parent != pid > 0, (pid, parent)


def test_observed_child_thread():
    """in a sealed thread of a fork's child, which is the first one there to do anything"""
    o = observed("fork-thread")
    pid, parent = parents(o)
    tid, = {e["berth.tid"] for e in o.events}
    equal(len({parent, pid, tid} - {0}), 3, "parent, process and thread")


def test_observed_clone():
    """in the sealed child of a clone() that libc does not know of"""
    o = observed("clone", unknown=("net", "mnt"))
    pid, parent = parents(o)
    equal({e["berth.tid"] for e in o.events}, {pid}, "threads")
    assert 0 < parent < pid, (pid, parent)


def test_observed_without_privileges():
    """in a worker that became another user before it sealed itself: the uid is the worker's"""
    if os.geteuid():
        raise Skip("needs root")
    row, = observed("setuid", more=("--", "12")).stats
    equal(row["process.user.id"], 12, "user")


# --- steering ------------------------------------------------------------------------------------

def steered(*items, rule, where=("main", "thread", "fork-thread"), before=(), held=(),
            listens=1, **more):
    """Steered by the rule, behind a seal that lets pass what these items name."""
    with policy(rule, **more) as file:
        for place in where:
            fresh_namespace()  # no port is held that another program had just now
            with holding(held):
                o = sealed(place, named("Observing", *items), "-P", file, before=before)
            counted(o, listen=listens)
            (row,) = o.stats
            (counters,) = row["rules"]
            print("#", counters)
            # Listening, and what fails before it has a port, is not steered.
            equal((counters["claimed"], counters["outside"]), (CLAIMED, 0), "claimed and outside")


SET = {"local_ports": ["40000-40999"]}
# In sequence: no port is drawn that the program itself holds, about which would be asked.
BIND_SET = {"local_ports": ["20000-20999"], "order": "sequential"}


def test_steered_by_range():
    """steered by range, behind the seal: no call that the page does not name for it"""
    for order in "kernel", "random", "sequential", "least-recent":
        steered("Steering by range", rule={**SET, "via": "range", "order": order})


def test_steered_by_bind():
    """steered by bind, because the rule or its ports want it: likewise"""
    steered("Steering by bind", rule={**BIND_SET, "via": "bind"})
    steered("Steering by bind", rule=BIND_SET)


def test_steered_among_held_ports():
    """by bind, among ports that others hold, so that it is asked who has the 4-tuple: likewise"""
    for before in (), (f"{PROGRAMS}/without_netlink", "EPERM"):
        steered("Steering by bind", "Steering among ports that are held", before=before,
                held=range(20000, 20080),  # more than a call remembers without mmap()
                rule={"local_ports": ["20000-20159"], "via": "bind", "order": "sequential"})


def test_steered_from_addresses():
    """from a pool of addresses: likewise"""
    pool = {"local_addresses": ["127.0.0.2", "127.0.0.3"]}
    steered("Steering by bind", rule={**SET, **pool, "via": "range"})
    steered("Steering by bind", rule={**BIND_SET, **pool, "via": "bind"})


def test_steered_late():
    """with late_bind: likewise"""
    steered("Steering by bind", rule={**SET, "via": "range"}, listens=2,
            late_bind=["sealed"])


# --- filters that refuse ---------------------------------------------------------------------

def test_refused():
    """calls of berth's that a filter refuses: the program's own go on, its counts stay"""
    names = named("Observing")
    for refused in (["getsockname"], ["getsockopt"], ["gettid"], names):
        calls = [f"-{c}" if c in refused else c for c in names]
        o = sealed("main", calls)
        # Without getsockopt nobody knows whether a failed call's address may be read.
        seen = collections.Counter(e["berth.call"] for e in o.events)
        assert not refused == ["gettid"] or seen == CALLS, seen
        print(f"# without {refused}: {dict(seen)}")


# --- programs of others ----------------------------------------------------------------------

def test_namespaces():
    """a program that moves into other namespaces, and what it starts: each says its own"""
    if os.geteuid():
        raise Skip("needs root")
    with Server() as server:
        o = Observed(["unshare", "-p", "-n", "-f", "sh", "-c",
                      "stat -Lc %i /proc/self/ns/net; exec \"$@\"", "sh",
                      *program("""
                          s = socket(AF_INET, SOCK_DGRAM)
                          s.connect(('127.0.0.1', int(sys.argv[1]))) if 0 else s.bind(('', 0))
                          print(os.stat('/proc/self/ns/pid').st_ino)
                          """, server.port)])
    print("#", o.process.stdout, o.process.stderr)
    net, pid = map(int, o.process.stdout.split())
    row, = o.stats
    equal((row["berth.net_namespace"], row["berth.pid_namespace"]), (net, pid), "namespaces")
    assert net != os.stat("/proc/self/ns/net").st_ino, net
    assert pid != os.stat("/proc/self/ns/pid").st_ino, pid
    equal(row["berth.state"], "exited", "state")


if __name__ == "__main__":
    berthtest.main()
