# SPDX-License-Identifier: MIT
"""Programs that may do more than whoever starts them, in a root of the test's own whose
/etc/ld.so.preload has the shim in each: setuid, setgid, with file capabilities (AT_SECURE), and such
as run as root with somebody else's environment and no AT_SECURE.
"""
import contextlib
import os
import re
import shutil
import stat
import subprocess

import berthtest
from berthtest import BERTH, LIBBERTH, PATIENCE, PROGRAMS, Skip, equal, need, started
from placetest import NOBODY, SAID, STEPS, one_line, recordings, room

POLICY_SO = os.environ.get("BERTH_POLICY_SO", "berth-policy.so")
POLICY = b'{"version": 1, "rules": [{"local_ports": "40000-40009"}]}'


def libraries_of(*files):
    """The files that the dynamic linker would load, itself among them."""
    listed = subprocess.run([*need("ldd"), *files], capture_output=True, text=True, check=True)
    return set(re.findall(r"(/\S+\.so\S*) \(0x", listed.stdout))


@contextlib.contextmanager
def root(preload=True):
    """A root with a program, the shim, its loader and their libraries: everybody's to read."""
    with room("size=128m,mode=0755", mode=0o755) as place:
        programs = [f"{PROGRAMS}/steps", BERTH, LIBBERTH, POLICY_SO]
        for path in libraries_of(*programs):
            os.makedirs(place + os.path.dirname(path), exist_ok=True)
            shutil.copy(path, place + path)
        for name, source in (("berth/libberth.so", LIBBERTH), ("berth/berth-policy.so", POLICY_SO),
                             ("bin/steps", f"{PROGRAMS}/steps"), ("bin/berth", BERTH),
                             ("bin/.libs/libberth.so", LIBBERTH)):
            os.makedirs(os.path.dirname(f"{place}/{name}"), exist_ok=True)
            shutil.copy(source, f"{place}/{name}")
        for name in "etc", "proc", "dev", "his", "roots":
            os.mkdir(f"{place}/{name}", 0o755)
        os.mknod(f"{place}/dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mkdir(f"{place}/tmp")
        os.chmod(f"{place}/tmp", 0o1777)
        os.chown(f"{place}/his", NOBODY, NOBODY)
        os.chmod(f"{place}/roots", 0o700)
        write(f"{place}/his/policy.json", POLICY)
        subprocess.run(["mount", "-t", "proc", "proc", f"{place}/proc"], check=True)
        if preload:
            write(f"{place}/etc/ld.so.preload", b"/berth/libberth.so\n")
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", f"{place}/proc"], check=True)


def write(path, data, mode=0o644):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)


def run(place, command, user=NOBODY, **variables):
    """Runs it in the root: (status, stdout, stderr)."""
    sanitizer = {k: v for k, v in os.environ.items() if k == "ASAN_OPTIONS"}
    done = subprocess.run(command, env={**sanitizer, **variables}, capture_output=True, text=True,
                          timeout=PATIENCE, **in_root(place, user))
    return done.returncode, done.stdout, done.stderr


def in_root(place, user):
    def enter():
        os.chroot(place)
        os.chdir("/")
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    return {"preexec_fn": enter}


def all_files(place):
    """Path, size and time of everything but /proc."""
    found = {}
    for at, folders, names in os.walk(place):
        folders[:] = [f for f in folders if f != "proc"]
        for path in (os.path.join(at, name) for name in [*names, *folders]):
            s = os.lstat(path)
            found[path] = (s.st_size if stat.S_ISREG(s.st_mode) else 0, s.st_mtime_ns, s.st_mode)
    return found


# --- AT_SECURE ------------------------------------------------------------------------------------

def setuid(path):
    os.chmod(path, 0o4755)


def setuid_other(path):
    os.chown(path, 1, 1)
    os.chmod(path, 0o4755)


def setgid(path):
    os.chmod(path, 0o2755)


def setcap(path):
    """A capability that changes nothing of what steps does."""
    done = subprocess.run([*need("setcap"), "cap_net_raw=ep", path], capture_output=True, text=True)
    if done.returncode:
        raise Skip("no file capabilities here: " + done.stderr.strip())


# Every variable, in each of its forms: what it would do is seen, or would be a file.
VARIABLES = [
    {"BERTH_RECORD": "/his", "BERTH_LOG": "/his/log"},
    {"BERTH_RECORD": "/roots", "BERTH_LOG": "/roots/log"},
    {"BERTH_RECORD": "/his/x.berth", "BERTH_LOG": "stderr", "BERTH_LOG_ONLY": "failed"},
    {"BERTH_RECORD": "//his/x.berth", "BERTH_EVENTS": "x"},
    {"BERTH_RECORD": "//his/r.berth", "BERTH_VERBOSE": "1"},
    {"BERTH_VERBOSE": "1", "XDG_RUNTIME_DIR": "/his", "TMPDIR": "/tmp"},
    {"BERTH_VERBOSE": "1", "RUNTIME_DIRECTORY": "/roots"},
    {"BERTH_POLICY": "/his/policy.json"},
    {"BERTH_POLICY": "/his/image"},
    {"BERTH_POLICY": "/roots/secret"},
    {"BERTH_POLICY": "/his/none", "BERTH_STRICT": "1"},
    {"BERTH_POLICY": "image:QUJD", "BERTH_STRICT": "1"},
    {"BERTH_LOG_ONLY": "x", "BERTH_EVENTS": "0", "TMPDIR": "/his", "XDG_RUNTIME_DIR": "his"},
]


