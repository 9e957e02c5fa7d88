# SPDX-License-Identifier: MIT
"""The fuzz targets (tests/fuzz), run on their seeds and on all that was ever found by them, built
by the compiler that builds the rest: `make fuzz` is where libFuzzer looks for more."""
import glob
import os
import subprocess
import tempfile

import berthtest
from berthtest import PROGRAMS, equal

SOURCE = os.environ.get("srcdir", ".")
BUILT = os.path.join(PROGRAMS, os.pardir, "fuzz")


def replay(target):
    """Runs a target on its files; returns how many there are."""
    policies = [p for place in ("tests/policies/*/", "examples/")
                for p in glob.glob(os.path.join(SOURCE, place, "*.json"))]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([f"{BUILT}/seeds", folder, *policies], check=True)
        files = glob.glob(f"{folder}/{target}/*")
        files += glob.glob(os.path.join(SOURCE, "tests/fuzz/found", target, "*"))
        done = subprocess.run([f"{BUILT}/replay-{target}", *sorted(files)],
                              capture_output=True, text=True, errors="replace")
        last = done.stdout.splitlines()[-1:]
        equal((done.returncode, done.stderr), (0, ""), f"of {last}")
        equal(len(done.stdout.splitlines()), len(files), "files")
        return len(files)


def test_policy():
    """the parser of policies: JSON to an image that can be used, or to problems"""
    assert replay("policy") > 50


def test_image():
    """compiled policies: refused, or matched, set up and walked through in every order"""
    assert replay("image") > 10


def test_text():
    """texts of options and of /proc: refused, or read as they are written"""
    assert replay("text") > 20


def test_recording():
    """recordings as `berth log` and `berth stats` read them, while they change"""
    assert replay("recording") > 30


if __name__ == "__main__":
    berthtest.main(namespace=False)
