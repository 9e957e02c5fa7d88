# SPDX-License-Identifier: MIT
"""Hostile places: what somebody else puts where berth records, logs, reads and tidies. No file but
berth's own is made, changed or deleted, and nothing is waited for.

All of it happens in a mount namespace, as root, against somebody who is `nobody`.
"""
import contextlib
import os
import shutil
import struct
import subprocess
import sys

import berthtest
from berthtest import equal, started
from placetest import KIT, NOBODY, STEPS, recordings, room, run, silent, the_recording

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
        shutil.copy(image, f"{folder}/1-1.berth.policy")
        write(f"{folder}/2-2.berth.policy", b"no image")
        write(f"{folder}/note.berth", b"no recording")
        write(f"{folder}/note", data)
        os.link(f"{folder}/note", f"{other}/../{os.path.basename(place)}/linked")
        write(f"{other}/victim.berth", data)
        os.symlink(f"{other}/victim.berth", f"{folder}/link.berth")
        os.mkfifo(f"{folder}/fifo.berth")
        os.mkdir(f"{folder}/folder.berth")
        berth("stats", XDG_RUNTIME_DIR=place)
        equal(sorted(os.listdir(folder)),
              ["2-2.berth.policy", "fifo.berth", "folder.berth", "link.berth", "note",
               "note.berth"], "what is left")
        assert os.path.exists(f"{other}/victim.berth")


def test_tidied_if_alone():
    """a default directory that others may write to, or of somebody else's, is not tidied"""
    for owner, mode in (0, 0o770), (0, 0o777), (0, 0o1777), (NOBODY, 0o700):
        with room() as place, room() as other:
            os.mkdir(f"{place}/berth")
            write(f"{place}/berth/1-1.berth", dead_recording(other))
            os.chown(f"{place}/berth", owner, owner)
            os.chmod(f"{place}/berth", mode)
            done = berth("log", XDG_RUNTIME_DIR=place)
            equal((done[0], done[1]), (0, ""), f"berth log, {mode:o}")
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
            for _ in range(200):
                for name in names:
                    if not os.path.exists(f"/proc/self/fd/{inside}/{name}"):
                        write(f"/proc/self/fd/{inside}/{name}", data)
                berth("stats", XDG_RUNTIME_DIR=place)
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


if __name__ == "__main__":
    berthtest.main()
