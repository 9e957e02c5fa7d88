# SPDX-License-Identifier: MIT
"""Hostile places: what somebody else puts where berth records, logs, reads and tidies. No file but
berth's own is made, changed or deleted, and nothing is waited for.

All of it happens in a mount namespace, as root, against somebody who is `nobody`.
"""
import contextlib
import os
import pty
import shutil
import socket
import stat
import struct
import subprocess
import sys

import berthtest
from berthtest import Skip, equal, log_of, started
from placetest import (KIT, NOBODY, SAID, SHM, STEPS, environment, mount, one_line, recordings,
                       remove, room, run, silent, the_recording, unaffected)

# Puts a link to argv[2] in the place of argv[1], and back, again and again: argv[3] is aside.
SWAP = """
import os, sys
place, target, aside = sys.argv[1:]
print("swapping", flush=True)
while True:
    try:
        os.rename(place, aside)
        os.symlink(target, place)
        os.unlink(place)
        os.rename(aside, place)
    except FileNotFoundError:
        pass
"""


@contextlib.contextmanager
def attacker(code, *arguments):
    """Somebody who goes on doing this until the end."""
    with started([sys.executable, "-c", code, *arguments], user=NOBODY, group=NOBODY,
                 extra_groups=[], cwd="/") as process:
        assert process.stdout.readline(), process.stderr.read()
        yield
        assert process.poll() is None, process.stderr.read()


def dead_recording(folder):
    """The bytes of a recording of which nothing runs, and that is older than a day."""
    silent(BERTH_RECORD=f"{folder}/source")
    with open(the_recording(f"{folder}/source"), "rb") as f:
        data = bytearray(f.read())
    shutil.rmtree(f"{folder}/source")
    struct.pack_into("=Q", data, 112, 1)  # created
    struct.pack_into("=Q", data, 256, 0)  # no event
    return data


def write(path, data, mode=0o600):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)


def berth(*arguments, **variables):
    return run([f"{KIT}/berth", *arguments], shim=False, **variables)


# --- tidying ------------------------------------------------------------------------------------

def test_tidied():
    """old recordings of dead programs are deleted from the default directory, and nothing else"""
    with room() as place, room() as other:
        data = dead_recording(other)
        folder = f"{place}/berth"
        os.mkdir(folder, 0o700)
        for name in "1-1.berth", "2-2.berth":
            write(f"{folder}/{name}", data)
        image = f"{other}/image"
        write(f"{other}/policy.json", b'{"version": 1, "rules": [{"local_ports": 40000}]}')
        equal(berth("compile", f"{other}/policy.json", "-o", image)[0], 0, "compile")
        made = [f"{SHM}/berth-policy-{user}-{name}.berth" for user, name in
                ((0, "1-1"), (0, "2-2"), (0, "3-3"), (0, "link"), (NOBODY, "1-1"))]
        for path in made:
            shutil.copy(image, path)
        write(made[1], b"no image")
        write(f"{folder}/note.berth", b"no recording")
        write(f"{folder}/note", data)
        os.link(f"{folder}/note", f"{other}/../{os.path.basename(place)}/linked")
        write(f"{other}/victim.berth", data)
        os.symlink(f"{other}/victim.berth", f"{folder}/link.berth")
        os.mkfifo(f"{folder}/fifo.berth")
        os.mkdir(f"{folder}/folder.berth")
        berth("run", "--", "true", XDG_RUNTIME_DIR=place)
        equal(sorted(os.listdir(folder)),
              ["fifo.berth", "folder.berth", "link.berth", "note", "note.berth"], "what is left")
        equal([path for path in made if os.path.exists(path)], made[1:], "policies that are left")
        for path in made[1:]:
            os.unlink(path)
        assert os.path.exists(f"{other}/victim.berth")


def test_tidied_if_alone():
    """a default directory that others may write to, or of somebody else's, is not tidied"""
    for owner, mode in (0, 0o770), (0, 0o777), (0, 0o1777), (NOBODY, 0o700):
        with room() as place, room() as other:
            os.mkdir(f"{place}/berth")
            write(f"{place}/berth/1-1.berth", dead_recording(other))
            os.chown(f"{place}/berth", owner, owner)
            os.chmod(f"{place}/berth", mode)
            for arguments in ["run", "-q", "--", "true"], ["stats", "--tidy"]:
                done = berth(*arguments, XDG_RUNTIME_DIR=place)
                equal((done[0], done[1]), (0, ""), f"{arguments}, {mode:o}")
            assert "no recording" in done[2], done
            equal(os.listdir(f"{place}/berth"), ["1-1.berth"], f"{mode:o}")


