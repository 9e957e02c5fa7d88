# SPDX-License-Identifier: MIT
"""Programs with libberth.so preloaded under valgrind's memcheck, observed and steered: no error and
no leak. It is no part of `make check`, but of `make check-valgrind`."""
import contextlib
import itertools
import json
import os
import subprocess
import tempfile

import berthtest
from berthtest import LIBBERTH, PROGRAMS, Observed, Server, equal, need, stats_of

FAILED = 99  # memcheck's status where it found something
MEMCHECK = ["--quiet", f"--error-exitcode={FAILED}", "--leak-check=full", "--trace-children=yes"]


def says_nothing(stderr):
    """Memcheck's lines begin with ==: an error, a leak, a child that a signal ended."""
    assert "==" not in stderr, stderr


@contextlib.contextmanager
def policy_file(*rules):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump({"version": 1, "rules": rules}, f)
        f.flush()
        yield f.name


def ways():
    """Rules that steer each connection, a way each."""
    for via, order in itertools.product(("range", "bind"), ("random", "hash", "least-recent")):
        yield {"name": "all", "local_ports": "41000-41999", "via": via, "order": order}


def memcheck(*command, statuses=(0,), policy=None):
    """Runs the command under memcheck, under berth, and returns what berth observed."""
    o = Observed([*need("valgrind"), *MEMCHECK, *command], *(["-P", policy] if policy else []))
    says_nothing(o.process.stderr)
    assert o.process.returncode in statuses, f"{command} with {policy}: {o.process}"
    assert o.events, f"{command} with {policy}: no event"
    if policy:
        assert o.total("chosen_by", "policy"), f"{command} with {policy}: not steered"
    return o


def each(*command, **options):
    memcheck(*command, **options)
    for rule in ways():
        with policy_file(rule) as policy:
            memcheck(*command, policy=policy, **options)


def test_tcp():
    """connects of TCP by several processes, observed and steered"""
    with Server() as server:
        each(f"{PROGRAMS}/many", "-p", 2, "-n", 20, "127.0.0.1", server.port)


def test_threads():
    """... by threads, and of UDP"""
    with Server() as server:
        each(f"{PROGRAMS}/many", "-p", 3, "-j", "-n", 10, "127.0.0.1", server.port)
        each(f"{PROGRAMS}/many", "-p", 2, "-u", "-n", 20, "127.0.0.1", server.port)


def test_binds():
    """binds to port 0 that rules take"""
    each(f"{PROGRAMS}/many", "-p", 2, "-b", "-n", 20, "127.0.0.1", 9)


def test_children():
    """children of a shell, and what it executes"""
    with Server() as server:
        many = f"{PROGRAMS}/many -n 3 127.0.0.1 {server.port}"
        each("sh", "-c", f"{many}; ({many}) & wait; exec {many}")


def test_exhausted():
    """a set of which no port is left"""
    with Server() as server:
        for via, exhausted in itertools.product(("range", "bind"), ("fail", "kernel")):
            rule = {"name": via, "local_ports": "41000-41004", "via": via, "rest": 60,
                    "exhausted": exhausted}
            with policy_file(rule) as path:
                o = memcheck(f"{PROGRAMS}/many", "-n", 9, "127.0.0.1", server.port,
                             statuses=(0, 1), policy=path)
            equal([r["claimed"] for s in o.stats for r in s["rules"]], [5], f"{via}, {exhausted}")


def test_curl():
    """curl"""
    curl, = need("curl")
    with Server(keep=False) as server:
        each(curl, "-s", f"http://127.0.0.1:{server.port}/", statuses=(52, 56))


def test_json():
    """a program that is given JSON: berth-policy.so comes and goes"""
    valgrind, = need("valgrind")
    with Server() as server, policy_file(next(ways())) as policy, \
            tempfile.TemporaryDirectory() as place:
        run = subprocess.run(
            [valgrind, *MEMCHECK, f"{PROGRAMS}/many", "-n", "5", "127.0.0.1", str(server.port)],
            env={**os.environ, "BERTH_RECORD": place, "BERTH_POLICY": policy,
                 "LD_PRELOAD": LIBBERTH}, capture_output=True, text=True)
        says_nothing(run.stderr)
        equal(run.returncode, 0, "status")
        equal(sum(s["chosen_by"]["policy"] for s in stats_of(place)), 5, "steered")


if __name__ == "__main__":
    berthtest.main()
