# SPDX-License-Identifier: MIT
"""Recordings that are none, or broken, and command lines that are wrong: a line that says so,
the right exit status, never a crash."""
import os
import random
import socket
import struct
import subprocess
import tempfile
import threading
import unicodedata

import berthtest
from berthtest import (BERTH, LIBBERTH, PROGRAMS, berth, but_missing, equal, json_lines, program,
                       started)

PATIENCE = 20  # seconds: what takes longer hangs
MUTANTS = 300

# Where things are in a header (record/layout.h): name, offset, struct's letter.
FIELDS = [("magic", 0, "Q"), ("byte_order", 8, "I"), ("header_size", 12, "I"),
          ("compatible", 16, "I"), ("incompatible", 20, "I"), ("file_size", 24, "Q"),
          ("processes.offset", 32, "Q"), ("processes.stride", 40, "I"),
          ("processes.count", 44, "I"), ("destinations.offset", 48, "Q"),
          ("destinations.stride", 56, "I"), ("destinations.count", 60, "I"),
          ("events.offset", 64, "Q"), ("events.stride", 72, "I"), ("events.count", 76, "I"),
          ("rules.offset", 80, "Q"), ("rules.stride", 88, "I"), ("rules.count", 92, "I"),
          ("state.offset", 96, "Q"), ("state.stride", 104, "I"), ("state.count", 108, "I"),
          ("created", 112, "Q"), ("flags", 120, "I"), ("boot_id", 124, "Q"), ("version", 160, "Q"),
          ("processes_claimed", 192, "I"), ("destinations_used", 196, "I"),
          ("rules_used", 200, "I"), ("head", 256, "Q")]
# Those that can have one value only: that a section may have other bounds is not told.
STRICT = {"magic", "byte_order", "incompatible", "file_size", "processes.stride",
          "destinations.stride", "events.stride", "rules.stride", "state.stride"}

# A few of everything that a recording can hold.
SOURCE = """
for forks in range(3):
    a, b, c = socket(AF_INET), socket(AF_INET, SOCK_DGRAM), socket(AF_INET6, SOCK_DGRAM)
    try:
        a.connect(("127.0.0.1", 1))
    except ConnectionRefusedError:
        pass
    a.close()
    b.bind(("127.0.0.1", 0))
    c.connect(("::1", 9))
    d = socket(AF_INET, SOCK_DGRAM)
    d.sendto(b"x", ("127.0.0.1", 9))
    socket(AF_INET).listen()
    if os.fork():
        os.wait()
        os._exit(0)
"""


def make_recording():
    """The bytes of a good recording of three processes, as the shim makes them."""
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, LD_PRELOAD=LIBBERTH, BERTH_RECORD=folder,
                           BERTH_EVENTS="32")
        subprocess.run(program(SOURCE), env=environment, check=True)
        name, = os.listdir(folder)
        with open(f"{folder}/{name}", "rb") as f:
            return f.read()


