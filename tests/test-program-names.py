# SPDX-License-Identifier: MIT
"""By which names match.program and late_bind know a program; `berth explain` and the program itself
agree on each."""
import contextlib
import json
import os
import subprocess
import tempfile
import threading

import berthtest
from berthtest import BERTH, Skip, berth, equal, need

PORTS = range(20000, 20100)  # outside the machine's range: none by chance
BODY = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", 9))
print(s.getsockname()[1])
"""
PYTHON = "/usr/bin/python3"

# Script: its first line.
SCRIPTS = {"direct": f"#!{PYTHON}", "option": f"#!{PYTHON} -u", "env": "#!/usr/bin/env python3",
           "split": "#!/usr/bin/env -S python3 -u -B", "set": "#!/usr/bin/env -S A=1 python3",
           "quoted": "#!/usr/bin/env -S 'python3' -u", "blank": "#! \t/usr/bin/env \t python3 \t"}


@contextlib.contextmanager
def scripts():
    """A folder with them, and links: to one, and to python3."""
    if not os.path.exists(PYTHON):
        raise Skip("no " + PYTHON)
    with tempfile.TemporaryDirectory() as folder:
        for name, line in SCRIPTS.items():
            with open(f"{folder}/{name}", "w") as f:
                f.write(line + BODY)
            os.chmod(f.name, 0o755)
        os.symlink("env", folder + "/link")
        os.symlink(PYTHON, folder + "/other-python")
        yield folder


def policy(folder, *names):
    with open(folder + "/policy.json", "w") as f:
        json.dump({"version": 1, "rules": [{"name": "own", "match": {"program": names},
                                            "local_ports": "20000-20099"}]}, f)
    return f.name


def in_folder(folder):
    return {**os.environ, "PATH": f"{folder}:/usr/bin:/bin"}


def is_steered(folder, command, name):
    """Whether a rule for `name` takes this command's connection."""
    done = subprocess.run([BERTH, "run", "-q", "-P", policy(folder, name), "--", *command],
                          cwd=folder, env=in_folder(folder), capture_output=True, text=True)
    equal((done.returncode, done.stderr), (0, ""), command)
    return int(done.stdout) in PORTS


def is_explained(folder, program, name):
    done = berth("explain", "-P", policy(folder, name), "--program", program, "udp", "127.0.0.1:9",
                 cwd=folder, env=in_folder(folder))
    equal(done.stderr, "", "explain")
    return done.returncode == 0


def test_scripts():
    """a script, direct or by env(1), is known by its name; the program says what explain does"""
    exe = os.path.basename(os.path.realpath(PYTHON))
    with scripts() as folder:
        for script in [*SCRIPTS, "link"]:
            by_env = script not in ("direct", "option")
            for name, known in ((script, script != "quoted"), (exe, True), ("python3", by_env),
                                ("another", False), ("*", True), (script[:2] + "*", script != "quoted")):
                for command in f"./{script}", f"{folder}/{script}", script:
                    equal(is_steered(folder, [command], name), known, f"{command} as {name}")
                    equal(is_explained(folder, command, name), known, f"explain {command} as {name}")


def test_links():
    """a program by a link: the link's name and the file's; explain likewise"""
    exe = os.path.basename(os.path.realpath(PYTHON))
    with scripts() as folder:
        for name, known in ("other-python", True), (exe, True), ("python2", False):
            equal(is_steered(folder, ["./other-python", "direct"], name), known, name)
            equal(is_explained(folder, "./other-python", name), known, f"explain {name}")
        equal(is_explained(folder, "not-here", "not-here"), True, "one that is not here")
        equal(is_explained(folder, "./not-here", "not-*"), True, "one that is not here")


def test_interpreters():
    """an interpreter that is given a script: known by its name where the script's line says just that"""
    with scripts() as folder:
        for command, name, known in (
                ("python3 env", "env", True), ("python3 -u env", "env", False),
                (f"{PYTHON} ./env a b", "env", True), ("python3 -u -B split", "split", True),
                ("python3 split", "split", False), ("python3 -B -u split", "split", False),
                ("python3 direct", "direct", True), ("python3 -u option", "option", True),
                ("python3 option", "option", False), ("python3 env split", "split", False),
                ("python3 quoted", "quoted", False), ("python3 direct", "policy.json", False)):
            equal(is_steered(folder, command.split(), name), known, f"{command} as {name}")
        code = "exec(open('env').read())"
        equal(is_steered(folder, ["python3", "-c", code, "env"], "env"), False, "python3 -c")


def test_executed_by_descriptor():
    """fexecve(): the kernel is given no name; the program behind it counts"""
    with scripts() as folder:
        code = f"import os; os.execve(os.open('{PYTHON}', os.O_RDONLY), ['x', 'direct'], os.environ)"
        exe = os.path.basename(os.path.realpath(PYTHON))
        for name, known in (exe, True), ("x", False), ("direct", False):
            equal(is_steered(folder, ["python3", "-c", code], name), known, name)


def test_fifo():
    """an argument that is a FIFO is not opened: who waits for its reader goes on waiting"""
    with scripts() as folder:
        os.mkfifo(folder + "/fifo")
        opened = threading.Event()

        def write():
            with open(folder + "/fifo", "w"):
                opened.set()
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        equal(is_steered(folder, ["python3", "direct", "fifo"], "fifo"), False)
        equal(opened.is_set(), False, "the FIFO was opened")
        os.close(os.open(folder + "/fifo", os.O_RDONLY))
        writer.join()


def test_late_bind():
    """late_bind knows a script of env(1), too"""
    with scripts() as folder, tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        with open(folder + "/binds", "w") as script:
            script.write("#!/usr/bin/env python3\nimport socket\ns = socket.socket()\n"
                         "s.bind(('127.0.0.1', 0))\nprint(s.getsockopt(socket.IPPROTO_IP, 24))\n")
        os.chmod(script.name, 0o755)
        for name, on in ("binds", "1\n"), ("another", "0\n"):
            json.dump({"version": 1, "late_bind": [name]}, f)
            f.flush()
            done = berth("run", "-q", "-P", f.name, "--", "./binds", cwd=folder)
            equal((done.returncode, done.stdout), (0, on), done.stderr)
            f.seek(0)
            f.truncate()


def test_busybox():
    """an applet by its link is known by it; as an argument it is busybox"""
    busybox, = need("busybox")
    with scripts() as folder:
        os.symlink(busybox, folder + "/nc")
        equal(is_explained(folder, "./nc", "nc"), True)
        equal(is_explained(folder, "./nc", "busybox"), True)
        equal(is_explained(folder, "busybox", "nc"), False)


if __name__ == "__main__":
    berthtest.main()
