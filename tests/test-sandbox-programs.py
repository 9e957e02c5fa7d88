# SPDX-License-Identifier: MIT
"""Programs that put themselves, or what they start, into a sandbox. Observed, and steered by range
and by bind, they do the same as without berth, nothing of them is killed, and the ports are of the
rule's set."""
import contextlib
import ctypes
import os
import re
import socket
import struct
import subprocess
import tempfile
import threading
import time

import berthtest
from berthtest import (LIBBERTH, PROGRAMS, Server, Skip, equal, fresh_namespace, log_of,
                       need, program, sanitized, started, wait_for)
from reachtest import own_berth

RANGE, BIND = range(40000, 41000), range(20000, 21000)
WAYS = {"bare": None, "observed": [], "range": ["-L", "40000-40999"],
        "bind": ["-L", "20000-20999", "--via", "bind"]}
SETS = {"range": RANGE, "bind": BIND}
SOMEBODY = 65534  # whose processes may be sandboxed by user namespaces


class Way:
    """How a program is run: .before goes before its command, .events() is what was recorded."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        self.record = f"{folder}/{name}.berth"
        self.before = []
        if WAYS[name] is not None:
            self.before = [own_berth(), "run", "-q", "--record", self.record, *WAYS[name], "--"]

    def events(self):
        return log_of(self.record) if self.before else []

    def right(self, *calls, forbidden=False):
        """There are such calls, and their ports are of the rule's set; or the event says that the
        sandbox forbids it, where it may."""
        if not self.before:
            return
        events = [e for e in self.events() if e["berth.call"] in calls and e["network.local.port"]
                  and e["berth.chosen_by"] != "program" and e["network.type"] in ("ipv4", "ipv6")]
        assert events, f"{self.name}: no {calls}"
        if self.name in SETS:
            for e in events:
                if not (forbidden and e.get("berth.unsteered") == "forbidden"):
                    assert e["network.local.port"] in SETS[self.name], (self.name, e)


@contextlib.contextmanager
def folder(owner=0):
    with tempfile.TemporaryDirectory() as path:
        os.chown(path, owner, owner)
        yield path


def compared(one, owner=0):
    """What `one(way)` returns is the same in each way as without berth; returns that."""
    fresh_namespace()
    with folder(owner) as path:
        bare = one(Way("bare", path))
        print(f"# {bare!r:.400}")
        for name in WAYS:
            if name != "bare":
                equal(one(Way(name, path)), bare, name)
    return bare


def ended(command, **options):
    """Status, stdout and stderr, the end of which is printed. What the command left running is
    killed."""
    with started(command, stdin=subprocess.DEVNULL, errors="replace", **options) as process:
        said, complaint = process.communicate()
    for line in (complaint or "").splitlines()[-5:]:
        print("#", line[:200])
    return process.returncode, said, complaint or ""


def need_root():
    if os.geteuid():
        raise Skip("needs root")


def as_somebody(home):
    """Before a command: another user, who has a home."""
    need_root()
    need("setpriv")
    return ["setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups",
            "env", f"HOME={home}", f"XDG_RUNTIME_DIR={home}", f"TMPDIR={home}"]


# --- a browser -----------------------------------------------------------------------------------

PAGE = b"""<html><body><p id=x>hello</p><script>fetch("more").then(r => r.text()).then(t =>
{ document.getElementById("x").textContent = "fetched " + t })</script></body></html>"""


class Web(Server):
    """Two resources over HTTP: a page, and what it fetches."""

    def handle(self, connection):
        threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with connection, contextlib.suppress(OSError):
            asked = b""
            while b"\r\n\r\n" not in asked:
                got = connection.recv(65536)
                if not got:
                    return
                asked += got
            body = b"what it wanted" if b"/more" in asked.split(b"\r\n")[0] else PAGE
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
                               b"Connection: close\r\nContent-Length: %d\r\n\r\n%b"
                               % (len(body), body))


QUIET = """--headless --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-dev-shm-usage
    --virtual-time-budget=20000""".split()


def test_chromium():
    """Chromium with its sandbox: the page that it renders, its status, and no renderer killed"""
    chromium, = need("chromium")

    def one(way):
        home = tempfile.mkdtemp(dir=way.folder)
        os.chown(home, SOMEBODY, SOMEBODY)
        with Web() as web:
            status, page, complaint = ended([
                *as_somebody(home), *way.before, chromium, *QUIET, f"--user-data-dir={home}/data",
                "--dump-dom", f"http://127.0.0.1:{web.port}/page"], cwd=way.folder)
        if way.name == "bare" and "fetched" not in page:
            raise Skip("Chromium's sandbox does not work here: " + complaint.strip()[-200:])
        way.right("connect")
        return status, "fetched what it wanted" in page, \
            len(re.findall("CRASHING|seccomp.*failure", complaint))
    equal(compared(one, SOMEBODY), (0, True, 0), "Chromium")


# --- servers and clients of the system -----------------------------------------------------------

class Time:
    """A server of NTP."""

    def __enter__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                asked, who = self.socket.recvfrom(512)
                now = struct.pack(">II", int(time.time()) + 2208988800, 0)
                server = bytes((0x24, 3, asked[2], 0xec)) + bytes(8) + b"\x7f\x7f\x01\x01"
                self.socket.sendto(server + now + asked[40:48] + now + now, who)

    def __exit__(self, *_):
        self.socket.close()


def chronyd(level):
    need_root()
    chrony, = need("chronyd")

    def one(way):
        with Time() as server:
            status, *_ = ended([*way.before, chrony, "-x", "-u", "root", "-F", level, "-t", 60,
                               "-Q", f"pidfile {way.folder}/chronyd.pid", "cmdport 0",
                               f"server 127.0.0.1 port {server.port} iburst maxsamples 1"])
        way.right("connect")
        return status
    equal(compared(one), 0, "chronyd")


def test_chronyd():
    """chronyd -F 1, as Debian starts it: it asks for the time, and ends"""
    chronyd("1")


def test_chronyd_strict():
    """chronyd -F 2, which allows less, and -F -1, which refuses in place of killing"""
    chronyd("2")
    chronyd("-1")


# The device that it needs, for everybody: made where nobody else sees it.
WITH_TUN = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /dev/net && "
            "mknod -m 666 /dev/net/tun c 10 200 && exec \"$@\"", "sh"]


def test_pasta():
    """pasta: a connection that it forwards out of its namespace, and its command's status"""
    need_root()
    pasta, curl = need("pasta", "curl")
    if not os.path.exists("/dev/net/tun"):
        raise Skip("there is no /dev/net/tun")

    def one(way):
        fresh_namespace()
        for line in ("link add outside type veth peer name peer", "link set outside up",
                     "link set peer up", "address add 10.5.0.1/24 dev outside",
                     "route add default via 10.5.0.2"):
            subprocess.run(["ip", *line.split()], check=True)
        home = tempfile.mkdtemp(dir=way.folder)
        os.chown(home, SOMEBODY, SOMEBODY)
        with Web() as web:
            status, said, _ = ended([
                *WITH_TUN, *as_somebody(home), *way.before, pasta, "--config-net", "-f",
                "-T", web.port, "--", "sh", "-c", f"{curl} -sS http://127.0.0.1:{web.port}/more; exit 3"],
                cwd=way.folder)
        way.right("connect")
        return status, said
    equal(compared(one, SOMEBODY), (3, "what it wanted"), "pasta")


