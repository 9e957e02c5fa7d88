# SPDX-License-Identifier: MIT
"""Recordings that somebody hostile writes: whoever reads them, root above all, gets numbers that may
be wrong, and nothing worse."""
import contextlib
import fcntl
import mmap
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unicodedata

import berthtest
from berthtest import (BERTH, LIBBERTH, PROGRAMS, Skip, berth, but_missing, equal, json_lines,
                       started)

# What turns the direction of writing (Unicode's Bidi_Control).
TURNING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

PATIENCE = 60  # seconds: what takes longer hangs

# A terminal would clear itself, take a title, turn the line round; none of it is one word.
NAMES = ["\x1b[2J", "\x1b]0;title\x07", "a\nb c", "\u009b2J", "\u202ederorrim", "\u2066x",
         "\x7f\b\b\b", "\udcff\udc9b", "\udce0\udc80\udc9b", '"\\', "\u00e9\u20ac"]


def read(command, *arguments):
    """(status, stdout, stderr) of `berth log` or `stats`, as bytes."""
    done = subprocess.run([BERTH, command, *arguments], capture_output=True, timeout=PATIENCE)
    assert done.returncode in (0, 2), f"{command}: status {done.returncode}: {done.stderr}"
    return done.returncode, done.stdout, done.stderr


def harmless(output, what):
    """Lines of UTF-8 without control characters, in which nothing turns the direction."""
    text = output.decode()
    strange = {c for c in text if unicodedata.category(c) in ("Cc", "Zl", "Zp") or c in TURNING}
    equal(strange - {"\n"}, set(), f"{what}: {output[:2000]}")
    return text.splitlines()