class Sample:
    """A folder with a good recording in it; write() makes others of it."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/x.berth"
        self.bytes = make_recording()
        self.write(self.bytes)
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def write(self, data):
        with open(self.path, "wb") as f:
            f.write(data)

    def with_field(self, offset, letter, value):
        data = bytearray(self.bytes)
        struct.pack_into("=" + letter, data, offset, value)
        self.write(data)


def read(command, path, *options):
    """`berth log` or `stats` of the path: (status, stdout); stderr is a line, where it failed."""
    done = subprocess.run([BERTH, command, *options, path], capture_output=True, timeout=PATIENCE)
    assert done.returncode in (0, 2), f"{command}: status {done.returncode}: {done.stderr}"
    if done.returncode == 0:
        equal(but_missing(done.stderr), b"", f"stderr of {command}")
    else:
        check_line(done.stderr.decode(), f"berth: {command}: {path}: ")
    return done.returncode, done.stdout


def check_line(text, begin):
    assert text.startswith(begin) and text.endswith("\n") and text.count("\n") == 1, (begin, text)
    assert len(text) > len(begin) + 5, f"says nothing: {text!r}"


def refuses(path):
    """Both commands say what is wrong with the path; returns what they said."""
    said = []
    for command in ("log", "stats"):
        done = berth(command, path, timeout=PATIENCE)
        equal((done.returncode, done.stdout), (2, ""), f"{command} {path}: {done.stderr}")
        check_line(done.stderr, f"berth: {command}: {path}: ")
        said.append(done.stderr.split(f"{path}: ", 1)[1])
    equal(said[0], said[1], "what log and stats say")
    return said[0]


def reads_or_refuses(path):
    """Both commands, as text and as JSON: exit 0 or 2, and print nothing strange."""
    for command in ("log", "stats"):
        for option in ([], ["--json"]):
            check_output(read(command, path, *option)[1], option)


def check_output(output, option):
    if option:
        json_lines(output.decode())
    else:
        text = output.decode(errors="replace").replace("\n", "")
        strange = [c for c in text if unicodedata.category(c) == "Cc"]
        equal(strange, [], f"control characters in {output}")


# --- recordings ---------------------------------------------------------------------------------

def test_good():
    """the recording that the others are made of is whole"""
    with Sample() as s:
        log, events = read("log", s.path, "--json")
        stats, rows = read("stats", s.path, "--json")
        equal((log, stats), (0, 0), "status")
        equal((len(json_lines(events.decode())), len(json_lines(rows.decode()))), (15, 3))


def test_truncated():
    """truncated anywhere: refused"""
    with Sample() as s:
        size, chance = len(s.bytes), random.Random(1)
        lengths = {0, 1, 7, 8, 31, 255, 4095, 4096, 4097, 16384, size // 2, size - 1}
        for length in lengths | {chance.randrange(size) for _ in range(30)}:
            s.write(s.bytes[:length])
            refuses(s.path)
        s.write(s.bytes + b"\0")
        assert "size" in refuses(s.path)


def test_other_version():
    """of another version: refused, and said so"""
    with Sample() as s:
        for magic in (b"berth000", b"berth002", b"berth999"):
            s.write(magic + s.bytes[8:])
            assert "version" in refuses(s.path)


def test_other_byte_order():
    """of the other byte order: refused, and said so"""
    with Sample() as s:
        s.write(s.bytes[:8] + s.bytes[8:12][::-1] + s.bytes[12:])
        assert "byte order" in refuses(s.path)


def test_newer_feature():
    """with a feature that this berth does not know: refused if incompatible, else read"""
    with Sample() as s:
        s.with_field(20, "I", 1 << 31)
        refuses(s.path)
        s.with_field(16, "I", 1 << 31)
        equal(read("log", s.path)[0], 0, "status of a compatible one")


def test_other_files():
    """empty, zeros, random bytes, a text, a program: refused"""
    chance = random.Random(2)
    with tempfile.TemporaryDirectory() as folder:
        for data in (b"", b"\0" * 8192, chance.randbytes(100), chance.randbytes(100_000),
                     b"hello\n", b"berth", b"berth001", b"berth001" + b"\0" * 9000,
                     b"berth001" + b"\xff" * 9000):
            with open(f"{folder}/x.berth", "wb") as f:
                f.write(data)
            refuses(f"{folder}/x.berth")
        refuses(BERTH)


def test_no_files():
    """a FIFO, a device, a socket, a dangling link, nothing at all: refused, at once"""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as s:
        os.mkfifo(f"{folder}/fifo.berth")
        s.bind(f"{folder}/socket.berth")
        os.symlink("nowhere", f"{folder}/link.berth")
        for path in ("/dev/null", "/dev/zero", f"{folder}/missing", f"{folder}/missing/x",
                     *(f"{folder}/{name}.berth" for name in ("fifo", "socket", "link"))):
            refuses(path)


def test_folder():
    """in a folder, what is no recording is said and the others are read"""
    with Sample() as s, tempfile.TemporaryDirectory() as empty:
        folder = s.folder.name
        whole = berth("log", s.path).stdout
        os.mkdir(f"{folder}/folder.berth")
        os.mkfifo(f"{folder}/fifo.berth")
        with open(f"{folder}/note.txt", "w") as f:
            f.write("not asked about\n")
        done = berth("log", folder, timeout=PATIENCE)
        equal((done.returncode, done.stdout), (2, whole), "status and events")
        lines = sorted(done.stderr.splitlines())
        equal(len(lines), 2, f"lines of {lines}")
        assert lines[0].startswith(f"berth: log: {folder}/fifo.berth: ")
        assert lines[1].startswith(f"berth: log: {folder}/folder.berth: ")
        for command in "log", "stats":
            for path in empty, empty + "/":
                said = f"berth: {command}: {path}: no recording (*.berth) in this directory\n"
                both = berth(command, path, s.path)
                equal((both.returncode, both.stdout, both.stderr),
                      (0, berth(command, s.path).stdout, said), "an empty folder and a recording")


def test_fields():
    """each field of the header in turn 0, 1, huge, all ones: exit 0 or 2"""
    with Sample() as s:
        for name, offset, letter in FIELDS:
            old, = struct.unpack_from("=" + letter, s.bytes, offset)
            top = 1 << (64 if letter == "Q" else 32)
            for value in {0, 1, old - 1, old + 1, 2 * old, top // 2, top // 2 - 1, top - 1}:
                if value % top == old:
                    continue
                s.with_field(offset, letter, value % top)
                (refuses if name in STRICT else reads_or_refuses)(s.path)


def ranges_in_use(data):
    """(begin, end) of what a mutant is to differ in: the header, the rows, the cells."""
    processes, = struct.unpack_from("=Q", data, 32)
    destinations, _, count = struct.unpack_from("=QII", data, 48)
    events, _, cells = struct.unpack_from("=QII", data, 64)
    head, = struct.unpack_from("=Q", data, 256)
    used = [i for i in range(count) if any(data[destinations + i * 320:][:8])]
    return [(0, 264), (processes, processes + 700), (processes + 12288, processes + 12288 + 700),
            *((destinations + i * 320, destinations + i * 320 + 320) for i in used[:3]),
            (events, events + min(head, cells) * 128)]


def mutant(data, ranges, chance):
    """The same but for a few bytes."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 8))):
        begin, end = chance.choice(ranges)
        at = chance.randrange(begin, end)
        changed[at] = chance.choice((0, 255, changed[at] ^ 1 << chance.randrange(8),
                                     chance.randrange(256)))
    return changed