def test_tor():
    """tor with Sandbox 1: it connects to its bridge, and lives"""
    tor, = need("tor")

    def one(way):
        data = tempfile.mkdtemp(dir=way.folder)
        said = ""
        with Server() as bridge:
            with open(f"{data}/torrc", "w") as f:
                f.write(f"DataDirectory {data}/data\nSandbox 1\nSocksPort 0\nLog notice stdout\n"
                        f"UseBridges 1\nBridge 127.0.0.1:{bridge.port}\n")
            # It is killed: its own filter refuses SIG_BLOCK, and so its mask of signals is garbage.
            with started([*way.before, tor, "-f", f"{data}/torrc", "--defaults-torrc", "/dev/null"],
                         stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
                for line in process.stdout:
                    said += line
                    if "conn_done" in line:
                        break
        print("#", said[-200:].replace("\n", " "))
        way.right("connect", forbidden=True)
        return "conn_done" in said, len(re.findall("caught|SIGSYS|Bug", said))
    equal(compared(one), (True, 0), "tor")


def test_sshd():
    """sshd, whose child before authentication has a filter: a client that is refused"""
    need_root()
    sshd, ssh, keygen = need("sshd", "ssh", "ssh-keygen")

    def one(way):
        data = tempfile.mkdtemp(dir=way.folder)
        port = next(Server.unused_ports)
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", f"{data}/key"], check=True)
        with open(f"{data}/config", "w") as f:
            f.write(f"ListenAddress 127.0.0.1:{port}\nHostKey {data}/key\nUsePAM no\n"
                    f"PidFile {data}/pid\nAuthorizedKeysFile none\n")
        with open(f"{data}/said", "w") as said:
            # Its directory is made where nobody else sees it.
            alone = ["unshare", "-m", "sh", "-c",
                     "mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec \"$@\"", "sh"]
            with started([*way.before, *alone, sshd, "-D", "-e", "-f", f"{data}/config"],
                         stdin=subprocess.DEVNULL, stdout=said, stderr=said) as process:
                wait_for(lambda: os.path.exists(f"{data}/pid") or process.poll() is not None)
                got = ended([ssh, "-F", "none", "-p", port, "-o", "BatchMode=yes", "-o",
                             "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
                             f"IdentityFile={data}/key", "nobody@127.0.0.1", "true"],
                            stderr=subprocess.STDOUT)
                wait_for(lambda: "preauth" in open(f"{data}/said").read())
                process.terminate()
                process.wait()
        with open(f"{data}/said") as f:
            said = f.read()
        print("#", said.replace("\n", " ")[-300:])
        return got[0], got[1].replace(str(port), "PORT").splitlines()[-1:], \
            "Connection closed by authenticating user" in said
    status, lines, closed = compared(one)
    assert status == 255 and closed and "Permission denied" in lines[0], (status, lines, closed)


def test_man_and_file():
    """man, whose children have filters, and file"""
    man, file = need("man", "file")
    page = os.path.join(os.environ.get("srcdir", "."), "man/berth.1")

    def one(way):
        shown = ended([*way.before, man, "-P", "cat", "-l", page])
        return shown, ended([*way.before, file, "/bin/sh", page, "/dev/null"])
    (status, text, _), (file_status, *_) = compared(one)
    assert (status, file_status) == (0, 0) and "berth" in text, (status, file_status)


class Names:
    """A server of DNS, whose every name has the address 192.0.2.7."""

    def __enter__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", next(Server.unused_ports)))
        self.port = self.socket.getsockname()[1]
        self.peers = []
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                asked, who = self.socket.recvfrom(512)
                self.peers.append(who)
                end = asked.index(b"\0", 12) + 5
                address = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes((192, 0, 2, 7))
                is_address = asked[end - 4:end - 2] == b"\0\1"
                head = asked[:2] + b"\x84\0\0\1" + bytes((0, is_address)) + bytes(4)
                self.socket.sendto(head + asked[12:end] + (address if is_address else b""), who)

    def __exit__(self, *_):
        self.socket.close()


def ask(port):
    """The address of a name, which a resolver says; it is asked until it does."""
    question = b"\3www\7example\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        s.connect(("127.0.0.1", port))
        while True:
            with contextlib.suppress(OSError):
                s.send(b"\x12\x34\1\0\0\1" + bytes(6) + question)
                return s.recv(512)[-4:]
            yield


def test_unbound():
    """unbound, in a chroot and as another user: it asks a server, and answers"""
    need_root()
    unbound, = need("unbound")

    def one(way):
        data = tempfile.mkdtemp(dir=way.folder)
        os.chmod(data, 0o755)
        os.chmod(way.folder, 0o755)
        port = next(Server.unused_ports)
        with Names() as names:
            with open(f"{data}/conf", "w") as f:
                f.write(f"""server:
  interface: 127.0.0.1@{port}
  chroot: "{data}"
  directory: "{data}"
  username: "unbound"
  pidfile: ""
  do-daemonize: no
  use-syslog: no
  logfile: ""
  do-not-query-localhost: no
  module-config: "iterator"
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{names.port}
remote-control:
  control-enable: no
""")
            with started([*way.before, unbound, "-d", "-p", "-c", f"{data}/conf"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
                asking = ask(port)
                answer = None
                while answer is None and process.poll() is None:
                    try:
                        next(asking)
                    except StopIteration as done:
                        answer = done.value
                process.terminate()
                status = process.wait()
                said = process.stderr.read()
        print("#", said.replace("\n", " ")[-300:])
        return status, answer
    equal(compared(one), (0, bytes((192, 0, 2, 7))), "unbound")


def test_vsftpd():
    """vsftpd with seccomp_sandbox=YES: a client logs in, and leaves"""
    need_root()
    vsftpd, = need("vsftpd")

    def session(way):
        data = tempfile.mkdtemp(dir=way.folder)
        port = next(Server.unused_ports)
        os.mkdir(f"{data}/empty", 0o555)
        with open(f"{data}/conf", "w") as f:
            f.write(f"listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\n"
                    f"anonymous_enable=YES\nseccomp_sandbox=YES\nsecure_chroot_dir={data}/empty\n"
                    f"anon_root={data}/empty\n")
        said = []
        # What lists or sends a file is killed by its own filter, with the libc of Debian 12.
        with started([*way.before, vsftpd, f"{data}/conf"], stdin=subprocess.DEVNULL) as process:
            def connection():
                with contextlib.suppress(ConnectionRefusedError):
                    return socket.create_connection(("127.0.0.1", port))
            with contextlib.suppress(BrokenPipeError), wait_for(connection) as s, \
                    s.makefile("rw", newline="\r\n") as talk:
                s.settimeout(60)
                for line in ("", "USER anonymous", "PASS x", "PWD", "QUIT"):
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        if line:
                            talk.write(line + "\r\n")
                            talk.flush()
                        said.append(talk.readline().strip())
        return said

    def one(way):
        try:
            said = session(way)
        except TimeoutError:  # seen once, without berth, on a machine that did much else
            print(f"# {way.name}: no answer in a minute; once more")
            said = session(way)
        text = " / ".join(said)
        if way.name == "bare" and ("OOPS" in text or "221" not in text):
            raise Skip("its sandbox kills it without berth: " + text)
        return said
    compared(one)


# --- what sandboxes others -----------------------------------------------------------------------

def seccomp_library():
    try:
        return ctypes.CDLL("libseccomp.so.2")
    except OSError:
        raise Skip("libseccomp.so.2 is not installed")


KILL, ERRNO, ALLOW = 0x80000000, 0x00050001, 0x7fff0000


def made_filter(default, others, names):
    """The filter's file: these calls get the second answer, all others the first."""
    library = seccomp_library()
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    for name in names:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number != -1:
            equal(library.seccomp_rule_add(context, ctypes.c_uint32(others), number, 0), 0, name)
    file = tempfile.TemporaryFile()
    equal(library.seccomp_export_bpf(context, file.fileno()), 0, "seccomp_export_bpf")
    file.seek(0)
    library.seccomp_release(context)
    return file


def test_bwrap():
    """bwrap --seccomp, with a profile that kills at calls that the program does not make"""
    bwrap, = need("bwrap")
    probe = subprocess.run([bwrap, "--dev-bind", "/", "/", "true"], capture_output=True, text=True)
    if probe.returncode:
        raise Skip("bwrap does not work here: " + probe.stderr.strip())

    for names in (["getsockname", "getsockopt", "setsockopt", "gettid"],
                  ["getppid", "kcmp", "madvise"]):
        def one(way):
            with Server(keep=False) as server, made_filter(ALLOW, KILL, names) as profile:
                return ended([*way.before, bwrap, "--dev-bind", "/", "/", "--seccomp",
                              profile.fileno(), f"{PROGRAMS}/filtered", "steps", server.port],
                             pass_fds=[profile.fileno()])
        status, said, _ = compared(one)
        assert status == 0 and said.endswith("listen "), (status, said)


def system_set(name, seen=None):
    """The calls of one of systemd's sets."""
    analyze, = need("systemd-analyze")
    seen = set() if seen is None else seen
    done = subprocess.run([analyze, "--no-pager", "syscall-filter", name], capture_output=True,
                          text=True)
    if done.returncode:
        raise Skip("systemd-analyze has no such set: " + done.stderr.strip())
    names = set()
    for word in re.findall(r"^ +([@\w-]+)$", done.stdout, re.MULTILINE):
        if not word.startswith("@"):
            names.add(word)
        elif word not in seen:
            seen.add(word)
            names |= system_set(word, seen)
    return names


# Installs the filter that is in a descriptor, and becomes the command; as systemd, before exec.
INSTALL = """
    class Program(ctypes.Structure):
        _fields_ = [('len', ctypes.c_ushort), ('lines', ctypes.c_void_p)]
    code = os.read(int(sys.argv[1]), 1 << 20)
    lines = ctypes.create_string_buffer(code, len(code))
    program = Program(len(code) // 8, ctypes.addressof(lines))
    libc = ctypes.CDLL(None, use_errno=True)
    os.closerange(3, 64)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.byref(program)) == 0, ctypes.get_errno()
    os.execv(sys.argv[2], sys.argv[2:])
    """


def within(profile, command):
    return program(INSTALL, profile.fileno(), *command)


def service(default):
    """Outside of the filter, inside of it, and by variables alone, as systemd starts a service."""
    names = system_set("@system-service")
    assert len(names) > 200, names

    def one(way):
        with Web() as web, Server(keep=False) as server:
            said = []
            for command in ([f"{PROGRAMS}/filtered", "steps", server.port],
                            [*need("curl"), "-sS", f"http://127.0.0.1:{web.port}/more"]):
                with made_filter(default, ALLOW, names) as profile:
                    said.append(ended([*way.before, *within(profile, command)],
                                      pass_fds=[profile.fileno()]))
                way.right("connect")
                with made_filter(default, ALLOW, names) as profile:
                    inside = [] if sanitized() else way.before
                    said.append(ended(within(profile, [*inside, *command]),
                                      pass_fds=[profile.fileno()]))
                way.right("connect")
                with made_filter(default, ALLOW, names) as profile:
                    variables = {"LD_PRELOAD": LIBBERTH} if way.before else {}
                    said.append(ended(within(profile, command), pass_fds=[profile.fileno()],
                                      env={**os.environ, **variables}))
        return said
    for status, said, complaint in compared(one):
        assert status == 0 and said.endswith(("what it wanted", "listen ")), (said, complaint)


def test_system_service():
    """systemd's @system-service as a filter that kills at others: outside, inside, by variables"""
    service(KILL)


def test_system_service_errno():
    """likewise as a filter that refuses others, as with SystemCallErrorNumber=EPERM"""
    service(ERRNO)


def test_told_to_pass():
    """a filter from before, by variables alone: no recording, and one with BERTH_FILTERS=pass"""
    names = system_set("@system-service")
    for told, events in ([], 0), (["BERTH_FILTERS=pass"], 1):
        with Server(keep=False) as server, tempfile.TemporaryDirectory() as folder, \
                made_filter(KILL, ALLOW, names) as profile:
            # By env(1), so that nothing of berth sees the filter come down.
            variables = [f"LD_PRELOAD={LIBBERTH}", f"BERTH_RECORD={folder}/made", *told]
            done = ended(within(profile, [*need("env"), *variables, f"{PROGRAMS}/filtered", "steps",
                                          server.port]), pass_fds=[profile.fileno()])
            equal((done[0], done[2]), (0, ""), f"{told}: {done}")
            made = os.listdir(folder + "/made") if os.path.exists(folder + "/made") else []
            equal(len(made), events, f"recordings, {told}")
            if events:
                assert "connect" in {e["berth.call"] for e in log_of(f"{folder}/made/{made[0]}")}


if __name__ == "__main__":
    berthtest.main()
