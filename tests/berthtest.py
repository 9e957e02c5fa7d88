# SPDX-License-Identifier: MIT
"""What the tests of real programs share: a network namespace of their own, servers that note
who connected, berth run and read, and TAP.

A test is a function whose name begins with test_; its docstring is its line. main() moves the
script into a namespace, runs all of them and prints TAP. A test fails by an exception, and is
skipped by Skip.
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import traceback

BERTH = os.environ.get("BERTH", "berth")
LIBBERTH = os.environ.get("LIBBERTH", "libberth.so")
PROGRAMS = os.environ.get("TEST_PROGRAMS", "tests/programs")  # where C test programs are built
NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/sbin")


class Skip(Exception):
    pass


def need(*programs):
    """Skips the test where a program is missing; returns the paths."""
    found = [shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin:/sbin") for p in programs]
    for program, path in zip(programs, found):
        if not path:
            raise Skip(program + " is not installed")
    return found


def equal(got, want, what="value"):
    assert got == want, f"{what}: got {got!r}, want {want!r}"


def enter_namespace():
    """Runs this script again in a network namespace of its own, with lo up."""
    if os.environ.get("BERTHTEST_NETNS") == str(os.getpid()):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    how = "-n" if os.geteuid() == 0 else "-rn"
    shell = 'BERTHTEST_NETNS=$$ exec "$0" "$@"'
    probe = subprocess.run(["unshare", how, "true"], capture_output=True, text=True)
    if probe.returncode:
        print("1..0 # SKIP no network namespace:", probe.stderr.strip())
        sys.exit(0)
    os.execvp("unshare", ["unshare", how, "sh", "-c", shell, sys.executable, *sys.argv])


def sysctl(name, value=None):
    """Reads, or sets, net.NAME in this namespace: sysctl('ipv4.ip_local_port_range', '1 2')."""
    path = "/proc/sys/net/" + name.replace(".", "/")
    if value is None:
        with open(path) as f:
            return f.read().strip()
    with open(path, "w") as f:
        f.write(value)
    return value


def port_range(low, high):
    sysctl("ipv4.ip_local_port_range", f"{low} {high}")


class Server:
    """A TCP server on a loopback address that keeps each accepted connection, and the peer's
    (address, port), until it is closed. `keep=False` closes each connection at once."""

    def __init__(self, family=socket.AF_INET, address=None, port=0, keep=True):
        address = address or ("127.0.0.1" if family == socket.AF_INET else "::1")
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        self.socket.listen(4096)
        self.address, self.port = self.socket.getsockname()[:2]
        self.peers, self.connections, self.keep = [], [], keep
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, peer = self.socket.accept()
            except OSError:
                return
            self.peers.append(peer[:2])
            if self.keep:
                self.connections.append(connection)
            else:
                connection.close()

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()
        for connection in self.connections:
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def berth(*arguments, **options):
    """Runs berth with text captured; options are subprocess.run's."""
    options.setdefault("capture_output", True)
    options.setdefault("text", True)
    return subprocess.run([BERTH, *map(str, arguments)], **options)


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.strip()]


class Observed:
    """One `berth run`: .process (CompletedProcess), .events and .stats (lists of dicts)."""

    def __init__(self, command, *options, events=65536, **popen):
        with tempfile.TemporaryDirectory() as folder:
            recording = os.path.join(folder, "recording.berth")
            self.process = berth("run", "-q", "--events", events, "--record", recording,
                                 *options, "--", *command, **popen)
            self.log = berth("log", "--json", recording)
            self.events = json_lines(self.log.stdout)
            self.stats = json_lines(berth("stats", "--json", recording).stdout)

    def calls(self, *calls, **keys):
        """Events of these calls; further keys hold (dots as __): berth__result='ok'."""
        wanted = {k.replace("__", "."): v for k, v in keys.items()}
        return [e for e in self.events if e["berth.call"] in calls
                and all(e.get(k) == v for k, v in wanted.items())]

    def total(self, group, name):
        return sum(s[group][name] for s in self.stats)


def _run(test):
    try:
        test()
    except Skip as reason:
        return "ok", f" # SKIP {reason}"
    except BaseException:
        for line in traceback.format_exc().splitlines():
            print("#", line)
        return "not ok", ""
    return "ok", ""


def main(module="__main__", namespace=True):
    if namespace:
        enter_namespace()
    names = sys.argv[1:]
    tests = [f for n, f in vars(sys.modules[module]).items()
             if n.startswith("test_") and (not names or n in names)]
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    for number, test in enumerate(tests, 1):
        line = (test.__doc__ or test.__name__).split("\n")[0].rstrip(".")
        verdict, note = _run(test)
        failed += verdict != "ok"
        print(f"{verdict} {number} - {line}{note}", flush=True)
    sys.exit(failed > 0)
