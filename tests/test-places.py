# SPDX-License-Identifier: MIT
"""Where recordings go, and places that take none: full, locked, foreign, limited. Whatever they
are, the program does what it does without berth.

All of it happens in a mount namespace: /dev/shm is one of the test's own.
"""
import contextlib
import os
import resource
import shutil
import socket
import subprocess

import berthtest
from berthtest import PATIENCE, equal, log_of, started, stats_of
from placetest import (KIT, LARGEST, NOBODY, SAID, SHM, STEPS, candidates, environment, mount,
                       no_default, one_line, recordings, remove, room, prepare, run, silent, steps,
                       the_recording, unaffected)


def warns(place, why, *words, **options):
    """BERTH_RECORD=place makes the shim say one line, and nothing else."""
    said = unaffected(*words, BERTH_RECORD=place, **options)
    one_line(said, f"berth: BERTH_RECORD: {place}: ")
    assert why in said, said


def run_says(why, *options, **variables):
    """`berth run` says why, and once that nothing is recorded, and runs the program."""
    status, out, said = run([f"{KIT}/berth", "run", *options, "--", f"{KIT}/steps", *STEPS],
                            shim=False, **variables)
    equal((status, out), (7, SAID), f"what the program did ({said})")
    equal(said.count("nothing is recorded"), 1, f"how often it is said in {said!r}")
    assert all(line.startswith("berth: run: ") for line in said.splitlines()), said
    assert why in said, said


def takes_none(place, why, **options):
    """Nothing can be recorded in `place`, which is a parent of a default directory too."""
    warns(place, why, **options)
    with no_default():
        silent(XDG_RUNTIME_DIR=place, **options)
    run_says("", BERTH_RECORD=place, **options)
    with no_default():
        run_says("", XDG_RUNTIME_DIR=place, **options)
    equal(recordings(place), [], "recordings")


# --- places that take none ----------------------------------------------------------------------

def test_unwritable():
    """a folder that may not be written to: one line if it was told, else none"""
    with room(owner=NOBODY, mode=0o500) as place:
        takes_none(place, "EACCES", user=NOBODY)


def test_foreign():
    """a folder of somebody else's: refused"""
    with room(owner=NOBODY) as place:
        warns(place, "EACCES")
        run_says("not yours", BERTH_RECORD=place)
        os.mkdir(f"{place}/berth", 0o700)
        os.chown(f"{place}/berth", NOBODY, NOBODY)
        with no_default():
            silent(XDG_RUNTIME_DIR=place)
            run_says("", XDG_RUNTIME_DIR=place)
        equal(recordings(place), [], "recordings")


def test_open_to_others():
    """a folder that others may write to: refused"""
    with room(mode=0o1777) as place:
        warns(place, "EACCES")
        run_says("not yours", BERTH_RECORD=place)
        os.mkdir(f"{place}/berth")
        os.chmod(f"{place}/berth", 0o777)
        with no_default():
            silent(XDG_RUNTIME_DIR=place)
        equal(recordings(place), [], "recordings")


def test_missing():
    """a folder whose parent is missing, or is a file: one line"""
    with room() as place:
        warns(f"{place}/a/b", "ENOENT")
        run_says("", BERTH_RECORD=f"{place}/a/b")
        with open(f"{place}/file", "w"):
            pass
        warns(f"{place}/file/b", "ENOTDIR")
        warns(f"{place}/file", "not a recording")
        run_says("", BERTH_RECORD=f"{place}/file/b")
        equal(os.listdir(place), ["file"])


def test_full_disk():
    """a full disk: nothing is recorded, no file is left, nobody dies of it"""
    with room("size=8m") as place:
        with open(f"{place}/ballast", "wb") as f:
            f.write(b"x" * ((8 << 20) - (300 << 10)))
        takes_none(place, "")
        run_says("", "--record", f"{place}/x.berth")
        assert set(os.listdir(place)) <= {"ballast", "berth", "unrecorded"}, os.listdir(place)


def test_read_only():
    """a read-only file system: nothing is recorded"""
    with room() as place:
        os.mkdir(f"{place}/berth", 0o700)
        mount("-o", "remount,ro", place)
        takes_none(place, "EROFS")
        run_says("Read-only", "--record", f"{place}/x.berth")


def test_file_size_limit():
    """RLIMIT_FSIZE: nothing is recorded, and no SIGXFSZ is raised"""
    with room() as place:
        for size in (0, 4096, 300_000):
            takes_none(place, "EFBIG", limits=[(resource.RLIMIT_FSIZE, size)])


