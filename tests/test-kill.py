# SPDX-License-Identifier: MIT
"""SIGKILL at any moment: what was counted stays counted, and nothing half-written is shown."""
import collections
import os
import random
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time

import berthtest
from berthtest import BERTH, PROGRAMS, Server, berth, equal, json_lines, wait_for

THREADS = 8
ROUNDS = 50
SEQ_BITS = 48


def drain(server):
    """The ports of all who had connected before this call. The queue is a first-in first-out
    one: behind a connection of our own there is none of them."""
    with socket.create_connection((server.address, server.port),
                                  source_address=(server.address, 0)) as end:
        wait_for(lambda: end.getsockname() in server.peers)
    return [port for address, port in server.peers if address != server.address]


def wait_while_alive(process, condition):
    """wait_for(), unless the process ends by itself."""
    wait_for(lambda: condition() or process.poll() is not None)
    equal(process.poll(), None, "status of a process that was to run on")


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def start(recording, events, *command):
    """Runs a program, recorded; its pid is the Popen's own."""
    return subprocess.Popen([BERTH, "run", "--exec", "--events", str(events),
                             "--record", recording, "--", *map(str, command)])


def kill(process):
    process.kill()
    equal(process.wait(), -signal.SIGKILL, "status")


def missing(recording, said):
    """How many events `berth log` said are missing: overwritten, lost or torn."""
    line = re.fullmatch(rf"berth: log: {re.escape(recording)}: events are missing: (\d+) events were "
                        r"overwritten before they could be read, (\d+) lost or torn; the statistics "
                        r"count them\n", said)
    assert line or not said, said
    return [int(n) for n in line.groups()] if line else [0, 0]


def read(recording):
    """The process's row, its events, and the row's account of them. A thread that lost the race
    for the first call, and was killed just then, leaves a row without any. Of the ring's events
    each is shown, or said to be missing."""
    log, stats = berth("log", "--json", recording), berth("stats", "--json", recording)
    equal((log.returncode, stats.returncode, stats.stderr), (0, 0, ""))
    rows, events = json_lines(stats.stdout), json_lines(log.stdout)
    at_most = min(head(recording), ring(recording))
    told = len(events) + sum(missing(recording, log.stderr))
    assert told >= at_most, f"{len(events)} of {at_most} shown: {log.stderr}"
    equal(len({r["process.pid"] for r in rows}), 1, "processes")
    used = [r for r in rows if r["events"]["written"]]
    equal(len(used), 1, "rows with calls")
    return used[0], events


def check_account(row, events):
    """Each event is read, overwritten, lost or torn."""
    e = row["events"]
    equal(len(events) + e["overwritten"] + e["lost"] + e["torn"], e["written"], f"events of {e}")
    equal(row["berth.state"], "died", "state")


def off_by(a, b, what):
    assert abs(a - b) <= THREADS, f"{what}: {a} and {b}"


def check_event(event, row, server, accepted):
    """An event that is shown is a connection that the server had."""
    equal(event["network.peer.port"], server.port, "peer port")
    equal(event["network.peer.address"], server.address, "peer")
    equal(event["network.local.address"], "127.0.0.1", "local address")
    equal((event["process.pid"], event["berth.call"], event["berth.result"],
           event["network.transport"], event["network.type"], event["berth.chosen_by"]),
          (row["process.pid"], "connect", "ok", "tcp", "ipv4", "kernel"))
    assert 0 < event["berth.duration_ns"] < 60e9 and 2 < event["berth.fd"] < 64, event
    assert accepted[event["network.local.port"]] > 0, f"no such connection: {event}"
    accepted[event["network.local.port"]] -= 1


def round_of_connects(server, recording, chance):
    process = start(recording, chance.choice([16, 64, 1024]), f"{PROGRAMS}/connecting",
                    server.address, server.port, THREADS)
    enough = chance.randrange(2 * THREADS, 400)  # so that some of them were counted
    wait_while_alive(process, lambda: len(server.peers) >= enough)
    spin(chance.random() / 500)
    kill(process)
    accepted = drain(server)
    row, shown = read(recording)
    off_by(row["calls"]["connect"], len(accepted), "connects and connections")
    off_by(row["results"]["ok"], len(accepted), "results and connections")
    equal((row["results"]["failed"], row["results"]["in_progress"]), (0, 0), "failed")
    check_account(row, shown)
    left = collections.Counter(accepted)
    for event in shown:
        check_event(event, row, server, left)
    assert len({e["berth.tid"] for e in shown}) <= THREADS