def heeds_nothing(make):
    """A program made privileged so does what it does without the shim, which is in it."""
    with root() as place:
        program = f"{place}/bin/privileged"
        shutil.copy(f"{place}/bin/steps", program)
        make(program)
        write(f"{place}/roots/secret", b"hunter2", 0o600)
        equal(run(place, ["/bin/berth", "compile", "/his/policy.json", "-o", "/his/image"])[0], 0)
        equal(run(place, ["/bin/steps", *STEPS], BERTH_RECORD="/his"), (7, SAID, ""), "plainly")
        made, = recordings(f"{place}/his")
        os.rename(made, f"{place}/his/r.berth")
        before = all_files(place)
        for variables in VARIABLES:
            for words in STEPS, ["setuid", str(NOBODY), *STEPS]:
                equal(run(place, ["/bin/privileged", *words], **variables), (7, SAID, ""),
                      f"{variables}")
                equal(all_files(place), before, f"files after {variables}")
        with started(["/bin/privileged", "connect", "9", "wait", "exit", "7"],
                     env={"BERTH_RECORD": "/his"}, **in_root(place, NOBODY)) as process:
            equal(process.stdout.readline(), "connected\n")
            with open(f"/proc/{process.pid}/maps", encoding="ascii") as f:
                maps = f.read()
            assert "libberth.so" in maps, "the shim is not in it"
            equal(".berth" in maps, False, "a recording is mapped")
            with open(f"/proc/{process.pid}/auxv", "rb") as f:
                auxv = f.read()
            equal(secure(auxv), 1, "AT_SECURE")


def secure(auxv):
    """The value of AT_SECURE (23) in /proc/PID/auxv."""
    size = len(auxv) // 16 * 16
    pairs = memoryview(auxv[:size]).cast("N")
    return dict(zip(pairs[::2], pairs[1::2])).get(23)


def test_setuid():
    """a setuid program heeds no variable, makes and changes no file, prints nothing"""
    heeds_nothing(setuid)


def test_setuid_to_another():
    """... one of another user than root"""
    heeds_nothing(setuid_other)


def test_setgid():
    """... a setgid one"""
    heeds_nothing(setgid)


def test_file_capabilities():
    """... one with file capabilities"""
    heeds_nothing(setcap)


def test_setuid_executes():
    """... and hands none on: what it executes as root without AT_SECURE finds the rest as it was"""
    with root() as place:
        program = f"{place}/bin/privileged"
        shutil.copy(f"{place}/bin/steps", program)
        setuid(program)
        shutil.copy(shutil.which("env"), f"{place}/bin/env")
        write(f"{place}/roots/file", b"root's\n", 0o600)
        before = all_files(place)
        others = {"A": "1", "BERTH": "2", "XBERTH_LOG": "3", "Z": "4"}
        berths = {"BERTH_LOG": "/roots/file", "BERTH_POLICY": "/his/policy.json",
                  "BERTH_RECORD": "off", "BERTH_VERBOSE": "1", "BERTH_": "5"}
        mixed = dict(sorted({**others, **berths}.items(), key=lambda item: item[1]))
        become = ["/bin/privileged", "setuid", "0", "exec"]
        status, out, said = run(place, [*become, "/bin/env"], **mixed)
        kept = [line for line in out.splitlines() if not line.startswith("ASAN_OPTIONS=")]
        equal((status, said, kept), (0, "", [f"{k}={v}" for k, v in mixed.items() if k in others]))
        equal(run(place, [*become, "/bin/steps", *STEPS], **{**mixed, "XDG_RUNTIME_DIR": "/none"}),
              (7, SAID, ""), "a program that is executed")
        made = [os.path.relpath(path, place) for path in all_files(place).keys() - before.keys()]
        assert all(path.startswith("tmp/berth-0") for path in made), made  # recordings of root's own
        with open(f"{place}/roots/file", "rb") as f:
            equal(f.read(), b"root's\n")


# --- no AT_SECURE, somebody else's environment ------------------------------------------------------

