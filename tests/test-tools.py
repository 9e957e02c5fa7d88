# SPDX-License-Identifier: MIT
"""Programs under what developers run them with: sanitizers, valgrind, strace, gdb, malloc's own
checks, a false clock. All say of a program with berth what they say without."""
import functools
import glob
import os
import shutil
import subprocess
import tempfile

import berthtest
from berthtest import BERTH, LIBBERTH, Skip, berth, equal, log_of, need, stats_of
from waytest import EVENTS, STEERED, WAYS, policy, run, same, steps, variables

SOURCE = os.path.join(os.environ.get("srcdir", "."), "tests", "programs", "steps.c")


# --- sanitizers -------------------------------------------------------------------------------


@functools.cache
def _folder():
    return tempfile.TemporaryDirectory()


@functools.cache
def sanitized(compiler, kind, *flags):
    """The program `steps`, built with this sanitizer."""
    command, = need(compiler)
    path = f"{_folder().name}/{compiler}-{kind}{len(flags)}"
    built = subprocess.run([command, "-D_GNU_SOURCE", "-g", "-O1", f"-fsanitize={kind}", *flags,
                            SOURCE, "-o", path], capture_output=True, text=True)
    if built.returncode or subprocess.run([path]).returncode:
        raise Skip(f"no -fsanitize={kind} by {compiler}")
    return path


def runtime(compiler, name):
    """The sanitizer's own library, which wants to be the first one."""
    path = subprocess.run([compiler, "-print-file-name=" + name], capture_output=True,
                          text=True).stdout.strip()
    if not os.path.isabs(path):
        raise Skip("no " + name)
    return os.path.realpath(path)


def checked(path, preload=LIBBERTH, **settings):
    return same([path, *steps()[1:]], preload=preload, settings=settings)


def test_gcc_asan():
    """gcc's ASan, its library first: no finding, observed and steered"""
    path = sanitized("gcc", "address")
    checked(path, f"{runtime('gcc', 'libasan.so')}:{LIBBERTH}")


def test_clang_asan():
    """clang's ASan, which is in the program: no finding"""
    checked(sanitized("clang", "address"))


def test_tsan():
    """TSan of gcc and of clang: no finding, and JSON is loaded without RTLD_DEEPBIND"""
    checked(sanitized("gcc", "thread"))
    checked(sanitized("clang", "thread"))


def test_msan():
    """clang's MSan: no finding; a policy in JSON is not loaded there, which is said"""
    command = [sanitized("clang", "memory"), *steps()[1:]]
    bare, _ = same(command, ways=("observed", "image"))
    refusal = f"berth: BERTH_POLICY: {policy('json')}: it is JSON, and berth-policy.so cannot be " \
              "loaded: use an image\n"
    equal(run(command, variables("json", "off")), (*bare[:2], refusal), "with JSON")


def test_ubsan():
    """UBSan of gcc and of clang: no finding"""
    checked(sanitized("gcc", "undefined"))
    checked(sanitized("clang", "undefined"))


# --- valgrind, strace, gdb --------------------------------------------------------------------

MEMCHECK = ["valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=all",
            "--errors-for-leak-kinds=all", "--track-origins=yes"]


def test_memcheck():
    """valgrind's memcheck: no error, no leak, not a word, without a suppression"""
    need("valgrind")
    (status, _, said), _ = same([*MEMCHECK, *steps()])
    equal((status, said), (7, ""), "status and stderr")


def test_memcheck_of_bad_pointer():
    """... a connect() to what cannot be read is EFAULT under valgrind, too"""
    need("valgrind")
    words = ["valgrind", "-q", "--log-file=/dev/null", *steps("bad", "connect", 9, "bad")]
    (status, said, _), _ = same(words, 1)
    equal((status, said), (0, "bad: Bad address\nconnected\nbad: Bad address\n"), "bare")


def test_strace():
    """strace -f, with its own seccomp filter and without"""
    need("strace")
    for options in [], ["--seccomp-bpf", "-e", "trace=connect"]:
        same(["strace", "-f", "-o", "/dev/null", *options, *steps()])


def test_gdb():
    """gdb, with a breakpoint on connect()"""
    need("gdb")
    words = ["gdb", "-nx", "-q", "-batch", "-ex", "set startup-with-shell off", "-ex",
             "set disable-randomization off", "-ex", "set breakpoint pending on",
             "-ex", "break connect", "-ex", "run", *["-ex", "continue"] * 20, "--args", *steps()]
    for way in (None, *WAYS):
        with tempfile.TemporaryDirectory() as folder:
            # For the program alone: gdb's own python would be observed, too.
            settings = [f"set environment {k}={v}"
                        for k, v in variables(way, folder + "/new").items()]
            at = words.index("-ex")
            command = [*words[:at], *[w for s in settings for w in ("-ex", s)], *words[at:]]
            said = run(command, {})[1]
            if way is None and "exited with code 07" not in said:
                raise Skip("gdb cannot run a program here")
            assert "exited with code 07" in said, (way, said)
            assert way is None or len(log_of(folder + "/new")) == EVENTS, way


# --- malloc, the C library, time --------------------------------------------------------------


def test_malloc_checks():
    """MALLOC_PERTURB_, MALLOC_CHECK_ and malloc's tunables"""
    debug = glob.glob("/lib/*/libc_malloc_debug.so.0")
    for settings in ({"MALLOC_PERTURB_": "165"}, {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "90"},
                     {"GLIBC_TUNABLES": "glibc.malloc.perturb=90:glibc.malloc.tcache_count=0"},
                     {"GLIBC_TUNABLES": "glibc.malloc.check=3:glibc.pthread.rseq=0"}):
        same(steps(), settings=settings)
        for library in debug:
            same(steps(), settings=settings, preload=f"{library}:{LIBBERTH}")
            same(steps(), settings=settings, preload=f"{LIBBERTH}:{library}")


def libfaketime():
    need("faketime")
    for path in glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1"):
        return path
    raise Skip("no libfaketimeMT.so.1")


def test_false_clock():
    """libfaketime before and behind berth: all events, and the process exited"""
    for clock in "@2001-02-03 04:05:06", "-30d", "+1000d x50":
        for order in f"{libfaketime()}:{LIBBERTH}", f"{LIBBERTH}:{libfaketime()}":
            same(steps(), preload=order, settings={"FAKETIME": clock, "TZ": "UTC"})
    with tempfile.TemporaryDirectory() as folder:
        run(steps(), {**variables("observed", folder + "/new"), "FAKETIME": "@2001-02-03 04:05:06",
                      "LD_PRELOAD": f"{libfaketime()}:{LIBBERTH}"})
        equal([row["berth.state"] for row in stats_of(folder + "/new")], ["exited"], "state")


def test_false_clock_under_run():
    """berth run of a program under faketime, and berth run under faketime: all lines"""
    faketime, = need("faketime")
    for way in WAYS:
        steering = ["-P", policy(way)] if way in STEERED else []
        for words in ([BERTH, "run", *steering, "--", faketime, "2001-02-03 04:05:06", *steps()],
                      [faketime, "2001-02-03 04:05:06", BERTH, "run", *steering, "--", *steps()]):
            status, said, lines = run(words, {})
            equal((status, said), run(steps(), {})[:2], "status and stdout")
            equal(lines.count("\n"), EVENTS, lines)


if __name__ == "__main__":
    berthtest.main()
