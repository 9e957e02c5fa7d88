# SPDX-License-Identifier: MIT
"""What the tests of real programs share: a network namespace of their own, servers that note
who connected, berth run and read, and TAP.

A test is a function whose name begins with test_; its docstring is its line. main() moves the
script into a namespace, runs all of them and prints TAP. A test fails by an exception, and is
skipped by Skip. What waits, waits for a condition; a test that waits too long is ended.
"""
import contextlib
import ctypes
import functools
import itertools
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import traceback

BERTH = os.environ.get("BERTH", "berth")
LIBBERTH = os.environ.get("LIBBERTH", "libberth.so")
PROGRAMS = os.environ.get("TEST_PROGRAMS", "tests/programs")  # where C test programs are built
DEADLINE = int(os.environ.get("TEST_DEADLINE", "300"))  # seconds a test may take: it hangs, then
PATIENCE = DEADLINE // 5  # seconds that a program of a test may take: it hangs, then
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


def built(name):
    """A library to be preloaded that was built for the tests."""
    for path in f"{PROGRAMS}/.libs/{name}.so", f"{PROGRAMS}/{name}.so":
        if os.path.exists(path):
            return os.path.realpath(path)
    raise Skip(name + ".so is not built")


def sanitized():
    """Whether berth was built with a sanitizer, which makes system calls of its own."""
    with open(BERTH, "rb") as f:
        return b"__asan_init" in f.read()


# A berth that was built with ASan cannot look for leaks while it is traced.
TRACED = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}


def but_missing(said):
    """What `berth log` says on stderr, str or bytes, but for the lines that tell of events which
    cannot be shown."""
    line = r"berth: log: [^\n]*: events are missing: [^\n]*\n"
    return re.sub(line.encode() if isinstance(said, bytes) else line, said[:0], said)


def equal(got, want, what="value"):
    assert got == want, f"{what}: got {got!r}, want {want!r}"


def wait_for(condition):
    """Waits until the condition holds and returns its value; the test's deadline ends it."""
    while not (value := condition()):
        time.sleep(0.005)
    return value


def enter_namespace():
    """Runs this script again in a network namespace of its own, with lo up, and with a /dev/shm of its
    own: what other suites record there at the same time is not in it."""
    if os.environ.get("BERTHTEST_NETNS") == str(os.getpid()):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    how = "-nm" if os.geteuid() == 0 else "-rnm"
    shell = 'mount -t tmpfs none /dev/shm && BERTHTEST_NETNS=$$ exec "$0" "$@"'
    probe = subprocess.run(["unshare", how, "true"], capture_output=True, text=True)
    if probe.returncode:
        print("1..0 # SKIP no network or mount namespace:", probe.stderr.strip())
        sys.exit(0)
    os.execvp("unshare", ["unshare", how, "sh", "-c", shell, sys.executable, *sys.argv])


def fresh_namespace():
    """Moves the test, and what it starts from now on, into another network namespace, with lo up:
    no socket, no TIME_WAIT and no setting is left in it from the tests before."""
    clone_newnet = 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(clone_newnet):
        raise Skip("no network namespace: " + os.strerror(ctypes.get_errno()))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


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
    (address, port), until it is closed. `keep=False` closes each connection at once. Its port
    is one that no other server had: no connection in TIME_WAIT is in the way."""

    unused_ports = itertools.count(8001)

    def __init__(self, family=socket.AF_INET, address=None, keep=True, protocol=0):
        address = address or ("127.0.0.1" if family == socket.AF_INET else "::1")
        self.socket = socket.socket(family, socket.SOCK_STREAM, protocol)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = next(self.unused_ports)
        self.socket.bind(socket.getaddrinfo(address, port, family)[0][4])  # knows %interface
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
            self.handle(connection)

    def handle(self, connection):
        if self.keep:
            self.connections.append(connection)
        else:
            connection.close()

    def saw(self, count):
        """The sorted peers, once there are so many."""
        wait_for(lambda: len(self.peers) >= count)
        return sorted(self.peers)

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


class Patient(Server):
    """Closes a connection after its client did, which is left with TIME_WAIT. Where the machine stops
    for so long that the FIN is sent again, its answer is answered by RST: that would end TIME_WAIT."""

    def __init__(self):
        sysctl("ipv4.tcp_rfc1337", "1")
        super().__init__()

    def handle(self, connection):
        connection.recv(1)
        connection.close()


class Outliving(Server):
    """Closes a connection after its client did, by FIN or RST. Had it closed first, a SYN from the same
    port would be answered by RST (tcp_timewait_state_process() in net/ipv4/tcp_minisocks.c) where it
    overtakes the client's own RST on the way through another CPU."""

    def handle(self, connection):
        threading.Thread(target=self._wait, args=(connection,), daemon=True).start()

    @staticmethod
    def _wait(connection):
        with connection, contextlib.suppress(OSError):
            connection.recv(1)


@contextlib.contextmanager
def holding(ports, address="127.0.0.1", listening=False):
    """Sockets that have these ports, and share them unless they listen."""
    with contextlib.ExitStack() as stack:
        for port in ports:
            s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, port))
            if listening:
                s.listen()
        yield


@contextlib.contextmanager
def policy(*rules, **more):
    """A policy's file. A rule without a name gets one."""
    named = [{"name": f"rule-{i}", **rule} for i, rule in enumerate(rules)]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump({"version": 1, "rules": named, **more}, f)
        f.flush()
        yield f.name


