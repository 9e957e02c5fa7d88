# SPDX-License-Identifier: MIT
"""Programs of another C library (musl) with the same libberth.so: other tests, with programs that are
built so."""
import functools
import os
import subprocess
import sys
import tempfile

import berthtest
from berthtest import Skip, equal, need

SOURCE = os.environ.get("srcdir", ".")
NAMES = "cancelling", "cloned", "errno_at_main", "interrupted", "many", "stack_use", "tree"

TREE = ["test-tree.py"]
CALLS = ["test-calls.py", "test_errno_at_main", "test_restart", "test_eintr", "test_jump",
         "test_cancel", "test_stack", "test_small_stacks", "test_clone"]
SETS = ["test-sets.py", "test_every_order_uses_all", "test_every_order_by_threads",
        "test_bound_to_port_0", "test_holes", "test_least_recent", "test_orders_outlive_programs",
        "test_orders_without_run"]


@functools.cache
def folder():
    return tempfile.TemporaryDirectory(prefix="berth-abis-")


def place(*names):
    path = os.path.join(folder().name, *names)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


@functools.cache
def programs(kind, *compiler):
    """All that the tests here start, built so: the folder."""
    need(compiler[0])
    if subprocess.run([*compiler, "-x", "c", "-", "-o", place(kind, "probe")], text=True,
                      input="#include <errno.h>\nint main(void) { return errno; }",
                      capture_output=True).returncode:
        raise Skip(" ".join(compiler) + " makes no program")
    for name in NAMES:
        made = subprocess.run([*compiler, "-D_GNU_SOURCE", "-I", SOURCE, "-o", place(kind, name),
                               f"{SOURCE}/tests/programs/{name}.c", "-lpthread"],
                              capture_output=True, text=True)
        equal(made.returncode, 0, f"{' '.join(compiler)}: {made.stderr}")
    return os.path.dirname(place(kind, "probe"))


def other_tests(script, *names, **environment):
    run = subprocess.run([sys.executable, f"{SOURCE}/tests/{script}", *names],
                         env={**os.environ, **environment}, capture_output=True, text=True)
    for line in run.stdout.splitlines():
        print("#", line)
    equal((run.returncode, run.stderr), (0, ""), script)


def with_musl(tests):
    other_tests(*tests, TEST_PROGRAMS=programs("musl", "musl-gcc"))


def test_musl_tree():
    """musl: 200 processes, each in its row, with its calls and its end"""
    with_musl(TREE)


def test_musl_calls():
    """musl: signals, cancellation, small stacks, clone()"""
    with_musl(CALLS)


def test_musl_sets():
    """musl: steered by range and bind, in each order, by processes and threads"""
    with_musl(SETS)


if __name__ == "__main__":
    berthtest.main(namespace=False)