def test_tidied_where_it_was_opened():
    """a link put in the directory's place while root tidies: nothing behind it is deleted"""
    with room(owner=NOBODY, mode=0o755) as place, room() as victim, room() as other:
        data = dead_recording(other)
        names = [f"{i}-{i}.berth" for i in range(3)]
        for name in names:
            write(f"{victim}/{name}", data)
        os.mkdir(f"{place}/berth", 0o700)
        inside = os.open(f"{place}/berth", os.O_RDONLY | os.O_DIRECTORY)
        deleted = 0
        with attacker(SWAP, f"{place}/berth", victim, f"{place}/aside"):
            for i in range(200):
                for name in names:
                    if not os.path.exists(f"/proc/self/fd/{inside}/{name}"):
                        write(f"/proc/self/fd/{inside}/{name}", data)
                if i % 2:
                    berth("stats", "--tidy", f"{place}/berth")
                else:
                    berth("run", "--", "true", XDG_RUNTIME_DIR=place, BERTH_RECORD=f"{other}/r")
                deleted += len(os.listdir(inside)) == 0
                equal(sorted(os.listdir(victim)), names, "what is behind the link")
        os.close(inside)
        assert deleted, "it was never tidied, so nothing was tried"


# --- names in a directory of somebody else's ------------------------------------------------------

def test_links_in_a_directory():
    """in a directory a link is said and not read, whatever it leads to; an operand is followed"""
    with room(owner=NOBODY, mode=0o755) as place, room() as own:
        silent(BERTH_RECORD=f"{own}/r")
        path = the_recording(f"{own}/r")
        os.symlink(path, f"{place}/link.berth")
        os.symlink("/dev/zero", f"{place}/device.berth")
        os.symlink("nowhere", f"{place}/dangling.berth")
        for command in "log", "stats":
            status, out, said = berth(command, place)
            equal((status, out), (2, ""), command)
            lines = sorted(said.splitlines())
            equal(len(lines), 3, f"lines of {lines}")
            for line, name in zip(lines, ("dangling", "device", "link")):
                assert line.startswith(f"berth: {command}: {place}/{name}.berth: a symbolic"), line
            status, out, said = berth(command, f"{place}/link.berth")
            equal((status, said), (0, ""), f"{command} of a link")
            assert out, command


# --- BERTH_RECORD ---------------------------------------------------------------------------------

