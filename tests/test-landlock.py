#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A program that landlock(7) allows to bind to no TCP port, or to few: what its rule then does is
marked, counted, said, and refused with --strict."""
import ctypes
import tempfile

import berthtest
from berthtest import Server, Skip, berth, equal, json_lines, pick, program, stats_of

CREATE, ADD, RESTRICT = 444, 445, 446  # system calls of 5.13
CLIENT = f"""
libc = ctypes.CDLL(None)
def landlock(*ports):
    one = struct.pack("=QQ", 0, 1)  # handled of the network: LANDLOCK_ACCESS_NET_BIND_TCP
    rules = libc.syscall({CREATE}, one, len(one), 0)
    for port in ports:
        assert libc.syscall({ADD}, rules, 2, struct.pack("=QQ", 1, port), 0) == 0
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.syscall({RESTRICT}, rules, 0) == 0
landlock(*map(int, sys.argv[2:]))
with socket() as s:
    result = s.connect_ex(("127.0.0.1", int(sys.argv[1])))
    print(errno.errorcode.get(result, "ok"), s.getsockname()[1] if not result else 0)
"""
SET = ["--via", "bind", "-L", "20000-20099"]
KEPT = "a sandbox (seccomp or Landlock) kept rule options from offering a port"


def need_landlock():
    """LANDLOCK_ACCESS_NET_BIND_TCP is of the fourth ABI (Linux 6.7)."""
    if ctypes.CDLL(None).syscall(CREATE, None, 0, 1) < 4:
        raise Skip("landlock(7) does not know of ports here")


def connected(*options, ports=()):
    """What the program was told, its port, the one event, its reason, and its rule's counters."""
    need_landlock()
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        recording = folder + "/recording.berth"
        run = berth("run", "-q", "--record", recording, *options, "--",
                    *program(CLIENT, server.port, *ports))
        equal((run.returncode, run.stderr), (0, ""))
        event, = pick(json_lines(berth("log", "--why", "--json", recording).stdout), "connect")
        rule, = stats_of(recording)[0]["rules"]
    word, port = run.stdout.split()
    return word, int(port), event, event["berth.why"], rule


def forbidden(event, rule):
    equal((event["berth.unsteered"], rule["forbidden"], rule["exhausted"]), ("forbidden", 1, 0))


def test_set():
    """no port of a set: 16 offers, the call fails, and that no other socket held them is not hidden"""
    word, _, event, reason, rule = connected(*SET)
    equal(word, "EADDRNOTAVAIL")
    forbidden(event, rule)
    equal((rule["tries"], reason), (16, KEPT + ": bind(2) to 16 ports was refused"))


def test_left_to_the_kernel():
    """... with `exhausted: kernel` it leaves from the kernel's port, which is said"""
    word, port, event, reason, rule = connected(*SET, "--exhausted", "kernel")
    assert word == "ok" and port not in range(20000, 20100), (word, port)
    forbidden(event, rule)
    assert reason.startswith(KEPT + "; "), reason


def test_set_strict():
    """... with --strict the call is not made, whatever `exhausted` says"""
    for options in [], ["--exhausted", "kernel"]:
        word, _, event, reason, rule = connected(*SET, "--strict", *options)
        equal((word, event["berth.result"], reason), ("EPERM", "failed", KEPT))
        forbidden(event, rule)


def test_allowed():
    """a port that Landlock allows is found among those that it refuses"""
    word, port, event, _, rule = connected("--order", "sequential", *SET, ports=[20012])
    equal((word, port), ("ok", 20012))
    assert "berth.unsteered" not in event, event
    equal((rule["forbidden"], rule["claimed"]), (0, 1))


def test_addresses():
    """a pool of addresses: from the kernel's address, which is said; with --strict not at all"""
    word, port, event, reason, rule = connected("-A", "127.0.0.5")
    equal((word, event["network.local.address"]), ("ok", "127.0.0.1"))
    forbidden(event, rule)
    assert reason.startswith(KEPT + "; "), reason
    word, _, event, reason, rule = connected("-A", "127.0.0.5", "--strict")
    equal((word, reason), ("EPERM", KEPT))
    forbidden(event, rule)


def test_range():
    """by range no bind(2) is needed: Landlock is not in the way"""
    if not berthtest.kernel("local_port_range"):
        raise Skip("no IP_LOCAL_PORT_RANGE")
    word, port, event, _, rule = connected("-L", "40000-40099")
    assert word == "ok" and port in range(40000, 40100), (word, port)
    equal((event.get("berth.unsteered"), rule["claimed"]), (None, 1))


if __name__ == "__main__":
    berthtest.main()