def test_as_root():
    """root with a user's environment: what is the user's takes no recording, by directory or file"""
    with root() as place:
        equal(run(place, ["/bin/steps", *STEPS], BERTH_RECORD="/his"), (7, SAID, ""))
        made, = recordings(f"{place}/his")
        os.rename(made, f"{place}/his/r.berth")
        before = all_files(place)
        for record in "/his", "/his/", "/his/r.berth", "//his/r.berth", "/tmp":
            status, out, said = run(place, ["/bin/steps", *STEPS], user=0, BERTH_RECORD=record)
            equal((status, out), (7, SAID), record)
            one_line(said, f"berth: BERTH_RECORD: {record.rstrip('/')}: EACCES")
            equal(all_files(place), before, f"files after {record}")
        status, out, said = run(place, ["/bin/steps", *STEPS], user=0, XDG_RUNTIME_DIR="/his")
        equal((status, out, said), (7, SAID, ""), "the default")
        path, = recordings(f"{place}/his/berth")
        s, d = os.stat(path), os.stat(f"{place}/his/berth")
        equal((s.st_uid, s.st_mode & 0o777, d.st_uid, d.st_mode & 0o777), (0, 0o600, 0, 0o700))
        for command in "log", "stats":
            status, out, _ = run(place, ["/bin/berth", command], XDG_RUNTIME_DIR="/his")
            equal((status, out), (0, ""), f"berth {command} of root's, as the user")


# No line of these, and no word, is to be seen by who could not read the file.
SECRETS = [b"root:$6$salt$hash:19000:0:99999:7:::\n", b"hunter2", b'"hunter2"', b'["hunter2"]',
           b'{"password": "hunter2"}', b'{"hunter2": 1}', b"hunter2 = [1, 2]\n", b"{hunter2",
           b'{"a": hunter2}', b'{"a": "hunter2\n"}', b'{"hunter2": 1, "hunter2": 2}',
           b"\xffhunter2\x9b", b'{"a": "\\uhunter2"}', b"-----BEGIN hunter2", b"[" * 5000 + b"hunter2",
           b"berthpo1hunter2", b"berth001hunter2", b"\x00hunter2"]


def test_quoted():
    """BERTH_POLICY names a file that is no policy: nothing of what is in it is printed"""
    with root() as place:
        for secret in SECRETS:
            write(f"{place}/roots/secret", secret, 0o600)
            for strict in "0", "1":
                status, _, said = run(place, ["/bin/steps", "say", "done", "exit", "7"], user=0,
                                      BERTH_POLICY="/roots/secret", BERTH_STRICT=strict,
                                      BERTH_VERBOSE="1", BERTH_RECORD="off")
                equal(status, 7, said)
                first = said.splitlines()[0]
                assert first.startswith("berth: BERTH_POLICY: /roots/secret: "), said
                for word in "hunter", "root:", "salt", "BEGIN", "0xff", "password":
                    assert word not in said, f"{said!r} of {secret[:40]!r}"


def test_loader_is_beside():
    """berth-policy.so is the one beside the library, and none of LD_LIBRARY_PATH"""
    with root(preload=False) as place:
        evil = f"{place}/his/berth-policy.so"
        write(evil, b"not a library")
        environment = {"BERTH_POLICY": "/his/policy.json", "BERTH_VERBOSE": "1",
                       "BERTH_RECORD": "off"}
        for library, path in ("/berth/libberth.so", "/his"), ("libberth.so", "/his:/berth"):
            status, out, said = run(place, ["/bin/steps", "say", "done"],
                                    **{**environment, "LD_LIBRARY_PATH": path,
                                       "LD_PRELOAD": library})
            equal((status, out), (0, "done\n"), said)
            assert "1 of 1 rules are for this program" in said, said
        shutil.move(f"{place}/berth/berth-policy.so", f"{place}/tmp/berth-policy.so")
        status, out, said = run(place, ["/bin/steps", "say", "done"],
                                **{**environment, "LD_LIBRARY_PATH": "/tmp",
                                   "LD_PRELOAD": "/berth/libberth.so"})
        equal((status, out), (0, "done\n"), said)
        assert "berth-policy.so cannot be loaded" in said, said


def test_berth_itself():
    """berth with a privilege of its file heeds no variable either"""
    with root(preload=False) as place:
        os.mkdir(f"{place}/his/berth", 0o700)
        equal(run(place, ["/bin/steps", *STEPS], user=0, BERTH_RECORD="/roots",
                  LD_PRELOAD="/berth/libberth.so"), (7, SAID, ""))
        made, = recordings(f"{place}/roots")
        os.mkdir(f"{place}/tmp/berth", 0o700)
        shutil.copy(made, f"{place}/tmp/berth/1-1.berth")
        setuid(f"{place}/bin/berth")
        before = all_files(place)
        for name in "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR":
            status, out, said = run(place, ["/bin/berth", "log"], **{name: "/tmp"})
            equal((status, out), (0, ""), name)
        equal(all_files(place), before, "files")


if __name__ == "__main__":
    berthtest.main()