def test_connects():
    """50 times SIGKILL in 8 connecting threads: the counters are the server's, off by a call"""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            try:
                with Server(address=f"127.1.{number}.1", keep=False) as server:
                    round_of_connects(server, f"{folder}/{number}.berth", chance)
            except AssertionError as e:
                raise AssertionError(f"seed {seed}, round {number}: {e}") from e


def check_flood(recording, row, events):
    """Counters that one call adds to differ by no more than the calls in flight."""
    calls = row["calls"]["connect"]
    off_by(row["results"]["ok"], calls, "results")
    off_by(row["chosen_by"]["kernel"], calls, "choosers")
    off_by(row["events"]["written"], calls, "events")
    off_by(sum(d["connects"] for d in row["destinations"]), calls, "destinations")
    check_account(row, events)
    for event in events:
        equal((event["network.peer.address"], event["network.peer.port"],
               event["network.transport"], event["process.pid"], event["berth.result"]),
              ("127.0.0.1", 9, "udp", row["process.pid"], "ok"))
        assert event["network.local.port"] > 0


def test_flood():
    """50 times SIGKILL in 8 threads that do little but write events: all of them add up"""
    chance = random.Random()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            recording = f"{folder}/{number}.berth"
            process = start(recording, chance.choice([16, 32, 1024]),
                            f"{PROGRAMS}/flood", 1, THREADS, 0)
            wait_while_alive(process, lambda: head(recording) > 100)
            spin(chance.random() / 100)
            kill(process)
            check_flood(recording, *read(recording))


def test_many_threads():
    """400 threads that are killed as they write: each event is shown, or counted"""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(8):
            recording = f"{folder}/{number}.berth"
            process = start(recording, 65536, f"{PROGRAMS}/flood", 1, 400, 0)
            wait_while_alive(process, lambda: head(recording) > 4000)
            kill(process)
            check_account(*read(recording))


# --- a kill between two stores: made by hand, since the moment is a few nanoseconds long --------

def header(recording):
    with open(recording, "rb") as f:
        return f.read(4096)


def head(recording):
    try:
        return struct.unpack_from("=Q", header(recording), 256)[0]
    except (FileNotFoundError, struct.error):
        return 0


def ring(recording):
    """How many events it keeps."""
    return struct.unpack_from("=QII", header(recording), 64)[2]


def set_seq(recording, event, seq):
    """Stores `seq` in the cell of event number `event`; returns what was there."""
    offset, stride, count = struct.unpack_from("=QII", header(recording), 64)
    equal(stride, 128, "stride of the cells")
    with open(recording, "r+b") as f:
        f.seek(offset + event % count * stride)
        old = struct.unpack("=Q", f.read(8))[0]
        f.seek(-8, os.SEEK_CUR)
        f.write(struct.pack("=Q", seq(old)))
    return old


def test_torn():
    """an event that was begun and not finished is counted as torn, and not shown"""
    with tempfile.TemporaryDirectory() as folder:
        recording = f"{folder}/x.berth"
        equal(start(recording, 16, f"{PROGRAMS}/flood", 1, 1, 40).wait(), 0)
        old = set_seq(recording, 35, lambda seq: seq - 1)
        equal(old & (1 << SEQ_BITS) - 1, 2 * 35 + 2, "seq of a whole event")
        row, events = read(recording)
        equal(row["events"], {"written": 40, "overwritten": 24, "lost": 0, "torn": 1})
        equal(len(events), 15, "events shown")


def test_never_begun():
    """an event whose cell was never written is counted as torn, and not shown"""
    with tempfile.TemporaryDirectory() as folder:
        recording = f"{folder}/x.berth"
        equal(start(recording, 16, f"{PROGRAMS}/flood", 1, 1, 12).wait(), 0)
        set_seq(recording, 7, lambda seq: 0)
        row, events = read(recording)
        equal(row["events"], {"written": 12, "overwritten": 0, "lost": 0, "torn": 1})
        equal(len(events), 11, "events shown")


def test_survivor():
    """an event that the next lap did not replace, because it was lost, is still shown"""
    with tempfile.TemporaryDirectory() as folder:
        recording = f"{folder}/x.berth"
        equal(start(recording, 16, f"{PROGRAMS}/flood", 1, 1, 40).wait(), 0)
        set_seq(recording, 35, lambda seq: seq - 2 * 16)
        equal(len(read(recording)[1]), 16, "events shown")


if __name__ == "__main__":
    berthtest.main()
