# SPDX-License-Identifier: MIT
"""Many processes that write into one ring: where each event went is told, each on its own."""
import collections
import subprocess
import tempfile

import berthtest
from berthtest import BERTH, PROGRAMS, berth, equal, stats_of

EVENTS = 1_000_000


def run(recording, ring, processes, each):
    done = berth("run", "-q", "--events", ring, "--record", recording, "--",
                 f"{PROGRAMS}/flood", processes, 1, each)
    equal(done.returncode, 0, f"status ({done.stderr})")


def read_by_pid(recording):
    """How many events of each process `berth log` prints: field 2 of a line is the pid."""
    read = collections.Counter()
    with subprocess.Popen([BERTH, "log", recording], stdout=subprocess.PIPE) as log:
        for line in log.stdout:
            read[int(line.split(b" ", 2)[1])] += 1
    equal(log.returncode, 0, "status of berth log")
    return read


def total(rows, key):
    return sum(row["events"][key] for row in rows)


def check_ring(ring, processes=100, written=EVENTS):
    """Runs the processes and returns how many events were read, overwritten, lost and torn."""
    with tempfile.TemporaryDirectory() as folder:
        recording = f"{folder}/x.berth"
        run(recording, ring, processes, written // processes)
        read = read_by_pid(recording)
        rows = stats_of(recording)
    equal(len(rows), processes, "rows")
    equal({row["calls"]["connect"] for row in rows}, {written // processes}, "calls of a row")
    equal(total(rows, "written"), written, "written")
    ends = [sum(read.values())] + [total(rows, k) for k in ("overwritten", "lost", "torn")]
    print(f"# ring of {ring}: read, overwritten, lost, torn = {ends}")
    equal(sum(ends), written, f"read + overwritten + lost + torn = {ends}")
    for row in rows:
        e = row["events"]
        told = read[row["process.pid"]] + e["overwritten"] + e["lost"] + e["torn"]
        equal(told, e["written"], f"events of a process, {e}")
    return ends


def test_default_ring():
    """100 processes write 1,000,000 events: read + overwritten + lost + torn is that"""
    read, overwritten, lost, torn = check_ring(65536)
    equal(torn, 0, "torn")
    assert read <= 65536 and overwritten > 0


def test_large_ring():
    """in a ring that holds all 1,000,000 events, each one is read"""
    equal(check_ring(1 << 20), [EVENTS, 0, 0, 0], "read, overwritten, lost, torn")


def test_small_ring():
    """in the smallest ring, where writers meet in a cell, the sum is right too"""
    check_ring(16, written=200_000)


if __name__ == "__main__":
    berthtest.main()
