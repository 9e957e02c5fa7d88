# SPDX-License-Identifier: MIT
"""What the dynamic linker does with a program beside berth: plugins, constructors, static TLS,
other preloads, auditors, its variables."""
import functools
import os
import shutil
import subprocess
import tempfile

import berthtest
from berthtest import LIBBERTH, PROGRAMS, Skip, equal, need
from waytest import EVENTS, WAYS, run, same, steps, variables

SOURCE = os.path.join(os.environ.get("srcdir", "."), "tests", "programs", "plugin.c")


@functools.cache
def _folder():
    return tempfile.TemporaryDirectory()


@functools.cache
def plugin(*flags):
    """plugin.so, built with these flags."""
    compiler, = need("cc")
    path = f"{_folder().name}/plugin{''.join(flags)}.so"
    done = subprocess.run([compiler, "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", *flags, SOURCE,
                           "-o", path, "-lpthread"], capture_output=True, text=True)
    if done.returncode:
        raise Skip(done.stderr.splitlines()[0])
    return path


def opens(library, how):
    return [f"{PROGRAMS}/opens", library, how]


# --- plugins ----------------------------------------------------------------------------------


def test_plugins():
    """a plugin that connects in its constructor, and later, is opened and closed, twice"""
    for how in "now", "lazy":
        (_, said, _), _ = same(opens(plugin(), how), 6)
        equal(said, "open: 1\nplugin: 0\nclose: 0\nown: 0\n" * 2, "bare")


def test_deepbind():
    """RTLD_DEEPBIND, and a linker's namespace: the plugin is not seen, and the program is"""
    for how in "deep", "other":
        (_, said, _), _ = same(opens(plugin(), how), 2)
        equal(said, "open: 1\nplugin: 0\nclose: 0\nown: 0\n" * 2, "bare")


def test_static_tls():
    """plugins with much static TLS fit, or do not, as without berth"""
    fits = set()
    for size in 512, 1024, 1280, 1408, 1536, 1664, 2048, 4096:
        for way in (None, *WAYS):
            with tempfile.TemporaryDirectory() as folder:
                got = run(opens(plugin(f"-DTLS_SIZE={size}"), "now"),
                          variables(way, folder + "/new"))
            if way is None:
                bare = got
            equal(got, bare, f"{size} bytes, {way}")
        fits.add("open: 1" in bare[1])
    equal(fits, {True, False}, "sizes that fit")


# --- other preloads ---------------------------------------------------------------------------


def test_constructors():
    """a preloaded library that connects in its constructor, before ours and after it"""
    for order in f"{plugin()}:{LIBBERTH}", f"{LIBBERTH}:{plugin()}":
        same(steps(), EVENTS + 1, preload=order)


def test_constructor_with_thread():
    """... that starts a thread there, which connects: none of either is before the policy"""
    for order in f"{plugin()}:{LIBBERTH}", f"{LIBBERTH}:{plugin()}":
        for _ in range(5):
            same(steps(), EVENTS + 20, preload=order, settings={"PLUGIN_THREAD": "1"})


def test_destructors():
    """... that connects in its destructor, before ours has run and after it"""
    for order in f"{plugin()}:{LIBBERTH}", f"{LIBBERTH}:{plugin()}":
        same(steps(), EVENTS + 2, preload=order, settings={"PLUGIN_LATE": "1"})


def beside(folder):
    """The path at which the folder has the library, with its loader of JSON."""
    shutil.copy(os.environ.get("BERTH_POLICY_SO") or
                os.path.dirname(LIBBERTH) + "/berth-policy.so", folder)
    return f"{folder}/libberth.so"


def test_names():
    """empty pieces, the same library twice, by a link and by spaces"""
    with tempfile.TemporaryDirectory() as folder:
        link = beside(folder)
        os.symlink(LIBBERTH, link)
        for order in (f"::{LIBBERTH}: :", f" {LIBBERTH}  {LIBBERTH}", f"{link}:{LIBBERTH}",
                      f"{LIBBERTH}:{link}"):
            same(steps(), preload=order)


def test_two_copies():
    """two copies of berth: the program does what it does, and each records"""
    with tempfile.TemporaryDirectory() as folder:
        copy = beside(folder)
        shutil.copy(LIBBERTH, copy)
        same(steps(), 2 * EVENTS, preload=f"{copy}:{LIBBERTH}", ways=("observed",))
        for way in WAYS:
            got = run(steps(), variables(way, folder + "/new", f"{copy}:{LIBBERTH}"))
            equal(got, run(steps(), {}), way)


# --- the linker's variables -------------------------------------------------------------------


def test_variables():
    """LD_BIND_NOW, LD_BIND_NOT, LD_DEBUG, LD_DYNAMIC_WEAK, LD_LIBRARY_PATH, LD_VERBOSE"""
    with tempfile.TemporaryDirectory() as folder:
        for settings in ({"LD_BIND_NOW": "1"}, {"LD_BIND_NOT": "1"}, {"LD_DYNAMIC_WEAK": "1"},
                         {"LD_LIBRARY_PATH": folder}, {"LD_WARN": "1", "LD_VERBOSE": "1"},
                         {"LD_DEBUG": "all", "LD_DEBUG_OUTPUT": folder + "/x"}):
            same(steps(), settings=settings)


def test_audit():
    """LD_AUDIT, by a library that sees each symbol bound"""
    same(steps(), settings={"LD_AUDIT": plugin("-DAUDIT")})
    same(opens(plugin(), "now"), 6, settings={"LD_AUDIT": plugin("-DAUDIT")})


if __name__ == "__main__":
    berthtest.main()