def odd_files(folder):
    """Names of what is no directory and no recording, and whether it is said where it is asked for."""
    os.mkfifo(f"{folder}/fifo")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(f"{folder}/socket")
    os.mknod(f"{folder}/device", 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero
    os.mknod(f"{folder}/disk", 0o600 | stat.S_IFBLK, os.makedev(240, 250))  # no such disk
    os.symlink("nowhere", f"{folder}/dangling")
    os.symlink("loop", f"{folder}/loop")
    return ["fifo", "socket", "device", "disk", "dangling", "loop"]


def test_odd_files():
    """a FIFO, socket, device, dangling link, loop in a recording's place: refused at once"""
    with room() as place:
        for name in odd_files(place):
            path = f"{place}/{name}"
            one_line(unaffected(BERTH_RECORD=path), f"berth: BERTH_RECORD: {path}: ")
            one_line(unaffected(BERTH_RECORD=f"/{path}"), f"berth: BERTH_RECORD: /{path}: ")
            done = berth("run", "-q", "--record", path, "--", f"{KIT}/steps", *STEPS)
            equal((done[0], done[1]), (125, ""), f"berth run --record {name}")
            one_line(done[2], f"berth: run: --record: {path}: ")
        equal(sorted(os.listdir(place)),
              ["dangling", "device", "disk", "fifo", "loop", "socket"], "what is there")


def test_links():
    """a link in the place of a directory or a file is refused, with slashes behind it too"""
    with room() as place, room() as other:
        silent(BERTH_RECORD=f"{other}/r")
        path = the_recording(f"{other}/r")
        with open(path, "rb") as f:
            before = f.read()
        os.symlink(path, f"{place}/file")
        os.symlink(other, f"{place}/folder")
        for name in "file", "folder", "folder/", "folder///":
            said = unaffected(BERTH_RECORD=f"{place}/{name}")
            one_line(said, f"berth: BERTH_RECORD: {place}/{name.rstrip('/')}: ")
        for name in "folder", "folder/":
            done = berth("run", "-q", "--", f"{KIT}/steps", *STEPS, BERTH_RECORD=f"{place}/{name}")
            equal(done[:2], (7, SAID), "berth run")
            assert "nothing is recorded" in done[2], done
        done = berth("run", "-q", "--record", f"{place}/file", "--", "true")
        equal(done[:2], (125, ""), "berth run --record")
        with open(path, "rb") as f:
            equal(f.read() == before, True, "the recording behind the link is as it was")
        equal((os.listdir(other), recordings(place)), (["r"], []), "what is there")
        os.mkdir(f"{other}/inner", 0o700)
        silent(BERTH_RECORD=f"{place}/folder/inner")  # the way there is the user's to name
        the_recording(f"{other}/inner")


def test_recording_of_another():
    """a recording of another user's is not attached to: he could shrink it under the program"""
    with room(mode=0o755) as place:
        silent(BERTH_RECORD=f"{place}/r")
        path = f"{place}/x.berth"
        os.rename(the_recording(f"{place}/r"), path)
        for owner, mode, user, takes in ((NOBODY, 0o666, 0, False), (NOBODY, 0o600, NOBODY, True),
                                         (0, 0o666, NOBODY, True), (1, 0o666, NOBODY, False),
                                         (0, 0o600, 0, True)):
            os.chown(path, owner, owner)
            os.chmod(path, mode)
            before = len(log_of(path))
            for name in path, f"/{path}":
                said = unaffected(user=user, BERTH_RECORD=name)
                if not takes:
                    one_line(said, f"berth: BERTH_RECORD: {name}: EACCES")
                equal(bool(said), not takes, f"owner {owner}, user {user}")
            equal(len(log_of(path)) - before, 8 if takes else 0, "events")


def test_record_into_a_link_to_another():
    """--record FILE that is a hard link to somebody else's file: his file is not touched"""
    with room(mode=0o1777) as place:
        write(f"{place}/his", b"his own", 0o666)
        os.chown(f"{place}/his", NOBODY, NOBODY)
        os.link(f"{place}/his", f"{place}/x.berth")
        one_line(unaffected(BERTH_RECORD=f"{place}/x.berth"), "berth: BERTH_RECORD: ")
        done = berth("run", "-q", "--record", f"{place}/x.berth", "--", "true")
        equal(done[:2], (125, ""), "berth run --record")
        with open(f"{place}/his", "rb") as f:
            equal(f.read(), b"his own")


# In the place of argv[1], again and again: a link to argv[2], a directory, a file, a FIFO, nothing.
SHUFFLE = """
import contextlib, os, sys
place, target = sys.argv[1:]
def make_file():
    os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
kinds = [lambda: os.symlink(target, place), lambda: os.mkdir(place, 0o700), make_file,
         lambda: os.mkfifo(place), lambda: os.symlink("/nowhere", place)]
print("shuffling", flush=True)
number = 0
while True:
    number += 1
    aside = f"{place}-{number}"
    with contextlib.suppress(OSError):  # berth's own directory may come in between
        kinds[number % len(kinds)]()
    with contextlib.suppress(OSError):
        os.rename(place, aside)
        os.unlink(aside)
    with contextlib.suppress(OSError):
        os.rmdir(aside)
"""


def test_shuffled():
    """a directory that turns into links, files and FIFOs: nothing is made but in one's own"""
    with room("size=1g", owner=NOBODY, mode=0o755) as place, room() as secret:
        own = 0
        with attacker(SHUFFLE, f"{place}/berth", secret):
            for i in range(60):
                silent(XDG_RUNTIME_DIR=place)
                said = unaffected(BERTH_RECORD=f"{place}/berth" + "/" * (i % 3))
                assert said.count("\n") <= 1, said
                done = berth("run", "-q", "--", f"{KIT}/steps", *STEPS, XDG_RUNTIME_DIR=place)
                equal(done[0], 7, done)
                equal(os.listdir(secret), [], "files behind the link")
        for path in recordings(place):
            own += 1
            s, d = os.stat(path), os.stat(os.path.dirname(path))
            equal((s.st_uid, s.st_mode & 0o777, d.st_uid, d.st_mode & 0o777),
                  (0, 0o600, 0, 0o700), path)
        remove(f"{SHM}/berth-0")


def test_nowhere_to_be():
    """a current directory without a path: a relative one is refused, not looked for below it"""
    with room() as place:
        os.makedirs(f"{place}/(unreachable)/x", 0o700)
        os.mkdir(f"{place}/x", 0o700)
        script = (f"cd {place} && umount -l . && LD_PRELOAD={KIT}/.libs/libberth.so "
                  f"BERTH_RECORD=x exec {KIT}/steps connect 9 exit 0")
        mount("--bind", place, place)
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True)
        equal((done.returncode, done.stdout), (0, "connected\n"), done.stderr)
        one_line(done.stderr, "berth: BERTH_RECORD: x: the current directory has no path")
        equal(recordings(place), [], "recordings")


