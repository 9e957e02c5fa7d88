# SPDX-License-Identifier: MIT
"""Programs in a root, a user or a namespace of their own, and where /proc, /dev/shm or /sys are
missing: as without berth, and steered by the policy that they were started with."""
import contextlib
import os
import subprocess
import tempfile

import berthtest
from berthtest import BERTH, Server, Skip, equal, log_of, port_range
from waytest import (EVENTS, STEERED, STEPS, WAYS, policy, run, same, steered_right, steps,
                     variables)

NOBODY = 65534


def need_root():
    if os.geteuid():
        raise Skip("needs root")


@contextlib.contextmanager
def folders(owner=0):
    """One for a recording, and an empty root."""
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        os.chown(a, owner, owner)
        os.chmod(b, 0o755)
        yield a, b


def connected_from(server, way):
    """The port that the server saw is of the rule."""
    ports = [port for _, port in server.saw(1)]
    if way in STEERED:
        assert all(port in STEERED[way] for port in ports), (way, ports)
    server.peers.clear()


# --- rights that are given up -----------------------------------------------------------------


def gives_up(words, recorded, owner=0):
    """A program that gives something up and then makes its first connection is steered, whether it
    can be recorded any more or not; berth run records it, having opened the recording before."""
    need_root()
    with Server() as server, folders(owner) as (place, root):
        command = steps(*[w.format(root) if isinstance(w, str) else w for w in words], "tcp",
                        server.port, *STEPS)
        bare = run(command, {})
        server.saw(1)
        server.peers.clear()
        for way in WAYS:
            record = f"{place}/{way}"
            got = run(command, variables(way, record))
            equal(got[:2], bare[:2], way)
            connected_from(server, way)
            said = got[2].splitlines()
            equal(len(said), 0 if recorded else 1, said)
            assert all(line.startswith("berth: BERTH_RECORD: ") for line in said), said
            if recorded:
                equal(len(log_of(record)), EVENTS + 1, "events")
            with tempfile.TemporaryDirectory() as folder:
                steering = ["-P", policy(way)] if way in STEERED else []
                got = run([BERTH, "run", "-q", "--record", folder + "/x.berth", *steering, "--",
                           *command], {})
                equal(got, bare, f"berth run, {way}")
                connected_from(server, way)
                events = log_of(folder + "/x.berth")
                equal(len(events), EVENTS + 1, "events under berth run")
                steered_right(way, events)


def test_chroot():
    """chroot() into an empty folder before the first connection"""
    gives_up(["chroot", "{}"], recorded=False)


def test_setuid():
    """setgid() and setuid() before the first connection"""
    gives_up(["setuid", NOBODY], recorded=True, owner=NOBODY)
    gives_up(["setuid", NOBODY], recorded=False)


def test_chroot_and_setuid():
    """both, as daemons do it"""
    gives_up(["chroot", "{}", "setuid", NOBODY], recorded=False)


def test_user_namespace():
    """a program started in a user namespace, and in one with its own pids and mounts"""
    for options in ["-Ur"], ["-Urpmf", "--mount-proc"], ["-U"]:
        if subprocess.run(["unshare", *options, "true"], capture_output=True).returncode:
            raise Skip("no user namespace here")
        if options == ["-U"]:  # root's folders are not this user's
            for way in WAYS:
                got = run(["unshare", *options, *steps()], variables(way, "off"))
                equal(got, run(steps(), {}), way)
        else:
            same(["unshare", *options, *steps()])


# --- what is not mounted ----------------------------------------------------------------------


def without(*places):
    """The words in front of a command that does not see these folders, alone in its mounts."""
    need_root()
    hide = "".join(f"umount -R -l {p} 2>/dev/null; mount -t tmpfs -o size=4k,mode=0 t {p} &&"
                   if p != "/proc" else "umount -R -l /proc &&" for p in places)
    return ["unshare", "-m", "sh", "-c", f'{hide} exec "$@"', "sh"]


def test_no_shm_and_no_sys():
    """no /dev/shm, no /sys"""
    same([*without("/dev/shm", "/sys"), *steps()])

def test_no_proc():
    """no /proc: recorded, and steered by bind alone, since the machine's range is not known"""
    port_range(30000, 30999)  # not what is taken for it
    _, seen = same([*without("/proc"), *steps()])
    for way in STEERED:
        equal({e.get("berth.via") for e in seen[way] if e["berth.call"] == "connect"}, {"bind"},
              "the mechanism")


def test_no_proc_and_range_alone():
    """no /proc and a rule that is by range alone: no port outside its set, but EADDRNOTAVAIL"""
    command = [*without("/proc"), *steps("tcp")]
    with Server() as server, tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        for ports in "30000-30009", "41000-41009":
            f.seek(0)
            f.truncate()
            f.write('{"version": 1, "rules": [{"name": "r", "via": "range", "local_ports": "%s"}]}'
                    % ports)
            f.flush()
            settings = {**variables("observed", "off"), "BERTH_POLICY": f.name,
                        "BERTH_VERBOSE": "1"}
            status, said, hello = run([*command, server.port], settings)
            equal((status, said), (3, "tcp: Cannot assign requested address\n"), hello)
            assert hello.endswith(", by bind\n"), hello
        equal(server.peers, [], "connections")


if __name__ == "__main__":
    berthtest.main()
