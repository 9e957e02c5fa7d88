# SPDX-License-Identifier: MIT
"""Programs of each kind that libberth.so reaches or does not, built by the test that asks, in a
folder that others than root may execute from too."""
import contextlib
import functools
import os
import re
import shutil
import subprocess
import tempfile

from berthtest import BERTH, LIBBERTH, Skip, equal, need, started, wait_for

SOURCES = os.path.join(os.environ.get("srcdir", "."), "tests/programs")
CONNECT = ["connect", "9"]  # of steps.c: a UDP socket, so that nobody need listen
NOBODY = 65534


@functools.cache
def build_folder():
    """Where others than root may execute programs too."""
    folder = tempfile.TemporaryDirectory(prefix="berth-reach-")
    os.chmod(folder.name, 0o755)
    return folder


def place(name):
    return os.path.join(build_folder().name, name)


@functools.cache
def build(name, compiler, *flags):
    """steps.c, built in a way of its own."""
    need(compiler)
    made = subprocess.run([compiler, "-D_GNU_SOURCE", "-o", place(name), SOURCES + "/steps.c",
                           *flags], capture_output=True, text=True)
    if made.returncode:
        raise Skip(f"{compiler} {' '.join(flags)}: {made.stderr.splitlines()[-1]}")
    return place(name)


def plain():
    return build("plain", "gcc")


def static():
    return build("static", "gcc", "-static")


@functools.cache
def go(name, *flags, cgo=0, source="connects.go"):
    need("go")
    environment = {**os.environ, "CGO_ENABLED": str(cgo), "GO111MODULE": "off", "GOFLAGS": "",
                   "GOCACHE": place("go-cache"), "GOPATH": place("go-path"), "GOPROXY": "off"}
    made = subprocess.run(["go", "build", "-o", place(name), *flags, os.path.join(SOURCES, source)],
                          env=environment, capture_output=True, text=True)
    if made.returncode:
        raise Skip(f"go build {' '.join(flags)}: {made.stderr.strip()}")
    return place(name)


def copy(path, name, mode=0o755):
    shutil.copyfile(path, place(name))
    os.chmod(place(name), mode)
    return place(name)


def write(name, text, mode=0o755):
    with open(place(name), "wb") as f:
        f.write(text.encode() if isinstance(text, str) else text)
    os.chmod(place(name), mode)
    return place(name)


@functools.cache
def own_berth():
    """A berth that nobody, too, may execute."""
    os.makedirs(place("bin/.libs"), exist_ok=True)
    copy(LIBBERTH, "bin/.libs/libberth.so")
    return copy(BERTH, "bin/berth")


def as_user(command, user=NOBODY, before=()):
    return subprocess.run([*before, *command], user=user, group=user, extra_groups=[], cwd="/",
                          capture_output=True, text=True)


def need_root():
    if os.geteuid() != 0 or os.environ.get("container") == "unprivileged":
        raise Skip("not root")
    if as_user([own_berth(), "-V"]).returncode:
        raise Skip("no other user can execute what was built here")


@contextlib.contextmanager
def waiting(path, *before):
    """A process of this program that waits, once it says so: its pid, under berth."""
    with started([*before, path, "say", "ready", "wait"]) as process:
        equal(process.stdout.readline(), "ready\n", "its word")
        yield process


def child_of(process):
    """COMMAND of a berth run, which has children of its own, too."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as f:
        children = f.read().split()
    berth = os.readlink(f"/proc/{process.pid}/exe")
    command, = (c for c in children if os.readlink(f"/proc/{c}/exe") != berth)
    return int(command)


def go_waits(*flags, **how):
    """A Go program that says that it is ready, and waits for the end of its input."""
    source = write("waits.go", "package main\nimport (\"fmt\"; \"os\")\n"
                   "func main() { fmt.Println(\"ready\"); os.Stdin.Read(make([]byte, 1)) }\n")
    return go("go-waits", *flags, source=source, **how)


# --- seen by a berth run ---------------------------------------------------------------------

# How often read(2) is called by a berth run that looks at a few processes, more often than the two
# times that some reasons need: up to 40 times a process at first, then twice. How long that takes
# depends on the machine: looks have a fiftieth of its time.
READS = 300


def reads_of(pid):
    """How often a berth run has read what /proc says: its second process. The witness does not."""
    reads = 0
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        children = f.read().split()
    for child in children:
        with contextlib.suppress(OSError):
            with open(f"/proc/{child}/comm") as name, open(f"/proc/{child}/io") as io:
                if name.read() == "berth\n":
                    reads = max(reads, int(re.search(r"^syscr: (\d+)", io.read(), re.M)[1]))
    return reads


def was_looked_at(process):
    """Waits until berth must have seen all that is there now."""
    before = reads_of(process.pid)
    wait_for(lambda: reads_of(process.pid) >= before + READS)


def run_until_seen(shell, ready, *options, before=(), berth=BERTH, status=0, **popen):
    """The stderr of a run of this shell command, in which so many processes say that they are ready,
    and have berth's own standard input as descriptor 3, which ends when berth has seen them."""
    command = [*before, berth, "run", "-q", *options, "--", "sh", "-c", "exec 3<&0; " + shell]
    with started(command, **popen) as process:
        for _ in range(ready):
            equal(process.stdout.readline(), "ready\n", "a process")
        was_looked_at(process)
        stderr = process.communicate()[1]
    equal(process.returncode, status, stderr)
    return stderr


def waits(*command):
    """A process for such a shell command."""
    return " ".join([*command, "say ready wait <&3"])