# --- terminals, and what is not a file -------------------------------------------------------------

@contextlib.contextmanager
def terminal():
    """The path of a terminal that is nobody's."""
    ours, theirs = pty.openpty()
    try:
        yield os.ttyname(theirs)
    finally:
        os.close(ours)
        os.close(theirs)


def test_terminal():
    """a terminal as BERTH_RECORD, BERTH_POLICY, BERTH_LOG: it does not become the session's"""
    code = "import os; os.open('/dev/tty', os.O_RDWR)"
    with room() as place, terminal() as path:
        for name, value in (("BERTH_RECORD", f"/{path}"), ("BERTH_POLICY", path),
                            ("BERTH_LOG", path)):
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                                  start_new_session=True,
                                  env=environment({"BERTH_RECORD": place, name: value}))
            equal(done.returncode, 1, f"a session with {name}: it has a terminal now")
            assert "No such device or address" in done.stderr, done.stderr
            said = [line for line in done.stderr.splitlines() if line.startswith("berth")]
            equal(len(said), name != "BERTH_LOG", f"lines of {said}")
        for command in ("log", path), ("stats", path), ("check", "/dev/null"):
            equal(subprocess.run([f"{KIT}/berth", *command], capture_output=True,
                                 start_new_session=True).returncode in (1, 2), True, command)


def log_to(path, *words, **options):
    """What the shim says of a program that logs there, and is unaffected."""
    return unaffected(*words, BERTH_RECORD="off", BERTH_LOG=path, **options)