def test_mutants():
    """300 recordings with bytes changed at random: exit 0 or 2, nothing strange is printed"""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    with Sample() as s:
        ranges = ranges_in_use(s.bytes)
        for number in range(MUTANTS):
            s.write(mutant(s.bytes, ranges, chance))
            option = chance.choice(([], ["--json"]))
            for command in ("log", "stats"):
                try:
                    check_output(read(command, s.path, *option)[1], option)
                except Exception as e:
                    raise AssertionError(f"seed {seed}, mutant {number}: {e}") from e


def test_shrinks_while_followed():
    """`berth log -f` of a recording that is truncated: a line, and exit 2"""
    with Sample() as s:
        for length in (0, 100, 4096, len(s.bytes) // 2, len(s.bytes) - 1):
            s.write(s.bytes)
            with started([BERTH, "log", "-f", s.path]) as follow:
                follow.stdout.readline()
                os.truncate(s.path, length)
                _, said = follow.communicate(timeout=PATIENCE)
                equal(follow.returncode, 2, "status")
                check_line(said, f"berth: log: {s.path}: ")


def shrink_and_grow(sample, stop):
    chance = random.Random(3)
    while not stop.is_set():
        os.truncate(sample.path, chance.randrange(len(sample.bytes)))
        with open(sample.path, "r+b") as f:
            f.write(sample.bytes)


def test_shrinks_while_read():
    """a recording that shrinks and grows while it is read: exit 0 or 2"""
    with Sample() as s:
        stop = threading.Event()
        thread = threading.Thread(target=shrink_and_grow, args=(s, stop))
        thread.start()
        try:
            for _ in range(40):
                reads_or_refuses(s.path)
        finally:
            stop.set()
            thread.join()


# --- the same as BERTH_RECORD -------------------------------------------------------------------

def writes_or_refuses(path):
    """A program told to record into this file does what it does without; stderr is a line."""
    command = [f"{PROGRAMS}/steps", *"connect 9 refused 1 bind say done exit 7".split()]
    done = subprocess.run(command, env=dict(os.environ, LD_PRELOAD=LIBBERTH, BERTH_RECORD=path),
                          capture_output=True, text=True, timeout=PATIENCE)
    equal((done.returncode, done.stdout), (7, "connected\nrefused: Connection refused\ndone\n"))
    if done.stderr:
        check_line(done.stderr, "berth: BERTH_RECORD: ")
    return done.stderr


def test_record_into_fields():
    """a program that is to record into a file with a broken header runs as without"""
    with Sample() as s:
        equal(writes_or_refuses(s.path), "", "a good recording")
        for name, offset, letter in FIELDS:
            for value in (0, 1, (1 << (64 if letter == "Q" else 32)) - 1):
                if (name, value) in (("incompatible", 0), ("state.stride", 1)):  # as they are
                    continue
                s.with_field(offset, letter, value)
                said = writes_or_refuses(s.path)
                assert said or name not in STRICT, f"{name} {value} is taken"


def test_record_into_mutants():
    """... and into 100 mutants, and into what is no recording"""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    with Sample() as s:
        ranges = ranges_in_use(s.bytes)
        for number in range(100):
            s.write(mutant(s.bytes, ranges, chance))
            try:
                writes_or_refuses(s.path)
            except Exception as e:
                raise AssertionError(f"seed {seed}, mutant {number}: {e}") from e
        for length in (0, 100, 4096, len(s.bytes) // 2):
            s.write(s.bytes[:length])
            assert writes_or_refuses(s.path)
        os.mkfifo(f"{s.folder.name}/fifo.berth")
        for path in (f"{s.folder.name}/fifo.berth", "/dev/null", "/dev/zero/x.berth"):
            assert writes_or_refuses(path), path


# --- command lines ------------------------------------------------------------------------------

def wrong(arguments, *words, status=2):
    """berth refuses the arguments with one line, which has these words."""
    done = berth(*arguments, timeout=PATIENCE)
    equal((done.returncode, done.stdout), (status, ""), f"berth {arguments}: {done.stderr!r}")
    check_line(done.stderr, f"berth: {arguments[0]}: ")
    for word in words:
        assert word in done.stderr, f"berth {arguments}: no {word!r} in {done.stderr!r}"


def test_unknown_command():
    """an unknown command: exit 2, and the nearest one is named"""
    for word, nearest in (("lgo", "log"), ("stat", "stats"), ("ren", "run"), ("envv", "env"),
                          ("--run", "run")):
        wrong([word], f"'{nearest}'")
    for word in ("xyzzyxyzzy", "top", "help", "start", "list"):
        wrong([word], "no such command; `berth -h` lists them")
    wrong(["x" * 5000])
    for none in ([], [""]):
        done = berth(*none)
        equal((done.returncode, done.stdout, done.stderr[:6]), (2, "", "Usage:"))


def unknown(arguments, nearest, status=2):
    """berth names this option instead, and its help knows it."""
    wrong(arguments, nearest, status=status)
    help_text = berth(arguments[0], "-h").stdout
    assert f" {nearest} " in help_text.replace(",", " "), f"{nearest} is not in the help"


def test_unknown_option():
    """an unknown option: exit 2, run's 125, and the nearest documented one is named"""
    for arguments, nearest in ((["log", "--folow"], "--follow"), (["log", "--lnies=3"], "--lines"),
                               (["log", "-F"], "-f"), (["log", "-z"], "-Z"),
                               (["log", "-l", "5"], "-L"), (["stats", "--jsno"], "--json"),
                               (["env", "--recrod", "x"], "--record"), (["stats", "-H"], "-h"),
                               (["env", "-v"], "-V"), (["log", "-J"], "--json"),
                               (["stats", "-J"], "--json")):
        unknown(arguments, nearest)
    for arguments, nearest in ((["--evnets", "99"], "--events"), (["--jsn"], "--json"),
                               (["-O", "x"], "-o"), (["--summary-onyl"], "--summary-only")):
        unknown(["run", *arguments, "echo", "ran"], nearest, status=125)
    wrong(["log", "--l=1"], "ambiguous option --l: --lines, --local-ports")
    for arguments in (["doctor", "--watch"], ["stats", "--prometheus"], ["log", "--since", "10m"]):
        wrong(arguments, f"unknown option {arguments[1]}; -h lists them")
    wrong(["log", "--zzzzzzzzzzzzzzzzzzzzzzzz"])
    wrong(["log", "-\x01"])


def test_missing_value():
    """an option without its value, or with one that it does not take: exit 2"""
    for arguments in (["log", "-n"], ["log", "--lines"], ["log", "-L"], ["log", "-D"],
                      ["log", "-p"], ["log", "--json=yes"], ["stats", "--json=1"],
                      ["env", "--log"]):
        wrong(arguments)
    for arguments in (["--events"], ["-o"], ["--record"], ["--quiet=1", "echo"], [], ["--"]):
        wrong(["run", *arguments], status=125)


def test_newline_in_a_variable():
    """berth env: a value of two lines is refused, for it would be two variables"""
    for option in "--record", "--log":
        wrong(["env", option, "/tmp/x\nLD_PRELOAD=/evil.so"], "newline")


def test_bad_values():
    """values out of range or form of -L, -D, -n, -p and --events: exit 2, run's 125"""
    for ports in ("", "x", "-1", "65536", "99999999999999999999", "1,,2", "1-", "-", "2-1",
                  "1-2-3", "1;2", " 1", "1 ", "0x10", "1," * 600):
        wrong(["log", "-L", ports], "-L")
    for peer in ("", "x", "1.2.3", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/", "1.2.3.4:", ":65536",
                 "[::1", "[::1]/129:1", "[::1]:x", "[]", "]", "[", "::1/129", "/8", "*:x",
                 "localhost:80", "1.2.3.4.5:80", "1" * 2000):
        wrong(["log", "-D", peer], "-D")
    for number in ("", "0", "-1", "x", "1e3", "1.5", "99999999999999999999", "5 ", "+5"):
        wrong(["log", "-n", number], "-n")
        wrong(["log", "-p", number], "-p")
    for number in ("", "0", "15", "16777217", "-16", "x", "1e3", "64k", "99999999999999999999"):
        wrong(["run", "--events", number, "echo", "ran"], "--events", status=125)
        wrong(["env", "--events", number], "--events")


def test_operands():
    """operands where none is taken, and several of which one is wrong"""
    wrong(["env", "x"], "'x'")
    with Sample() as s:
        done = berth("log", "--json", s.path, f"{s.path}.missing", s.path)
        equal(done.returncode, 2, "status")
        check_line(done.stderr, f"berth: log: {s.path}.missing: ")
        equal(len(json_lines(done.stdout)), 2 * len(berth("log", s.path).stdout.splitlines()))


if __name__ == "__main__":
    berthtest.main()