@contextlib.contextmanager
def closed_port():
    """A port of 127.0.0.1 at which connections are refused."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", next(Server.unused_ports)))
        yield holder.getsockname()[1]


@contextlib.contextmanager
def full_listener(address="127.0.0.1"):
    """A listener that answers no SYN until a connection is accepted: its queue is full."""
    with socket.socket() as listener, socket.socket() as first:
        listener.bind((address, next(Server.unused_ports)))
        listener.listen(0)
        first.connect(listener.getsockname())
        select.select([listener], [], [])
        yield listener


def berth(*arguments, **options):
    """Runs berth with text captured; options are subprocess.run's."""
    options.setdefault("capture_output", True)
    options.setdefault("text", True)
    return subprocess.run([BERTH, *map(str, arguments)], **options)


@functools.lru_cache
def kernel(feature):
    """What this kernel can do, as `berth doctor` found by trying it; not by its release, because
    distributions bring features back."""
    return json.loads(berth("doctor", "--json").stdout)["kernel"][feature]


MPTCP = 262
LOCAL_PORT_RANGE = 51


def has_mptcp():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP).close()
    except OSError:
        return False
    return True


def takes_range(protocol=0):
    """Whether the kernel takes IP_LOCAL_PORT_RANGE of such a socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as s:
        try:
            s.setsockopt(socket.IPPROTO_IP, LOCAL_PORT_RANGE, 0)
        except OSError:
            return False
    return True


def before_6_8():
    """The environment of a command to which this kernel lists sockets as one before 6.8."""
    libraries = [built("before_6_8"), *os.environ.get("LD_PRELOAD", "").split()]
    return {**os.environ, "LD_PRELOAD": " ".join(libraries)}


def program(code, *arguments):
    """The command that runs this Python code, which has all of socket at hand."""
    imports = "import ctypes, errno, os, select, signal, struct, sys\nfrom socket import *\n"
    return [sys.executable, "-c", imports + textwrap.dedent(code), *map(str, arguments)]


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def log_of(*places):
    return json_lines(berth("log", "--json", *places).stdout)


def stats_of(*places):
    return json_lines(berth("stats", "--json", *places).stdout)


def pick(events, *calls, **keys):
    """Events of these calls; further keys hold (dots as __): berth__result='ok'."""
    wanted = {k.replace("__", "."): v for k, v in keys.items()}
    return [e for e in events if e["berth.call"] in calls
            and all(e.get(k) == v for k, v in wanted.items())]


def locals_of(events):
    """The sorted (address, port) that the events say the programs had."""
    return sorted((e["network.local.address"], e["network.local.port"]) for e in events)


@contextlib.contextmanager
def started(command, **options):
    """A process that goes on, with pipes of text; it and its group are killed at the end."""
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    process = subprocess.Popen([str(word) for word in command], start_new_session=True,
                               **{**pipes, "text": True, **options})
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            process.__exit__(None, None, None)


@contextlib.contextmanager
def running(command, *options, **popen):
    """A `berth run` that goes on: the process, and its recording."""
    with tempfile.TemporaryDirectory() as folder:
        recording = os.path.join(folder, "recording.berth")
        run = [BERTH, "run", "-q", "--record", recording, *options, "--", *command]
        with started(run, **popen) as process:
            yield process, recording


class Observed:
    """One `berth run`: .process (CompletedProcess), .events and .stats (lists of dicts)."""

    def __init__(self, command, *options, events=65536, **popen):
        with tempfile.TemporaryDirectory() as folder:
            recording = os.path.join(folder, "recording.berth")
            self.process = berth("run", "-q", "--events", events, "--record", recording,
                                 *options, "--", *command, **popen)
            self.events = log_of(recording)
            self.stats = stats_of(recording)

    def calls(self, *calls, **keys):
        return pick(self.events, *calls, **keys)

    def total(self, group, name):
        return sum(s[group][name] for s in self.stats)


def _too_long(*_):
    raise TimeoutError(f"not done after {DEADLINE} s")


def _run(test):
    signal.alarm(DEADLINE)
    try:
        test()
    except Skip as reason:
        return "ok", f" # SKIP {reason}"
    except BaseException:
        for line in traceback.format_exc().splitlines():
            print("#", line)
        return "not ok", ""
    finally:
        signal.alarm(0)
    return "ok", ""


def _alone():
    """Nothing of the caller's berth, no core files: default recordings go to a folder of ours."""
    for name in [n for n in os.environ if n.startswith("BERTH_")] + ["RUNTIME_DIRECTORY"]:
        os.environ.pop(name, None)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.signal(signal.SIGALRM, _too_long)
    return tempfile.TemporaryDirectory()


def main(module="__main__", namespace=True):
    if namespace:
        enter_namespace()
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # nohup and background jobs ignore some
    names = sys.argv[1:]
    tests = [f for n, f in vars(sys.modules[module]).items()
             if n.startswith("test_") and (not names or n in names)]
    print(f"1..{len(tests)}", flush=True)
    failed = 0
    with _alone() as os.environ["XDG_RUNTIME_DIR"]:
        for number, test in enumerate(tests, 1):
            line = (test.__doc__ or test.__name__).split("\n")[0].rstrip(".")
            if namespace:
                port_range(32768, 60999)
            verdict, note = _run(test)
            failed += verdict != "ok"
            print(f"{verdict} {number} - {line}{note}", flush=True)
    sys.exit(failed > 0)