def line_or_recording(place, *words, **options):
    """The program is unaffected, and recorded in a folder, or the shim says one line; and it
    says none where it chose the folder. Returns whether it is recorded."""
    before = len(recordings(place))
    said = unaffected(*words, BERTH_RECORD=place, **options)
    if said:
        one_line(said, f"berth: BERTH_RECORD: {place}: ")
    with no_default():
        silent(*words, XDG_RUNTIME_DIR=place, **options)
    made = len(recordings(place)) - before
    equal(made, 0 if said else 2, f"recordings where it says {said!r}")
    return made == 2


def test_few_descriptors():
    """RLIMIT_NOFILE at each number from 4 on, at which a program starts: it is as without berth"""
    with room() as place:
        recorded = [line_or_recording(place, limits=[(resource.RLIMIT_NOFILE, files)])
                    for files in range(4, 10)]
        equal((recorded, recorded[-1]), (sorted(recorded), True), "where there are enough")


def test_no_descriptor_left():
    """a program that has used up its descriptors, but for 0 to 4, when it first connects"""
    with room() as place:
        recorded = [line_or_recording(place, "socket", "files", 4 + spare, *STEPS[:2], "exit", 7)
                    for spare in range(5)]
        equal((recorded[0], recorded[-1]), (False, True), "recorded")


def test_little_memory():
    """RLIMIT_AS with no room for a recording: one line, and no file is left"""
    with room() as place:
        words = ["memory", 100_000, *STEPS]
        warns(place, "ENOMEM", *words)
        with no_default():
            silent(*words, XDG_RUNTIME_DIR=place)
        equal(recordings(place), [], "recordings")


def test_log_nowhere():
    """BERTH_LOG where nothing can be written: one line if it cannot be opened, else none"""
    with room("size=1m") as place:
        one_line(unaffected(BERTH_RECORD="off", BERTH_LOG=f"{place}/a/b"),
                 f"berth: BERTH_LOG: {place}/a/b: ")
        silent(BERTH_RECORD="off", BERTH_LOG="/dev/full")
        silent(BERTH_RECORD="off", BERTH_LOG=f"{place}/log",
               limits=[(resource.RLIMIT_FSIZE, 20)])
        with open(f"{place}/ballast", "wb") as f, contextlib.suppress(OSError):
            f.write(b"x" * (2 << 20))
        silent(BERTH_RECORD="off", BERTH_LOG=f"{place}/other")


# --- the default directory ----------------------------------------------------------------------

def make_file(path):
    with open(path, "w"):
        pass


def make_link(path):
    os.mkdir(f"{KIT}/target", 0o700) if not os.path.exists(f"{KIT}/target") else None
    os.symlink(f"{KIT}/target", path)


def make_foreign(path):
    os.mkdir(path, 0o700)
    os.chown(path, NOBODY, NOBODY)


def make_open(path):
    os.mkdir(path)
    os.chmod(path, 0o770)


def check_order(block):
    """The first candidate that is not blocked takes the recording, and `berth log` reads it."""
    with candidates() as (paths, variables):
        for i, path in enumerate(paths):
            silent(**variables)
            equal([p for p in paths if recordings(p)], [path], "directories with a recording")
            equal(len(log_of(the_recording(path))), 4, "events")
            log = run([f"{KIT}/berth", "log"], shim=False, **variables)
            equal((log[0], log[1].count("\n"), log[2]), (0, 4, ""), "berth log")
            remove(path)
            block(path)
            assert not any(os.path.exists(p) for p in paths[i + 1:]), "made too many"
        silent(**variables)
        equal([p for p in paths if recordings(p)], [], "directories with a recording")
    equal(recordings(KIT), [], "recordings behind the link")


def test_order():
    """$RUNTIME_DIRECTORY, $XDG_RUNTIME_DIR, /dev/shm, $TMPDIR: the first that can be used"""
    check_order(make_file)


def test_order_links():
    """... a symbolic link in its place is refused"""
    check_order(make_link)


def test_order_foreign():
    """... a directory of somebody else's is refused"""
    check_order(make_foreign)


def test_order_open():
    """... a directory that others may use is refused"""
    check_order(make_open)


def test_odd_variables():
    """a list takes its first, relative and empty values none, no TMPDIR is /tmp"""
    with candidates() as (paths, variables):
        silent(**dict(variables, RUNTIME_DIRECTORY=variables["RUNTIME_DIRECTORY"] + ":/run"))
        the_recording(paths[0])
        silent(**dict(variables, RUNTIME_DIRECTORY="tmp", XDG_RUNTIME_DIR=""))
        the_recording(paths[2])
        remove(paths[2])
        make_file(paths[2])
        mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/tmp")
        try:
            for value in (None, ""):
                silent(TMPDIR=value)
                the_recording("/tmp/berth-0")
                remove("/tmp/berth-0")
        finally:
            subprocess.run(["umount", "-l", "/tmp"], check=True)