@contextlib.contextmanager
def recorded(name="steps", *words):
    """The recording of a program of this name that makes a few calls."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/{name}"
        shutil.copy(f"{PROGRAMS}/steps", program)
        subprocess.run([program, *(words or "connect 9 refused 1 bind exit 0".split())],
                       env=dict(os.environ, LD_PRELOAD=LIBBERTH, BERTH_RECORD=f"{folder}/r"),
                       capture_output=True, check=True)
        path, = os.listdir(f"{folder}/r")
        yield f"{folder}/r/{path}"


# --- terminals ----------------------------------------------------------------------------------

def test_names_of_programs():
    """programs whose names hold escape sequences: printed as one harmless field; JSON has them"""
    for name in NAMES:
        with recorded(name) as path:
            for command in "log", "stats":
                status, out, said = read(command, path)
                equal((status, said), (0, b""), f"{command} of {name!r}")
                lines = harmless(out, f"{command} of {name!r}")
            equal(len(harmless(read("log", path)[1], name)), 3, f"lines of {name!r}")
            assert len(lines[0].split()) == 3, lines  # name, pid, state
            for command in "log", "stats":
                status, out, said = read(command, "--json", path)
                equal((status, said), (0, b""), f"{command} --json of {name!r}")
                harmless(out, f"{command} --json of {name!r}")
                for entry in json_lines(out.decode()):
                    shown = entry["process.executable.name"]
                    if name.isprintable() or name.encode(errors="replace") == name.encode(
                            errors="surrogateescape"):
                        equal(shown, name, "the name in JSON")


def test_names_of_rules():
    """rules whose names somebody made escape sequences or lines of: one harmless field, also in reasons"""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.berth"
        done = berth("run", "-q", "--record", path, "-L", "40000-40099", "--", f"{PROGRAMS}/steps",
                     *"connect 9 refused 1 exit 0".split())
        equal(done.returncode, 0, done.stderr)
        with open(path, "rb") as f:
            made = f.read()
        assert made.count(b"options\0") == 1, made.count(b"options\0")
        for name in b"a\x1b[2J\x9bb", b"a\nb c d", b"\xe2\x80\xaex\x07y\x7f", b"\xff\xfe\x85zzzz":
            with open(path, "wb") as f:
                f.write(made.replace(b"options\0", name[:7].ljust(8, b"\0")))
            for command in ["log"], ["log", "--why"], ["log", "--why", "--json"], ["stats"], \
                    ["stats", "--json"]:
                status, out, said = read(*command, path)
                equal((status, said), (0, b""), f"{command} of {name!r}")
                lines = harmless(out, f"{command} of {name!r}")
                if command[0] == "log":
                    equal(len(lines), 2, f"lines of {lines}")


def test_names_of_files():
    """files whose names hold escape sequences: complained of in one harmless line"""
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            if "\x00" not in name:
                with open(f"{folder}/{name}.berth", "w") as f:
                    f.write("no recording")
        for command in "log", "stats":
            status, out, said = read(command, folder)
            equal((status, out), (2, b""), command)
            lines = harmless(said, command)
            equal(len(lines), len(NAMES), f"lines of {lines}")
            assert all(line.startswith(f"berth: {command}: {folder}/") for line in lines), lines


# --- what never ends ------------------------------------------------------------------------------

HEAD = 256  # where the ring's head is, in a header (record/layout.h)


def record_into(path, *words):
    subprocess.run([f"{PROGRAMS}/steps", *words], stdout=subprocess.DEVNULL, check=True,
                   env=dict(os.environ, LD_PRELOAD=LIBBERTH, BERTH_RECORD=path))


@contextlib.contextmanager
def mapped(path):
    with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        yield m


def test_head_jumps():
    """log -f of a ring whose head jumps on by all that it holds, or back: later events are shown"""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.berth"
        equal(berth("run", "-q", "--record", path, "--", "true").returncode, 0)
        record_into(path, "connect", "9")
        with started([BERTH, "log", "-f", path]) as follow, mapped(path) as m:
            assert follow.stdout.readline().endswith("us\n")
            head, = struct.unpack_from("=Q", m, HEAD)
            struct.pack_into("=Q", m, HEAD, head + 60000)
            record_into(path, "connect", "10")
            assert ":10 " in follow.stdout.readline()
            struct.pack_into("=Q", m, HEAD, (1 << 46) + 12345)
            record_into(path, "connect", "11")
            assert ":11 " in follow.stdout.readline()
            struct.pack_into("=Q", m, HEAD, 100000)
            while not select.select([follow.stdout], [], [], 0)[0]:
                record_into(path, "connect", "12")
            assert ":12 " in follow.stdout.readline()


def test_heads():
    """any head at all, before and while it is read: exit 0, no more events than the ring holds"""
    heads = [0, 1, 1 << 31, 1 << 32, (1 << 47) - 1, 1 << 47, 1 << 48, 1 << 63, (1 << 64) - 1]
    with recorded() as path, mapped(path) as m:
        for head in heads:
            struct.pack_into("=Q", m, HEAD, head)
            for arguments in ["log"], ["log", "-n", "5"], ["log", "--json"], ["stats"]:
                status, out, said = read(*arguments, path)
                equal((status, but_missing(said)), (0, b""), f"{arguments} of {head}")
                assert out.count(b"\n") <= 1024, len(out)


# A header of the largest sections that a reader allows (record/header.c), far apart in the file.
def largest_header(size, boot_id):
    sections = [(4096, 12288, 1 << 15), (1 << 32, 320, 1 << 20), (1 << 34, 128, 1 << 24),
                (1 << 33, 192, 1 << 16), (1 << 35, 1, 64 << 20)]
    header = struct.pack("=8sIIIIQ", b"berth001", 0x01020304, 4096, 0, 0, size)
    for section in sections:
        header += struct.pack("=QII", *section)
    header += struct.pack("=QI36s16s", 1, 0, boot_id, b"0")
    header = header.ljust(192, b"\0") + struct.pack("=III", 1 << 15, 1 << 20, 1 << 16)
    return header.ljust(HEAD, b"\0") + struct.pack("=Q", 1 << 24)


def test_sparse():
    """a recording of a TiB without content, its sections as large as may be: bounded memory"""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.berth"
        with open(path, "wb") as f:
            try:
                f.truncate(1 << 40)
            except OSError as e:
                raise Skip(f"no file of a TiB here: {e.strerror}") from e
            f.write(largest_header(1 << 40, b""))
        if os.stat(path).st_blocks * 512 > 1 << 30:
            raise Skip("no sparse files here")
        for arguments in ["log"], ["stats", "--json"]:
            with started([BERTH, *arguments, path]) as process:
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = status
                said = but_missing(process.stderr.read())
                equal((status, process.stdout.read(), said), (0, "", ""), arguments)
            assert used.ru_maxrss < 1 << 20, f"{arguments}: {used.ru_maxrss} KiB"


def test_lease():
    """a file on which its owner holds a lease: not waited for"""
    with recorded() as path:
        fd = os.open(path, os.O_RDWR)
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)  # who wants the lease gone sends it
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as e:
            raise Skip(f"no leases here: {e.strerror}") from e
        for command in "log", "stats":
            status, out, said = read(command, path)
            equal((status, out), (2, b""), command)
            assert b"temporarily unavailable" in said, said
        os.close(fd)


# --- lies -----------------------------------------------------------------------------------------

ROWS = 4096  # where the rows of processes begin; the first fields of one: state, pid, parent, uid


def test_pids():
    """rows that name any process as theirs: it is judged by /proc at the most, and not touched"""
    with recorded() as path, mapped(path) as m, started(["sleep", "1000"]) as sleeper:
        claimed = ROWS + 24
        for pid in 0, 1, sleeper.pid, os.getpid(), (1 << 31) - 1, 1 << 31, (1 << 32) - 1:
            for state in 0, 1, 4, 1 << 31:
                struct.pack_into("=III", m, ROWS, state, pid, pid)
                struct.pack_into("=Q", m, claimed, (1 << 64) - 1)
                for command in "log", "stats":
                    status, out, said = read(command, path)
                    equal((status, said), (0, b""), f"{command}, pid {pid}")
                row, = json_lines(read("stats", "--json", path)[1].decode())
                equal(row["process.pid"], pid, "the pid that is told")
                wanted = ["running"] if pid in (1, sleeper.pid, os.getpid()) else ["died", "unknown"]
                assert row["berth.state"] in wanted, row
                equal(sleeper.poll(), None, "the process that was named")


def test_scribbled():
    """a recording scribbled over while it is read: exit 0 or 2, and nothing strange is printed"""
    words = "connect 9 refused 1 bind".split() * 100 + ["exit", "0"]
    with recorded("steps", *words) as path, tempfile.TemporaryFile() as shown, \
            started([f"{PROGRAMS}/scribble", path, 192]) as scribbler, \
            started([BERTH, "log", "-f", path], stdout=shown) as follow:
        assert scribbler.stdout.readline()
        for _ in range(25):
            for arguments in ["log"], ["stats"], ["log", "--json"], ["stats", "--json"]:
                _, out, said = read(*arguments, path)
                harmless(said, arguments)
                harmless(out, arguments)
                if arguments[-1] == "--json":
                    json_lines(out.decode())
        equal((scribbler.poll(), follow.poll()), (None, None), "scribbler and follower")
        follow.terminate()
        equal((follow.wait(), but_missing(follow.stderr.read())), (-signal.SIGTERM, ""),
              "berth log -f")
        shown.seek(0)
        harmless(shown.read(), "what berth log -f shows")


# Its child finds the recording in its memory, and writes into it.
HOSTILE_CHILD = """
import ctypes, os, random, socket, sys, time
def use():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("127.0.0.1", 9))
use()
child = os.fork()
if not child:
    if os.geteuid() == 0:
        os.setuid(65534)
    line, = [l for l in open("/proc/self/maps") if l.rstrip().endswith(".berth")]
    begin, end = (int(x, 16) for x in line.split()[0].split("-"))
    until = time.monotonic() + 1
    while time.monotonic() < until:
        n = random.choice((1, 8, 64, 4096))
        at = random.choice((192, 256, random.randrange(192, end - begin - n)))
        ctypes.memmove(begin + at, os.urandom(n), n)
    os._exit(0)
while os.waitpid(child, os.WNOHANG) == (0, 0):
    use()
sys.exit(7)
"""


def test_hostile_child():
    """berth run of a program with a child, another user's, that scribbles into the recording"""
    for options in ["-C"], ["-C", "--json"]:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", HOSTILE_CHILD]
            done = subprocess.run([BERTH, "run", *options, "-o", f"{folder}/out", "--", *command],
                                  capture_output=True, timeout=PATIENCE,
                                  env=dict(os.environ, XDG_RUNTIME_DIR=folder))
            equal((done.returncode, done.stdout), (7, b""), done.stderr)
            harmless(done.stderr, "stderr")
            with open(f"{folder}/out", "rb") as f:
                out = f.read()
            harmless(out, "the output")
            if "--json" in options:
                assert json_lines(out.decode())


if __name__ == "__main__":
    berthtest.main()
