# SPDX-License-Identifier: MIT
"""File systems on which something happens while a program records there, or has its policy there:
they fill up, become read-only, lose the file. Nothing kills the program or changes what it does."""
import contextlib
import ctypes
import functools
import os
import shutil
import subprocess
import tempfile

import berthtest
from berthtest import BERTH, LIBBERTH, PATIENCE, Skip, berth, equal, log_of, need, program, started
from waytest import EVENTS, STEERED, STEPS, WAYS, policy, run, steered_right, steps, variables

CLONE_NEWNS = 0x20000
COPIES = "not on a file system that copies on write"


@functools.cache
def own_mounts():
    """Mounts of this process alone from here on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise Skip("no mount namespace: " + os.strerror(ctypes.get_errno()))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


@contextlib.contextmanager
def mounted(*arguments):
    """A folder on which that is mounted; options come first, the source last."""
    own_mounts()
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", *arguments, folder], capture_output=True, text=True)
        if done.returncode:
            raise Skip(done.stderr.strip())
        try:
            os.chmod(folder, 0o700)
            yield folder
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def tmpfs(size="16m"):
    return mounted("-t", "tmpfs", "-o", "size=" + size, "tmpfs")


@contextlib.contextmanager
def disk(kind, megabytes):
    """A file system in a file."""
    make, = need("mkfs." + kind)
    with tempfile.NamedTemporaryFile() as image:
        image.truncate(megabytes << 20)
        subprocess.run([make, "-q", image.name], check=True, capture_output=True)
        with mounted("-o", "loop", image.name) as place:
            yield place


@contextlib.contextmanager
def overlay():
    """An overlay of two folders of a tmpfs: the folder, and that of the lower layer."""
    with tmpfs("8m") as below:
        for name in "lower", "upper", "work":
            os.mkdir(f"{below}/{name}")
        layers = f"lowerdir={below}/lower,upperdir={below}/upper,workdir={below}/work"
        with mounted("-t", "overlay", "-o", layers, "overlay") as place:
            yield place, below + "/lower"


def fill(place):
    with open(place + "/ballast", "wb", buffering=0) as f, contextlib.suppress(OSError):
        while f.write(bytes(1 << 20)) == 1 << 20:
            pass
        while f.write(b"x"):
            pass
    os.sync()


class Interrupted:
    """A program with an event, which then waits; go_on() lets it have more, and ends it. Its calls
    are as without berth."""

    def __init__(self, way, record, settings=None, more=STEPS, command=()):
        self.way, self.record, self.more = way, record, more
        self.words = [*command, *steps("connect", 9, "say", "first", "wait", *more)]
        self.settings = {**(variables(way, record) if not command else {}), **(settings or {})}

    def __enter__(self):
        self.context = started(self.words, env={**os.environ, **self.settings})
        self.process = self.context.__enter__()
        equal([self.process.stdout.readline() for _ in range(2)], ["connected\n", "first\n"])
        return self

    def go_on(self):
        said = self.process.communicate("\n", timeout=2 * PATIENCE)
        bare = run(steps(*self.more), {})
        equal((self.process.returncode, *said), bare, f"status, stdout and stderr, {self.way}")

    def __exit__(self, *error):
        return self.context.__exit__(*error)


def each_way(place, happens, *undo, more=STEPS):
    """In each way a program records in the place, where this happens meanwhile; at the end its
    recording, if it is still there, has all events."""
    for way in WAYS:
        record = f"{place}/{way}"
        with Interrupted(way, record, more=more) as one:
            happens(record)
            one.go_on()
        for back in undo:
            back()
        if os.path.exists(record):
            events = log_of(record)
            equal(len(events), EVENTS + 1 if more is STEPS else 1 + len(more) // 2, "events")
            steered_right(way, events)


def under_run(place, happens):
    """The same with a recording of `berth run`, which also holds what the rules remember."""
    for way in STEERED:
        record = f"{place}/run.berth"
        with Interrupted(way, record, command=(BERTH, "run", "-q", "--record", record, "--events",
                                               1024, "-P", policy(way), "--")) as one:
            happens(record)
            one.go_on()
        with contextlib.suppress(OSError):
            os.unlink(record)


# --- full, read-only, gone --------------------------------------------------------------------

MANY = ["connect", "9"] * 500  # more pages than the first event has touched


def test_tmpfs_fills_up():
    """a tmpfs that fills up while a program records there: no SIGBUS, all events"""
    with tmpfs() as place:
        each_way(place, lambda _: fill(place), lambda: os.unlink(place + "/ballast"), more=MANY)
        under_run(place, lambda _: fill(place))


def test_disk_fills_up():
    """an ext4 that fills up, and is written out: no SIGBUS, all events"""
    with disk("ext4", 32) as place:
        each_way(place, lambda _: fill(place), lambda: os.unlink(place + "/ballast"), more=MANY)


def test_disk_that_copies_on_write():
    """a btrfs, on which no block is ever sure, takes no recording; it is said where it was named"""
    with disk("btrfs", 150) as place, tmpfs() as other:
        for way in WAYS:
            said = run(steps(), variables(way, place + "/new"))
            bare = run(steps(), {})
            equal(said, (*bare[:2], f"berth: BERTH_RECORD: {place}/new: {COPIES}\n"), way)
        by_default = {"LD_PRELOAD": LIBBERTH, "RUNTIME_DIRECTORY": place, "XDG_RUNTIME_DIR": other}
        equal(run(steps(), by_default), run(steps(), {}), "by default")
        equal(len(log_of(other + "/berth")), EVENTS, "events in the next directory")
        done = berth("run", "--record", place + "/x.berth", "--", *steps())
        equal((done.returncode, done.stderr),
              (125, f"berth: run: --record: {place}/x.berth: {COPIES}\n"), "berth run")
        done = berth("run", "-q", "--", *steps(),
                     env={**os.environ, **by_default, "LD_PRELOAD": ""})
        equal((done.returncode, done.stderr), (7, ""), "berth run by default")
        left = [name for _, _, names in os.walk(place) for name in names]
        equal(left, [], "files")


def test_becomes_read_only():
    """a file system that is made read-only by force, as after an error: the program goes on"""
    def stop(record):
        done = subprocess.run(["mount", "-o", "remount,abort", os.path.dirname(record)],
                              capture_output=True, text=True)
        if done.returncode:
            raise Skip(done.stderr.strip())
    for way in WAYS:
        with disk("ext4", 32) as place, Interrupted(way, place + "/new", more=MANY) as one:
            stop(one.record)
            one.go_on()


def test_unmounted():
    """a file system that is unmounted lazily under a program: it goes on"""
    for way in WAYS:
        with tmpfs() as below, Interrupted(way, below + "/new") as one:
            subprocess.run(["umount", "-l", below], check=True)
            one.go_on()
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", below], check=True)


def test_deleted():
    """a recording that is deleted under a running program, and its folder too: it goes on"""
    def delete(record):
        os.unlink(record) if os.path.isfile(record) else shutil.rmtree(record)

    def delete_folder(record):
        shutil.rmtree(os.path.dirname(record))
    with tempfile.TemporaryDirectory() as place:
        each_way(place, delete)
        under_run(place, delete)
        for way in WAYS:
            os.mkdir(place + "/folder", 0o700)
            with Interrupted(way, place + "/folder/new") as one:
                delete_folder(one.record)
                one.go_on()
        os.mkdir(place + "/folder", 0o700)
        under_run(place + "/folder", lambda record: (delete_folder(record),
                                                     os.mkdir(place + "/folder", 0o700)))


# --- overlayfs --------------------------------------------------------------------------------


def recordings(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".berth"))


def dead_program(place):
    equal(run(steps(), {"LD_PRELOAD": LIBBERTH, "XDG_RUNTIME_DIR": place})[0], 7, "status")


# Is alone in a pid namespace of its own, whose /proc is not here.
ELSEWHERE = ["unshare", "-pf", "--kill-child"]


def test_overlay_tidied():
    """on overlayfs tidying takes dead programs' recordings, and none that is in use"""
    for before in [], ELSEWHERE:
        with overlay() as (place, _):
            settings = {**os.environ, "XDG_RUNTIME_DIR": place}
            words = [*before, *steps("connect", 9, "say", "x", "wait", *STEPS)]
            with started(words, env={**settings, "LD_PRELOAD": LIBBERTH}) as process:
                equal(process.stdout.readline(), "connected\n")
                live, = recordings(place + "/berth")
                for command in ["stats", "--tidy"], ["run", "-q", "--", "true"]:
                    while len(recordings(place + "/berth")) < 4:
                        dead_program(place)
                    equal(berth(*command, env=settings).returncode, 0, command)
                    left = recordings(place + "/berth")
                    assert live in left and len(left) < 4, (command, live, left)
                process.communicate("\n", timeout=PATIENCE)
                equal(process.returncode, 7, "status")
            equal(len(log_of(f"{place}/berth/{live}")), EVENTS + 1, "events")