def test_umask():
    """the modes are 0700 and 0600, whatever the umask"""
    for mask in ("0", "027", "0777"):
        with room() as place, no_default():
            silent("umask", mask, *STEPS, XDG_RUNTIME_DIR=place)
            if mask != "0777":
                the_recording(place)


def fill_default(place, size):
    """Something that is no recording takes so much of $XDG_RUNTIME_DIR/berth."""
    os.mkdir(f"{place}/berth", 0o700)
    with open(f"{place}/berth/ballast", "wb") as f:
        os.posix_fallocate(f.fileno(), 0, size)


def test_directory_cap():
    """a directory that holds a quarter of its file system takes no more, nor does the next"""
    with room("size=8m") as place:
        for _ in range(6):
            silent(XDG_RUNTIME_DIR=place)
        equal(len(recordings(place)), (2 << 20) // LARGEST, "recordings")
        assert not os.path.exists(f"{SHM}/berth-0"), "the next directory was filled"
    with room("size=8m") as place:
        fill_default(place, (2 << 20) - (100 << 10))
        silent(XDG_RUNTIME_DIR=place)
        run_says("no room", XDG_RUNTIME_DIR=place)
        equal(recordings(place), [], "recordings")


def test_run_makes_room():
    """`berth run` tidies such a directory of dead programs' recordings, and has room then"""
    with room("size=8m") as place:
        for _ in range(6):
            silent(XDG_RUNTIME_DIR=place)
        done = run([f"{KIT}/berth", "run", "-q", "--", f"{KIT}/steps", *STEPS], shim=False,
                   XDG_RUNTIME_DIR=place)
        equal(done, (7, SAID, ""))
        assert len(recordings(place)) < 4, "nothing was tidied"


def test_directory_cap_fixed():
    """a directory that holds 256 MiB takes no more"""
    with room("size=2g") as place:
        fill_default(place, (256 << 20) - LARGEST)
        silent(XDG_RUNTIME_DIR=place)
        silent(XDG_RUNTIME_DIR=place)
        equal(len(recordings(place)), 1, "recordings")
        os.unlink(the_recording(place))
        run_says("no room", XDG_RUNTIME_DIR=place)


# --- the variables ------------------------------------------------------------------------------

def test_named_directory():
    """BERTH_RECORD=DIR: made if it is missing, one recording a program, 512 KiB at the most"""
    with room() as place:
        silent(BERTH_RECORD=f"{place}/own")
        equal(len(log_of(the_recording(f"{place}/own"))), 4, "events")
        silent(BERTH_RECORD=f"{place}/own")
        silent(BERTH_RECORD=f"{place}/own/")
        equal(len(recordings(f"{place}/own")), 3, "recordings")


def test_named_file():
    """BERTH_RECORD=FILE: a second program's events go there too"""
    with room() as place:
        silent(BERTH_RECORD=place)
        path = the_recording(place)
        silent(BERTH_RECORD=path)
        equal((recordings(place), len(stats_of(path)), len(log_of(path))), ([path], 2, 8))


def test_off():
    """BERTH_RECORD=off: nothing is made, nothing said"""
    with candidates() as (paths, variables):
        silent(BERTH_RECORD="off", **variables)
        assert not any(os.path.exists(p) for p in paths)
        silent(BERTH_RECORD="", **variables)
        the_recording(paths[0])


def test_events():
    """BERTH_EVENTS: so many events are kept, and the file is as large as they need"""
    with room() as place:
        sizes = {}
        for events in (16, 17, 64, 1024, 4096):
            folder = f"{place}/{events}"
            silent(*["connect", "9"] * 40, BERTH_RECORD=folder, BERTH_EVENTS=str(events))
            path, = recordings(folder)
            sizes[events] = os.stat(path).st_size
            kept = 1 << (events - 1).bit_length()
            equal((len(log_of(path)), stats_of(path)[0]["events"]["written"]),
                  (min(kept, 40), 40), f"events of {events}")
        equal([sizes[n] - sizes[16] for n in (17, 64, 1024, 4096)],
              [(n - 16) * 128 for n in (32, 64, 1024, 4096)], "sizes")
        assert sizes[1024] <= LARGEST


def test_bad_events():
    """a BERTH_EVENTS that is none: one line, and the default; even where nothing connects"""
    with room() as place:
        for value in ("x", "0", "15", "16777217", "-16", "1e3", "64k", " 64", "9" * 300):
            said = unaffected(BERTH_RECORD=place, BERTH_EVENTS=value)
            one_line(said, "berth: BERTH_EVENTS: ")
            one_line(unaffected("say", "done", BERTH_RECORD=place, BERTH_EVENTS=value),
                     "berth: BERTH_EVENTS: ")
            remove(the_recording(place))
        silent(BERTH_RECORD=place, BERTH_EVENTS="")


def test_too_many_events():
    """more BERTH_EVENTS than the directory may hold: one line, and the process is counted"""
    with room() as place:
        one_line(unaffected(BERTH_RECORD=place, BERTH_EVENTS=str(1 << 24)),
                 f"berth: BERTH_RECORD: {place}: ")
        equal(os.listdir(place), ["unrecorded"])


# --- programs that change where they are --------------------------------------------------------

def test_deleted():
    """a recording that is deleted while its program runs: the program goes on"""
    with room() as place:
        command = [f"{KIT}/steps", "connect", 9, "wait", "connect", 9, "say", "done", "exit", 7]
        with started(command, env=environment({"BERTH_RECORD": f"{place}/own"})) as process:
            equal(process.stdout.readline(), "connected\n")
            the_recording(place)
            shutil.rmtree(f"{place}/own")
            out, said = process.communicate("\n", timeout=PATIENCE)
            equal((process.returncode, out, said), (7, "connected\ndone\n", ""))
        equal(recordings(place), [], "recordings")


def test_closefrom():
    """a program that closes all descriptors is recorded, before and after"""
    with room() as place:
        silent(*"connect 9 closefrom 3 connect 9 closefrom 3 refused 1 exit 7".split(),
               BERTH_RECORD=f"{place}/a")
        equal(len(log_of(the_recording(f"{place}/a"))), 3, "events")
        silent(*"closefrom 0 connect 9 connect 9 exit 7".split(), BERTH_RECORD=f"{place}/b")
        equal(len(log_of(the_recording(f"{place}/b"))), 2, "events")


def test_another_stderr():
    """what the shim says goes nowhere where descriptor 2 has become the program's socket"""
    prepare()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sink.setblocking(False)
        silent("error", sink.getsockname()[1], *STEPS, BERTH_RECORD="/nowhere/at/all")
        with contextlib.suppress(BlockingIOError):
            raise AssertionError(f"the program's peer got {sink.recv(999)!r}")


def test_setuid():
    """a program that gives up root before it connects uses its new user's directory"""
    with room() as place:
        silent("setuid", NOBODY, *STEPS, XDG_RUNTIME_DIR=place)
        path = the_recording(f"{SHM}/berth-{NOBODY}")
        equal((os.stat(path).st_uid, len(log_of(path))), (NOBODY, 4), "owner and events")
        equal(stats_of(path)[0]["process.user.id"], NOBODY, "user")
        equal((os.listdir(place), os.path.exists(f"{SHM}/berth-0")), ([], False))
        remove(f"{SHM}/berth-{NOBODY}")
        warns(place, "EACCES", "setuid", NOBODY, *STEPS)


def test_setuid_after():
    """... one that gives it up later goes on in the recording that it has"""
    with room() as place:
        silent("connect", 9, "setuid", NOBODY, *STEPS, BERTH_RECORD=place)
        equal(len(log_of(the_recording(place))), 5, "events")


def test_setuid_under_run():
    """... and so does one under `berth run`, which opened it first"""
    with room() as place:
        done = run([f"{KIT}/berth", "run", "-q", "--record", f"{place}/x.berth", "--",
                    f"{KIT}/steps", "setuid", NOBODY, *STEPS], shim=False)
        equal(done, (7, SAID, ""))
        equal(len(log_of(f"{place}/x.berth")), 4, "events")


def test_chroot():
    """a program that moves into an empty root: it is as without berth, recorded or not"""
    with room() as place, room() as root:
        words = ["chroot", root, *STEPS]
        with no_default():
            silent(*words, XDG_RUNTIME_DIR=place)
        warns(place, "ENOENT", *words)
        equal((recordings(root), recordings(place)), ([], []), "recordings")
        silent("connect", 9, *words, BERTH_RECORD=place)
        equal(len(log_of(the_recording(place))), 5, "events")
        done = run([f"{KIT}/berth", "run", "-q", "--record", f"{place}/x.berth", "--",
                    f"{KIT}/steps", *words], shim=False)
        equal((done, len(log_of(f"{place}/x.berth"))), ((7, SAID, ""), 4), "under run")


if __name__ == "__main__":
    berthtest.main()
