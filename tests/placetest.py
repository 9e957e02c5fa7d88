# SPDX-License-Identifier: MIT
"""Places for recordings that are the test's own: a mount namespace with an empty /dev/shm, file
systems of any size and owner, and programs that run there as any user. For tests as root."""
import contextlib
import ctypes
import functools
import os
import resource
import shutil
import stat
import subprocess
import tempfile

from berthtest import BERTH, LIBBERTH, PATIENCE, PROGRAMS, Skip, equal

SHM = "/dev/shm"
KIT = SHM + "/kit"  # berth, the library and the program, for whoever runs them
NOBODY = 65534
LARGEST = 512 << 10  # bytes of a recording that a shim makes
CLONE_NEWNS = 0x20000

# Four events, so that what is said once was not said each time.
STEPS = "connect 9 refused 1 bind connect 9 say done exit 7".split()
SAID = "connected\nrefused: Connection refused\nconnected\ndone\n"


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


@functools.cache
def prepare():
    """Mounts of this process alone: an empty /dev/shm with the kit in it."""
    with open("/proc/self/uid_map") as f:
        if os.geteuid() or int(f.read().split()[2]) <= NOBODY:
            raise Skip("needs root, and users other than root")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise Skip("no mount namespace: " + os.strerror(ctypes.get_errno()))
    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", SHM)
    os.makedirs(KIT + "/.libs", 0o755)
    for path in (BERTH, f"{PROGRAMS}/steps"):
        shutil.copy(path, KIT)
    shutil.copy(LIBBERTH, KIT + "/.libs")


@contextlib.contextmanager
def room(options="size=64m", owner=0, mode=0o700):
    """A folder that is a file system of its own."""
    prepare()
    path = tempfile.mkdtemp(prefix="room-", dir=SHM)
    mount("-t", "tmpfs", "-o", options, "tmpfs", path)
    os.chown(path, owner, owner)
    os.chmod(path, mode)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)
        os.rmdir(path)


@contextlib.contextmanager
def no_default():
    """No default directory can be used, but for those that the environment names."""
    prepare()
    names = [f"{SHM}/berth-{uid}" for uid in (0, NOBODY)]
    for name in names:
        with open(name, "w"):
            pass
    try:
        yield
    finally:
        for name in names:
            os.unlink(name)


def environment(variables, shim=True):
    """Ours without the default places, and with these."""
    e = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"}
    e.update({"TMPDIR": "/nowhere", **({"LD_PRELOAD": f"{KIT}/.libs/libberth.so"} if shim else {})})
    e.update(variables)
    return {k: v for k, v in e.items() if v is not None}


def run(command, user=0, limits=(), shim=True, **variables):
    """Runs it as this user and with these limits: (status, stdout, stderr)."""
    def set_limits():
        for name, value in limits:
            resource.setrlimit(name, (value, value))
    done = subprocess.run(list(map(str, command)), user=user, group=user, extra_groups=[],
                          preexec_fn=set_limits, env=environment(variables, shim),
                          capture_output=True, text=True, timeout=PATIENCE, cwd="/")
    return done.returncode, done.stdout, done.stderr


def steps(*words, **options):
    return run([f"{KIT}/steps", *words], **options)


def one_line(text, begin):
    assert text.startswith(begin) and text.count("\n") == 1 and text.endswith("\n"), text


def unaffected(*words, **options):
    """The program does what it does without the shim. Returns what the shim said."""
    words = words or STEPS
    variables = {k: v for k, v in options.items() if k in ("user", "limits")}
    bare = steps(*words, shim=False, **variables)
    shim = steps(*words, **options)
    equal(shim[:2], bare[:2], f"status and output (without berth: {bare})")
    equal(bare[2], "", "stderr without berth")
    return shim[2]


def silent(*words, **options):
    equal(unaffected(*words, **options), "", "what the shim said")


def recordings(folder):
    """All recordings below the folder."""
    return sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names
                  if name.endswith(".berth"))


def the_recording(folder):
    """The only recording below the folder, and that it looks as it should."""
    path, = recordings(folder)
    s, d = os.stat(path), os.stat(os.path.dirname(path))
    equal((stat.S_IMODE(s.st_mode), stat.S_IMODE(d.st_mode)), (0o600, 0o700), "modes")
    assert s.st_size <= LARGEST, f"{s.st_size} bytes"
    equal((s.st_uid, s.st_blocks * 512 >= s.st_size), (d.st_uid, True), "owner, no holes")
    return path


@contextlib.contextmanager
def candidates():
    """The four default directories, none of which exists yet: their paths, and the variables."""
    with room() as a, room() as b, room() as d:
        yield ([f"{a}/berth", f"{b}/berth", f"{SHM}/berth-0", f"{d}/berth-0"],
               {"RUNTIME_DIRECTORY": a, "XDG_RUNTIME_DIR": b, "TMPDIR": d})
    remove(f"{SHM}/berth-0")


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
