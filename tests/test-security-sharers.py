# SPDX-License-Identifier: MIT
"""A recording, and what a policy's rules remember in it, is shared by processes of several users.
One that writes nonsense into it does not lead the others astray: their calls do what they do."""
import contextlib
import itertools
import json
import os
import subprocess
import tempfile

import berthtest
from berthtest import BERTH, LIBBERTH, PROGRAMS, Server, equal, fresh_namespace, program, started

PATIENCE = 120  # seconds: what takes longer hangs
ORDERS = ["kernel", "random", "random-start", "hash", "double-hash", "random-increment",
          "sequential", "least-recent"]

# Four processes make calls of all kinds to 127.0.0.1:argv[1]; a port is in [argv[2], argv[3]], but
# for a bound one. Waits for a line first.
CLIENT = """
    low, high, to = int(sys.argv[2]), int(sys.argv[3]), ('127.0.0.1', int(sys.argv[1]))
    def steered(s):
        port = s.getsockname()[1]
        assert low <= port <= high, port
    def work(rounds):
        for _ in range(rounds):
            with socket(AF_INET, SOCK_STREAM) as s:
                s.connect(to)
                steered(s)
            with socket(AF_INET, SOCK_DGRAM) as s:
                s.connect(('127.0.0.1', 9))
                steered(s)
            with socket(AF_INET, SOCK_DGRAM) as s:
                s.sendto(b'x', ('127.0.0.1', 9))
                steered(s)
            with socket(AF_INET, SOCK_STREAM) as s:
                s.bind(('127.0.0.1', 0))
                s.listen()
                steered(s)
            with socket(AF_INET, SOCK_STREAM) as s:
                assert s.connect_ex(('127.0.0.1', 1)) == errno.ECONNREFUSED
    work(1)
    print('ready', flush=True)
    sys.stdin.readline()
    children = []
    for _ in range(3):
        children.append(os.fork())
        if not children[-1]:
            work(40)
            os._exit(0)
    work(40)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    print('done')
    """


@contextlib.contextmanager
def policy(**rule):
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/policy.json", "w", encoding="ascii") as f:
            json.dump({"version": 1, "rules": [rule]}, f)
        yield f"{folder}/policy.json"


@contextlib.contextmanager
def scribbled(path, first):
    """Somebody writes nonsense into all of it from this byte on."""
    with started([f"{PROGRAMS}/scribble", path, first]) as scribbler:
        equal(scribbler.stdout.readline(), "scribbling\n")
        yield
        equal(scribbler.poll(), None, "the scribbler")


def survives(options, low, high, first=0):
    """The program's calls have success while somebody scribbles into its recording."""
    with tempfile.TemporaryDirectory() as folder, Server(keep=False) as server:
        path = f"{folder}/x.berth"
        command = [BERTH, "run", "-q", "--record", path, *options, "--",
                   *program(CLIENT, server.port, low, high)]
        with started(command) as run:
            equal(run.stdout.readline(), "ready\n", "what the program says")
            with scribbled(path, first):
                out, said = run.communicate("\n", timeout=PATIENCE)
        equal((run.returncode, out), (0, "done\n"), f"{options}: {said[:2000]}")
        assert all(line.startswith("berth: run: ") for line in said.splitlines()), said[:2000]


def test_observed():
    """without a policy: every call does what it does"""
    fresh_namespace()
    for first in 0, 192, 4096:
        survives([], 1, 65535, first)


def steered_by(via):
    fresh_namespace()
    for order in ORDERS:
        with policy(local_ports="40000-44999", order=order, via=via) as file:
            survives(["-P", file], 40000, 44999)


def test_steered_by_range():
    """steered by range in each order: every call has success, from a port of the set"""
    steered_by("range")


def test_steered_by_bind():
    """... by bind"""
    steered_by("bind")


def test_steered_over_addresses():
    """... from addresses in turn, by ports that are both ways"""
    fresh_namespace()
    for order in ORDERS:
        with policy(local_ports=["20000-20999", "40000-44999"], order=order, mod={"of": 3, "is": 1},
                    local_addresses=["127.0.0.1", "127.1.0.0/28"]) as file:
            survives(["-P", file], 20000, 44999)


def test_starts():
    """programs that attach to it start as without it, and say a line where it is none any more"""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.berth"
        subprocess.run([BERTH, "run", "-q", "--record", path, "-L", "40000-40999", "--", "true"],
                       check=True)
        steps = [f"{PROGRAMS}/steps", "connect", "9", "bind", "refused", "1", "exit", "7"]
        with scribbled(path, 0):
            for prefix in itertools.islice(itertools.cycle(["", "/"]), 200):
                done = subprocess.run(steps, capture_output=True, text=True, timeout=PATIENCE,
                                      env=dict(os.environ, LD_PRELOAD=LIBBERTH,
                                               BERTH_RECORD=prefix + path))
                equal((done.returncode, done.stdout),
                      (7, "connected\nrefused: Connection refused\n"), done.stderr)
                assert done.stderr in ("", f"berth: BERTH_RECORD: {prefix}{path}: not a recording of"
                                           " this version\n"), done.stderr


if __name__ == "__main__":
    berthtest.main()
