# SPDX-License-Identifier: MIT
"""A tree of 200 processes made in every way there is: whose calls are whose, and how each ended."""
import collections
import os
import subprocess
import tempfile

import berthtest
from berthtest import (LIBBERTH, PROGRAMS, Observed, Server, berth, equal, log_of, stats_of)

Image = collections.namedtuple("Image", "pid parent role calls")

# What became of an image, by its role; all others exited.
ENDS = {"killed": "died", "replacing": "replaced"}

# How many processes, or images, of each role there are in the tree.
ROLES = {"root": 1, "forked": 48, "killed": 16, "grandchild": 16, "cloned": 17, "replacing": 16,
         "replacement": 16, "vforked": 35, "spawned": 35, "idle": 8}


def same(got, want, what):
    """equal() for long lists: tells what only one of them has."""
    got, want = collections.Counter(got), collections.Counter(want)
    assert got == want, f"{what}: unexpected {list(got - want)}, missing {list(want - got)}"


def images_of(text):
    """What each image of a process said of itself, in the order in which they ended."""
    fields = [line.split() for line in text.splitlines()]
    images = [Image(int(pid), int(parent), role, int(calls)) for pid, parent, role, calls in fields]
    equal(collections.Counter(i.role for i in images), ROLES, "roles")
    return images


def accepted_by(server, count):
    """Waits until the server has accepted this many, and sees that there are no more."""
    server.saw(count)
    equal(len(server.peers), count, "connections that the server accepted")


def expected_rows(images):
    """(pid, calls, state) of each image that called."""
    return [(i.pid, i.calls, ENDS.get(i.role, "exited")) for i in images if i.calls]


def rows_told(rows):
    return [(r["process.pid"], r["calls"]["connect"], r["berth.state"]) for r in rows]


def total(rows, group, key):
    return sum(r[group][key] for r in rows)


def check_sums(rows, count):
    for group, key in (("calls", "connect"), ("results", "ok"), ("chosen_by", "kernel"),
                       ("events", "written")):
        equal(total(rows, group, key), count, f"{group}.{key}")
    for group, key in (("results", "failed"), ("events", "torn"), ("calls", "bind")):
        equal(total(rows, group, key), 0, f"{group}.{key}")
    told = sum(d["connects"] for r in rows for d in r["destinations"])
    equal(told + sum(r["destinations_merged"] for r in rows), count, "connects to destinations")


def check_parents(rows, images):
    """A row's parent is whom the process itself takes for its parent."""
    parents = {i.pid: i.parent for i in images}
    for row in rows:
        equal(row["process.parent_pid"], parents[row["process.pid"]], "parent")


def check_events(events, images, server):
    """Each event belongs to a process that called, and all of a process's are there."""
    calls = collections.Counter()
    for image in images:
        calls[image.pid] += image.calls
    same([e["process.pid"] for e in events], calls.elements(), "pids of the events")
    equal({(e["network.peer.port"], e["berth.result"]) for e in events}, {(server.port, "ok")})
    same([e["network.local.port"] for e in events], [p[1] for p in server.peers], "local ports")


def run_tree(server, recording):
    """The tree under `berth run`: what its images said."""
    run = berth("run", "-q", "--record", recording, "--", f"{PROGRAMS}/tree", server.port)
    equal((run.returncode, run.stderr), (0, ""), "berth run")
    return images_of(run.stdout)


def test_every_process_has_its_row():
    """200 processes: a row for each image that called, with its calls and its end"""
    with tempfile.TemporaryDirectory() as folder, Server(keep=False) as server:
        images = run_tree(server, f"{folder}/x.berth")
        accepted_by(server, sum(i.calls for i in images))
        rows, events = stats_of(f"{folder}/x.berth"), log_of(f"{folder}/x.berth")
        same(rows_told(rows), expected_rows(images), "(pid, calls, state) of the rows")
        check_sums(rows, len(server.peers))
        check_parents(rows, images)
        check_events(events, images, server)


def run_alone(folder, *arguments):
    """The program with nothing but the two variables: what it said."""
    environment = dict(os.environ, LD_PRELOAD=LIBBERTH, BERTH_RECORD=folder)
    run = subprocess.run([f"{PROGRAMS}/tree", *map(str, arguments)], env=environment,
                         capture_output=True, text=True)
    equal((run.returncode, run.stderr), (0, ""), "tree")
    return run.stdout


def test_without_the_command():
    """without `berth run` each executed image has its own recording, and the sums are as exact"""
    with tempfile.TemporaryDirectory() as folder, Server(keep=False) as server:
        images = images_of(run_alone(folder, server.port))
        accepted_by(server, sum(i.calls for i in images))
        rows, events = stats_of(folder), log_of(folder)
        check_sums(rows, len(server.peers))
        check_events(events, images, server)
        # One for the root and all that it forked, one for each image that was executed.
        executed = sum(ROLES[r] for r in ("vforked", "spawned", "replacement"))
        equal(len(os.listdir(folder)), 1 + executed, "recordings")
        own = [r for r in rows if r["process.executable.name"] != "others"]
        assert set(rows_told(own)) <= set(expected_rows(images)), "a row that is nobody's"
        equal(len(rows) - len(own), 1, "rows that share")


def check_lender(said, rows, events):
    """Both calls are the process's own, not its vfork child's."""
    pid, _, _, calls = said.split()
    equal(calls, "2", "calls that it tells")
    equal(rows_told(rows), [(int(pid), 2, "exited")], "(pid, calls, state)")
    same([e["process.pid"] for e in events], [int(pid)] * 2, "pids of the events")


def test_vfork_child_first():
    """a process whose vfork child connects first: both calls are in its row, and it exited"""
    with Server(keep=False) as server:
        o = Observed([f"{PROGRAMS}/tree", server.port, "lender"])
        server.saw(2)
        check_lender(o.process.stdout, o.stats, o.events)


def test_vfork_child_first_without_the_command():
    """... and without `berth run`, where that call makes the recording"""
    with tempfile.TemporaryDirectory() as folder, Server(keep=False) as server:
        said = run_alone(folder, server.port, "lender")
        server.saw(2)
        check_lender(said, stats_of(folder), log_of(folder))


def test_vfork_in_vfork():
    """vfork() in the child of a vfork(): each returns where it was called"""
    bare = subprocess.run([f"{PROGRAMS}/vforks"], capture_output=True, text=True, check=True)
    equal(bare.stdout, "deep 4\ntwice 7\ndeep 2\nforked 3\n", "bare")
    shim = subprocess.run([f"{PROGRAMS}/vforks"], capture_output=True, text=True,
                          env={**os.environ, "LD_PRELOAD": LIBBERTH, "BERTH_RECORD": "off"})
    equal((shim.returncode, shim.stdout, shim.stderr), (0, bare.stdout, ""), "with libberth.so")


if __name__ == "__main__":
    berthtest.main()
