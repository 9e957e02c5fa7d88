# SPDX-License-Identifier: MIT
"""Programs of another C library (musl) with the same libberth.so, and of another ABI (gcc -m32) with
one of theirs, beside which ld.so finds it by $LIB: other tests, with programs that are built so."""
import functools
import os
import shutil
import subprocess
import sys
import tempfile

import berthtest
from berthtest import BERTH, LIBBERTH, PROGRAMS, Skip, equal, need

SOURCE = os.environ.get("srcdir", ".")
NAMES = "cancelling", "cloned", "errno_at_main", "interrupted", "many", "stack_use", "tree", "vforks"

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
    for name in NAMES if kind == "musl" else [*NAMES, "bad_arguments"]:
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


@functools.cache
def both_abis():
    """A berth beside whose name $LIB stands, for ld.so to put its word in: its path, the shim's."""
    words = {}
    for linker, library in (("/lib64/ld-linux-x86-64.so.2", LIBBERTH),
                            ("/lib/ld-linux.so.2", f"{PROGRAMS}/../abi32/.libs/libberth.so")):
        if not os.path.exists(library):
            raise Skip("no libberth.so of 32 bits was built: no gcc -m32")
        told = subprocess.run([linker, "--list-diagnostics"], capture_output=True, text=True)
        word = [line.split('"')[1] for line in told.stdout.splitlines()
                if line.startswith("dl_dst_lib=")]
        if not word:
            raise Skip(f"{linker} does not tell what $LIB is")
        words[word[0]] = library
    for word, library in [*words.items(), ("$LIB", LIBBERTH)]:
        shutil.copyfile(library, place(word, ".libs", "libberth.so"))
    shutil.copyfile(BERTH, place("$LIB", "berth"))
    os.chmod(place("$LIB", "berth"), 0o755)
    return place("$LIB", "berth"), place("$LIB", ".libs", "libberth.so")


def with_i386(tests):
    berth, library = both_abis()
    other_tests(*tests, BERTH=berth, LIBBERTH=library,
                TEST_PROGRAMS=programs("i386", "gcc", "-m32"))


def test_i386_tree():
    """i386: 200 processes in a recording of a berth of 64 bits"""
    with_i386(TREE)


def test_i386_calls():
    """i386: hostile arguments, signals, cancellation, small stacks, clone()"""
    with_i386([*CALLS, "test_bad_arguments"])


def test_i386_sets():
    """i386: steered by the same image and the same order as programs of 64 bits"""
    with_i386(SETS)


if __name__ == "__main__":
    berthtest.main(namespace=False)
