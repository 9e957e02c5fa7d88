# SPDX-License-Identifier: MIT
"""Programs with little of what a limit gives: the same result as without berth, no signal, steered
all the same; and recorded, or one line says why not."""
import os
import re
import resource
import tempfile

import berthtest
from berthtest import Skip, equal, log_of
from waytest import (EVENTS, STEERED, STEPS, WAYS, run, steered_right, steps, variables,
                     writes_into_pipes_at_once)

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \d+ \S+ (connect|bind) (tcp|udp) .*")
NOBODY = 65534


def limited(*words, limits=(), events=EVENTS, logged=None, recorded=None, user=None):
    """In each way: as without berth, a line of BERTH_LOG an event, with the rule's ports. They are
    in a recording or not, as `recorded` tells; None: they are, or a line says why not. `logged`: so
    many have a line."""
    words = words or STEPS
    bare = run(steps(*words), {}, limits=limits)
    equal(bare[2], "", "stderr without berth")
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            if user:
                os.chown(folder, user, user)
            record = folder + "/new"
            got = run(steps(*words), {**variables(way, record), "BERTH_LOG": "stderr"},
                      limits=limits)
            equal(got[:2], bare[:2], f"status and stdout, {way}, {got[2]}")
            lines = got[2].splitlines()
            complaints = [line for line in lines if line.startswith("berth: BERTH_RECORD: ")]
            said = [line for line in lines if LINE.fullmatch(line)]
            equal((len(complaints) < 2, len(said)), (True, len(lines) - len(complaints)), lines)
            equal(len(said), events if logged is None else logged, f"lines, {way}")
            rule = "bind" if way == "bind" else "json"
            chosen = f" policy={rule} " if way in STEERED else " kernel "
            assert all(chosen in line + ' ' for line in said), lines
            seen = log_of(record) if os.path.exists(record) and os.listdir(record) else []
            equal(len(seen), 0 if complaints else events, f"events, {way}, {complaints}")
            steered_right(way, seen)
            assert recorded in (None, not complaints), (way, complaints)


# --- set before the program starts ------------------------------------------------------------


def test_descriptors():
    """RLIMIT_NOFILE from 4 on"""
    for files in range(4, 12):
        limited(limits=[(resource.RLIMIT_NOFILE, files)], recorded=True if files > 8 else None)


def test_descriptors_of_run():
    """... under berth run COMMAND runs, and what cannot be recorded is said"""
    for files in range(4, 12):
        limits = [(resource.RLIMIT_NOFILE, files)]
        bare = run(steps("connect", 9, "exit", 7), {}, limits=limits)
        got = run([berthtest.BERTH, "run", "-q", "--", *steps("connect", 9, "exit", 7)], {},
                  limits=limits)
        equal(got[:2], bare[:2], got[2])
        assert not got[2] or "nothing is recorded" in got[2], got[2]
        assert files < 10 or not got[2], got[2]


def test_file_size():
    """RLIMIT_FSIZE of nothing, and of less than a recording: no SIGXFSZ, not recorded"""
    for size in 0, 1, 4096, 500_000:
        limited(limits=[(resource.RLIMIT_FSIZE, size)], recorded=False)
    limited(limits=[(resource.RLIMIT_FSIZE, 1 << 20)], recorded=True)


def least(which, low, high):
    """The least limit, of multiples of 64 KiB, with which the program runs without berth."""
    while high - low > 1 << 16:
        middle = (low + high) // 2
        if run(steps(), {}, limits=[(which, middle)])[0] == 7:
            high = middle
        else:
            low = middle
    return high


def test_address_space():
    """RLIMIT_AS 4 MiB above what the program needs, and 8"""
    limit = least(resource.RLIMIT_AS, 0, 1 << 30)
    limited(limits=[(resource.RLIMIT_AS, limit + (4 << 20))])
    limited(limits=[(resource.RLIMIT_AS, limit + (8 << 20))], recorded=True)


def test_data():
    """RLIMIT_DATA 4 MiB above what the program needs"""
    limit = least(resource.RLIMIT_DATA, 0, 1 << 28)
    limited(limits=[(resource.RLIMIT_DATA, limit + (4 << 20))], recorded=True)


def test_stack():
    """RLIMIT_STACK as small as the program itself bears"""
    limit = least(resource.RLIMIT_STACK, 0, 8 << 20)
    for stack in limit, limit + (64 << 10):
        limited(limits=[(resource.RLIMIT_STACK, stack)], recorded=True)


def test_the_rest():
    """RLIMIT_CORE, LOCKS, MEMLOCK, MSGQUEUE, NPROC, SIGPENDING of nothing"""
    names = "CORE", "MEMLOCK", "MSGQUEUE", "NPROC", "SIGPENDING"
    limited(limits=[(getattr(resource, "RLIMIT_" + name), 0) for name in names], recorded=True)


# --- set by the program, before its first event or after it -----------------------------------


def later(*setting, recorded=None):
    limited(*setting, *STEPS, recorded=recorded)
    limited("connect", 9, *setting, *STEPS, events=EVENTS + 1, recorded=True)


def test_set_by_the_program():
    """each limit set to nothing by the program itself, in mid-run"""
    later("limit", "FSIZE=0")
    for name in "CORE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NPROC", "SIGPENDING", "STACK":
        later("limit", name + "=0", recorded=True)
    later("limit", "DATA=0")
    for size in 0, 4096, 100_000:
        later("memory", size)


def test_descriptors_used_up():
    """RLIMIT_NOFILE of nothing once the socket is there"""
    speaks = writes_into_pipes_at_once()
    if speaks:  # else neither the event's line nor the one that says why it is not recorded
        limited("socket", "limit", "NOFILE=0", "connect", 9, events=1)
    limited("connect", 9, "socket", "limit", "NOFILE=0", "connect", 9, events=2,
            logged=2 if speaks else 1, recorded=True)


def test_locked_memory():
    """mlockall() of all memory to come, with and without room for a recording"""
    if os.geteuid():
        raise Skip("needs root, to become another user")
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    for memory in [m << 20 for m in (0, 2, 4, 5, 6, 8) if m << 20 <= most or most < 0]:
        lock = ["limit", f"MEMLOCK={memory}", "lock"]
        limited("setuid", NOBODY, *lock, *STEPS, user=NOBODY)
        limited("setuid", NOBODY, "connect", 9, *lock, *STEPS, events=EVENTS + 1, user=NOBODY,
                recorded=True)


if __name__ == "__main__":
    berthtest.main()
