# SPDX-License-Identifier: MIT
"""A command without berth, and in every way that berth comes into a program by variables alone:
observed, and steered by range (the policy as an image, and as JSON) and by bind. It is to do the
same, and each port that a rule gave is of the rule's set."""
import contextlib
import functools
import json
import os
import resource
import subprocess
import tempfile

from berthtest import LIBBERTH, PATIENCE, PROGRAMS, Skip, berth, equal, log_of

RANGE, BIND = range(41000, 41100), range(20000, 20100)  # within the machine's range, and outside
STEERED = {"image": RANGE, "json": RANGE, "bind": BIND}  # which ports a way's rule has
WAYS = ("observed", *STEERED)

# Of tests/programs/steps: five sockets that get a port, by each of the calls.
STEPS = "connect 9 refused 1 bind connect 9 refused 1 say done exit 7".split()
EVENTS = 5


@functools.cache
def _folder():
    return tempfile.TemporaryDirectory(prefix="ways-")


@functools.cache
def policy(way):
    """The file of its policy, which everybody may read."""
    folder = _folder().name
    os.chmod(folder, 0o755)
    for name, rule in (("json", {"local_ports": "41000-41099"}),
                       ("bind", {"local_ports": "20000-20099", "via": "bind"})):
        with open(f"{folder}/{name}.json", "w") as f:
            json.dump({"version": 1, "rules": [{"name": name, **rule}]}, f)
    berth("compile", f"{folder}/json.json", "-o", f"{folder}/image", check=True)
    return f"{folder}/image" if way == "image" else f"{folder}/{way}.json"


def variables(way, record, preload=LIBBERTH):
    """What makes a program go this way; of None, nothing."""
    if way is None:
        return {}
    steering = {"BERTH_POLICY": policy(way)} if way in STEERED else {}
    return {"LD_PRELOAD": preload, "BERTH_RECORD": str(record), **steering}


def steps(*words):
    return [f"{PROGRAMS}/steps", *map(str, words or STEPS)]


def writes_into_pipes_at_once():
    """Whether this kernel knows RWF_NOWAIT for a pipe, as since 6.4: else it is poll(2) that tells whether
    a line would wait, and poll(2) needs RLIMIT_NOFILE."""
    reader, writer = os.pipe()
    try:
        return os.pwritev(writer, [b"x"], -1, os.RWF_NOWAIT) == 1
    except OSError:
        return False
    finally:
        os.close(reader)
        os.close(writer)


def built(name):
    """A library that was built for the tests."""
    for path in f"{PROGRAMS}/.libs/{name}.so", f"{PROGRAMS}/{name}.so":
        if os.path.exists(path):
            return os.path.realpath(path)
    raise Skip(name + ".so is not built")


def run(command, settings, limits=(), **popen):
    """(status, stdout, stderr); the limits are (which, soft limit) and the settings variables."""
    def set_limits():
        for which, soft in limits:
            resource.setrlimit(which, (soft, resource.getrlimit(which)[1]))
    environment = {**os.environ, **settings}
    popen.setdefault("stderr", subprocess.PIPE)
    done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True,
                          timeout=2 * PATIENCE,
                          env={k: v for k, v in environment.items() if v is not None},
                          preexec_fn=set_limits if limits else None, **popen)
    return done.returncode, done.stdout, done.stderr


def steered_right(way, events):
    """Whoever chose the port of a call that got one: the rule, from its set."""
    for e in events:
        if e["network.local.port"] and e["berth.chosen_by"] != "program":
            equal(e["berth.chosen_by"], "policy" if way in STEERED else "kernel", way)
            assert way not in STEERED or e["network.local.port"] in STEERED[way], (way, e)


def same(command, events=EVENTS, ways=WAYS, settings=None, preload=LIBBERTH, **options):
    """Status, stdout and stderr are the same in each way as without berth. So many events are
    recorded: the kernel's choices, or the rule's. Returns what was the same, and the events of
    each way."""
    settings = settings or {}
    bare = run(command, settings, **options)
    seen = {}
    for way in ways:
        with tempfile.TemporaryDirectory() as folder:
            record = folder + "/new"
            got = run(command, {**settings, **variables(way, record, preload)}, **options)
            equal(got, bare, f"status, stdout and stderr, {way}")
            seen[way] = log_of(record) if os.path.exists(record) else []
        equal(len(seen[way]), events, f"events, {way}")
        steered_right(way, seen[way])
    return bare, seen


@contextlib.contextmanager
def recorded():
    """A place for a recording, named to the shim."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder + "/new"
