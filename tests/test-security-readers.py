# SPDX-License-Identifier: MIT
"""Recordings that somebody hostile writes: whoever reads them, root above all, gets numbers that may
be wrong, and nothing worse."""
import contextlib
import os
import shutil
import subprocess
import tempfile
import unicodedata

import berthtest
from berthtest import BERTH, LIBBERTH, PROGRAMS, equal, json_lines

PATIENCE = 60  # seconds: what takes longer hangs

# A terminal would clear itself, take a title, turn the line round; none of it is one word.
NAMES = ["\x1b[2J", "\x1b]0;title\x07", "a\nb c", "\u009b2J", "\u202ederorrim", "\u2066x",
         "\x7f\b\b\b", "\udcff\udc9b", "\udce0\udc80\udc9b", '"\\', "\u00e9\u20ac"]


def read(command, *arguments):
    """(status, stdout, stderr) of `berth log` or `stats`, as bytes."""
    done = subprocess.run([BERTH, command, *arguments], capture_output=True, timeout=PATIENCE)
    assert done.returncode in (0, 2), f"{command}: status {done.returncode}: {done.stderr}"
    return done.returncode, done.stdout, done.stderr


def harmless(output, what, json=False):
    """Lines of UTF-8 in which nothing moves a cursor or turns the direction. DEL does neither, and
    JSON keeps it."""
    text = output.decode()
    strange = [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl") and c not in "\n\x7f"[:1 + json]]
    equal(strange, [], f"{what}: {output}")
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
                harmless(out, f"{command} --json of {name!r}", json=True)
                for entry in json_lines(out.decode()):
                    shown = entry["process.executable.name"]
                    if name.isprintable() or name.encode(errors="replace") == name.encode(
                            errors="surrogateescape"):
                        equal(shown, name, "the name in JSON")


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


if __name__ == "__main__":
    berthtest.main()