def test_overlay_recording():
    """a recording on overlayfs: all events, also into a file of the lower layer"""
    for way in WAYS:
        with overlay() as (place, lower):
            equal(run(steps(), variables(way, place + "/new"))[0], 7, "status")
            equal(len(log_of(place + "/new")), EVENTS, "events")
            file, = recordings(place + "/new")
            shutil.copy(f"{place}/new/{file}", f"{lower}/below.berth")
            with Interrupted(way, place + "/below.berth") as one:
                one.go_on()
            equal(len(log_of(place + "/below.berth")), 2 * EVENTS + 1, "events")


AGAIN = """
    kept = []
    for line in sys.stdin:
        kept.append(socket(AF_INET, SOCK_DGRAM))
        kept[-1].connect(('127.0.0.1', 9))
        print(kept[-1].getsockname()[1], flush=True)
    """


def test_overlay_policy():
    """a policy on overlayfs that is replaced in place by cp, and cut: the program keeps its own"""
    with overlay() as (place, lower):
        for way, ports in STEERED.items():
            file = f"{place}/policy-{way}"
            shutil.copy(policy(way), f"{lower}/policy-{way}")  # cp copies it up
            settings = {**variables(way, "off"), "BERTH_POLICY": file}
            with started(program(AGAIN), env={**os.environ, **settings}) as child:

                def steered():
                    child.stdin.write("\n")
                    child.stdin.flush()
                    assert int(child.stdout.readline()) in ports
                steered()
                subprocess.run(["cp", policy("bind" if way == "json" else "json"), file],
                               check=True)
                steered()
                os.truncate(file, 0)
                steered()
                os.unlink(file)
                steered()
                child.stdin.close()
                equal((child.wait(), child.stderr.read()), (0, ""), way)


if __name__ == "__main__":
    berthtest.main()