def test_log():
    """BERTH_LOG: a FIFO without a reader, a socket, a directory: a line; a full FIFO: no waiting"""
    with room() as place:
        for name in odd_files(place):
            path = f"{place}/{name}"
            if name == "device":
                equal(log_to(path), "", "what is said of a device")
            elif name != "dangling":
                one_line(log_to(path), f"berth: BERTH_LOG: {path}: ")
        one_line(log_to(place), f"berth: BERTH_LOG: {place}: EISDIR")
        reader = os.open(f"{place}/fifo", os.O_RDONLY | os.O_NONBLOCK)
        equal(log_to(f"{place}/fifo"), "", "what is said of a FIFO with a reader")
        equal(os.read(reader, 65536).count(b"\n"), 4, "lines")
        writer = os.open(f"{place}/fifo", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        equal(log_to(f"{place}/fifo"), "", "what is said of a full FIFO")
        os.close(reader)
        os.close(writer)


def test_log_links():
    """BERTH_LOG and -o follow links as a shell does: where the user may write, and nowhere else"""
    with room(mode=0o755) as place, room(owner=NOBODY) as his:
        write(f"{place}/roots", b"", 0o644)
        os.symlink(f"{place}/roots", f"{his}/link")
        os.symlink(f"{his}/new", f"{his}/dangling")
        one_line(log_to(f"{his}/link", user=NOBODY), f"berth: BERTH_LOG: {his}/link: EACCES")
        equal(log_to(f"{his}/dangling", user=NOBODY), "", "what is said")
        s = os.stat(f"{his}/new")
        equal((s.st_uid, stat.S_ISREG(s.st_mode)), (NOBODY, True), "the file behind the link")
        done = berth("run", "-o", f"{his}/link", "--", "true", user=NOBODY)
        equal(done[:2], (125, ""), "berth run -o")
        equal(os.stat(f"{place}/roots").st_size, 0, "root's file")


def test_policy_files():
    """BERTH_POLICY of a sparse TiB, of /proc, a socket: a line at once, the program as without"""
    with room("size=2t") as place:
        with open(f"{place}/sparse", "wb") as f:
            f.truncate(1 << 40)
        paths = [f"{place}/{name}" for name in odd_files(place)] + [
            f"{place}/sparse", "/proc/self/maps", "/proc/self/mem", "/proc/self/pagemap",
            "/proc/self/environ", "/proc/self/fd", "/proc/self/fd/0", "/proc/cpuinfo", "/dev/fd/99"]
        for path in paths:
            one_line(unaffected(BERTH_RECORD="off", BERTH_POLICY=path),
                     f"berth: BERTH_POLICY: {path}: ")
        for path in f"{place}/sparse", "/proc/self/mem", "/dev/zero", "/proc/self/pagemap":
            for command in ["check"], ["compile", "-o", f"{place}/image"], ["explain", "9", "-P"]:
                done = berth(*command, path)
                equal((done[0] in (1, 2), done[1]), (True, ""), f"berth {command} {path}: {done}")
        equal(os.path.exists(f"{place}/image"), False, "the image")


# --- berth compile -o -----------------------------------------------------------------------------

def policy(folder):
    write(f"{folder}/policy.json", b'{"version": 1, "rules": [{"local_ports": 40000}]}', 0o644)
    return f"{folder}/policy.json"


def test_compile_names():
    """compile -o: a file of the name that it uses meanwhile is somebody's, and is left"""
    with room(mode=0o1777) as place:
        source = policy(place)
        script = ("import os, sys; n = f'{sys.argv[1]}/.berth-compile.{os.getpid()}';"
                  "open(n, 'w').write('his own'); os.execv(sys.argv[2], sys.argv[2:])")
        done = subprocess.run([sys.executable, "-c", script, place, f"{KIT}/berth", "compile",
                               source, "-o", f"{place}/image"], capture_output=True, text=True)
        equal((done.returncode, done.stderr), (0, ""), "berth compile")
        his, = [name for name in os.listdir(place) if name.startswith(".berth")]
        with open(f"{place}/{his}", encoding="ascii") as f:
            equal(f.read(), "his own")
        assert os.path.exists(f"{place}/image")


# Makes argv[1] a file of its own, then a link to argv[2], again and again.
FLIP = """
import os, sys
place, target = sys.argv[1:]
print("flipping", flush=True)
while True:
    os.close(os.open(place + ".file", os.O_CREAT | os.O_WRONLY, 0o644))
    if not os.path.lexists(place + ".link"):
        os.symlink(target, place + ".link")
    try:
        os.rename(place + ".file", place)
        os.rename(place + ".link", place)
    except PermissionError:
        pass  # it is root's now
"""


def test_compile_race():
    """compile -o in a sticky directory: no link of another's is followed, whenever it is put there"""
    with open("/proc/sys/fs/protected_symlinks", encoding="ascii") as f:
        if f.read().strip() == "0":
            raise Skip("fs.protected_symlinks is off: nothing protects a shell's > either")
    with room(mode=0o1777) as place, room(mode=0o755) as own:
        source = policy(own)
        write(f"{own}/roots", b"root's own")
        with attacker(FLIP, f"{place}/image", f"{own}/roots"):
            for _ in range(300):
                status, _, said = berth("compile", source, "-o", f"{place}/image")
                equal(status in (0, 2), True, said)
                with open(f"{own}/roots", "rb") as f:
                    equal(f.read(), b"root's own")
                with contextlib.suppress(FileNotFoundError):
                    if os.lstat(f"{place}/image").st_uid == 0:
                        os.unlink(f"{place}/image")  # the directory is sticky: nobody else may
        equal(sorted(os.listdir(own)), ["policy.json", "roots"], "what is there")


if __name__ == "__main__":
    berthtest.main()
