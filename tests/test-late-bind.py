# SPDX-License-Identifier: MIT
"""bind() to port 0: put off by `late_bind`, or given a port of a rule's set."""
import json
import os
import socket
import sys
import tempfile
import threading

import berthtest
from berthtest import Observed, Server, equal, fresh_namespace, port_range, program

PYTHON = os.path.basename(os.path.realpath(sys.executable))  # by what it is in /proc/self/exe
LATE = {"version": 1, "late_bind": [PYTHON]}
OTHERS = {"version": 1, "late_bind": ["envoy", "nginx"]}


def under(policy, command, **options):
    """A finished `berth run` of the command under this policy."""
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/policy.json", "w") as f:
            json.dump(policy, f)
        o = Observed(command, "-P", f"{folder}/policy.json", **options)
    equal((o.process.returncode, o.process.stderr), (0, ""), "the program")
    return o


def bare(command):
    done = berthtest.subprocess.run(command, capture_output=True, text=True)
    equal((done.returncode, done.stderr), (0, ""), "the program without berth")
    return done


def same_as_bare(code, *arguments):
    """The program's output is the same without berth, under late_bind, and under another's."""
    command = program(code, *arguments)
    want = bare(command).stdout
    equal(under(OTHERS, command).process.stdout, want, "output, not on the list")
    o = under(LATE, command)
    equal(o.process.stdout, want, "output under late_bind")
    return want, o


# --- a source address for many destinations ------------------------------------------------------

# bind(ADDR, 0) before connect, 120 times to each destination: how many each got.
MANY = """
    family, host, bind_to = AddressFamily(int(sys.argv[1])), sys.argv[2], sys.argv[3]
    resource = __import__('resource')
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    kept, refused = [], set()
    for port in map(int, sys.argv[4:]):
        got = 0
        for i in range(120):
            s = socket(family)
            try:
                s.bind((bind_to, 0))
                s.connect((host, port))
                got += 1
                kept.append(s)
            except OSError as e:
                refused.add(errno.errorcode[e.errno])
        print(got, end=' ')
    print(*sorted(refused))
    """


def many(family, host, bind_to):
    fresh_namespace()
    port_range(40000, 40099)
    with Server(family, address=host) as one, Server(family, address=host) as two, \
            Server(family, address=host) as three:
        servers = one, two, three
        command = program(MANY, int(family), host, bind_to, *(s.port for s in servers))
        equal(under(OTHERS, command).process.stdout, "100 0 0 EADDRINUSE\n", "not on the list")
        one.saw(100)
        fresh_namespace()
    port_range(40000, 40099)
    with Server(family, address=host) as one, Server(family, address=host) as two, \
            Server(family, address=host) as three:
        servers = one, two, three
        command = program(MANY, int(family), host, bind_to, *(s.port for s in servers))
        equal(under(LATE, command).process.stdout, "100 100 100 EADDRNOTAVAIL\n", "late_bind")
        for server in servers:
            equal([port for _, port in server.saw(100)], list(range(40000, 40100)), "ports")
            equal({address for address, _ in server.peers}, {bind_to}, "addresses")


def test_many_ipv4():
    """late_bind, IPv4: 100 ports give 100 connections to each of three destinations, not to all"""
    many(socket.AF_INET, "127.0.0.1", "127.0.0.9")


def test_many_ipv6():
    """late_bind, IPv6: 100 ports give 100 connections to each of three destinations, not to all"""
    many(socket.AF_INET6, "::1", "::1")


def test_many_bare():
    """without berth 100 ports give 100 connections to all destinations together"""
    fresh_namespace()
    port_range(40000, 40099)
    with Server() as one, Server() as two, Server() as three:
        command = program(MANY, int(socket.AF_INET), "127.0.0.1", "127.0.0.9",
                          one.port, two.port, three.port)
        equal(bare(command).stdout, "100 0 0 EADDRINUSE\n", "what it got")


# Two connections with bind() first, to each destination.
TWO = """
    kept = []
    for port in map(int, sys.argv[1:]):
        for i in range(2):
            kept.append(socket())
            kept[-1].bind(('127.0.0.9', 0))
            kept[-1].connect(('127.0.0.1', port))
    """


def test_rules_apply():
    """late_bind: the port is chosen at connect, where a rule with `to` applies"""
    fresh_namespace()
    for via, ports in ("range", [40000, 40001]), ("bind", [20000, 20001]), ("auto", [20002, 40002]):
        with Server() as server, Server() as other:
            rule = {"name": "own", "match": {"to": [f"*:{server.port}"]}, "local_ports": ports,
                    "via": via}
            o = under({**LATE, "rules": [rule]}, program(TWO, server.port, other.port))
            equal(server.saw(2), [("127.0.0.9", port) for port in ports], "what the server saw")
            equal({a for a, _ in other.saw(2)}, {"127.0.0.9"}, "what the other saw")
            steered = o.calls("connect", berth__chosen_by="policy")
            equal(sorted(e["network.local.port"] for e in steered), ports, "steered")
            equal(len(o.calls("connect", berth__chosen_by="kernel")), 2, "left to the kernel")


# --- those who ask for the port ------------------------------------------------------------------

ASKS = """
    def port_of(s):
        return s.getsockname()[1]

    server = create_server(('127.0.0.1', 0))
    to = server.getsockname()

    s = socket()
    s.bind(('127.0.0.1', 0))
    before = port_of(s)
    s.connect(to)
    print('getsockname() before connect:', before > 0, port_of(s) == before,
          s.getsockopt(IPPROTO_IP, 24))

    s = socket()
    s.bind(('127.0.0.3', 0))
    s.listen()
    port = port_of(s)
    c = create_connection(('127.0.0.3', port))
    print('listen:', port > 0, s.getsockname()[0], s.accept()[0].getsockname()[1] == port,
          s.getsockopt(IPPROTO_IP, 24))

    s = socket()
    s.bind(('', 0))
    s.listen()
    print('listen on any address:', port_of(s) > 0, s.getsockname()[0])

    s = socket(AF_INET6)
    s.bind(('::1', 0))
    before = port_of(s)
    s.listen()
    print('IPv6, both:', before > 0, port_of(s) == before, s.getsockname()[0])

    s = socket()
    s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    s.bind(('127.0.0.1', 0))
    s.listen()
    print('SO_REUSEADDR:', port_of(s) > 0, s.getsockopt(SOL_SOCKET, SO_REUSEADDR))

    s = socket()
    s.bind(('127.0.0.1', 0))
    other = s.dup()
    before = port_of(other)
    s.connect(to)
    print('a copy asks:', before > 0, port_of(s) == before)

    s = socket()
    s.bind(('127.0.0.1', 0))
    pid = os.fork()
    if not pid:
        s.listen()
        os._exit(0)
    os.waitpid(pid, 0)
    print('a child listens:', port_of(s) > 0,
          create_connection(s.getsockname()).getpeername() == s.getsockname())

    s = socket()
    try:
        s.bind(('192.0.2.1', 0))
    except OSError as e:
        print('not its address:', errno.errorcode[e.errno], s.getsockname(),
              s.getsockopt(IPPROTO_IP, 24))

    s = socket(AF_INET, SOCK_DGRAM)
    s.bind(('127.0.0.1', 0))
    print('UDP:', port_of(s) > 0)

    s = socket()
    s.bind(('127.0.0.1', 30123))
    print('a port:', port_of(s), s.getsockopt(IPPROTO_IP, 24))

    s = socket()
    s.setsockopt(IPPROTO_IP, 24, 1)
    s.bind(('127.0.0.1', 0))
    print('its own option, not asked for:', s.getsockopt(IPPROTO_IP, 24))
    s.connect(to)
    print('its own option:', s.getsockopt(IPPROTO_IP, 24), port_of(s) > 0)

    s = socket()
    s.bind(('127.0.0.1', 0))
    s.connect(to)
    print('not asked before connect:', s.getsockname()[0], port_of(s) > 0)
    """


def test_asks():
    """late_bind: getsockname() before connect, or listen(), finds what it finds without berth"""
    fresh_namespace()
    want, _ = same_as_bare(ASKS)
    equal(len(want.splitlines()), 13, "lines")
    assert "getsockname() before connect: True True 0" in want, want


def test_second_bind():
    """late_bind: a second bind() of a socket is EINVAL, to port 0 and to a port"""
    fresh_namespace()
    want, _ = same_as_bare("""
        for port in 0, 30000:
            s = socket()
            s.bind(('127.0.0.1', 0))
            try:
                s.bind(('127.0.0.1', port))
                print('ok')
            except OSError as e:
                print(errno.errorcode[e.errno])
        """)
    equal(want, "EINVAL\nEINVAL\n", "without berth")


def test_options_of_a_bound_socket():
    """late_bind: an option that a socket with a port refuses, or that does nothing to it, fixes the port"""
    fresh_namespace()
    want, _ = same_as_bare("""
        for level, option in (IPPROTO_IP, 24), (IPPROTO_IPV6, IPV6_V6ONLY):
            for value in 0, 1:
                s = socket(AF_INET6)
                s.bind(('::', 0))
                try:
                    s.setsockopt(level, option, value)
                    print('ok', s.getsockopt(level, option) == value)
                except OSError as e:
                    print(errno.errorcode[e.errno])
                try:
                    s.bind(('::', 30000))
                except OSError as e:
                    print(errno.errorcode[e.errno])
                print(s.getsockname()[1] > 0)
        """)
    equal(want, "ok True\nEINVAL\nTrue\n" * 2 + "EINVAL\nEINVAL\nTrue\n" * 2, "without berth")


def test_own_option():
    """late_bind: a program that sets IP_BIND_ADDRESS_NO_PORT itself still sees port 0"""
    fresh_namespace()
    want, _ = same_as_bare("""
        s = socket()
        s.setsockopt(IPPROTO_IP, 24, 1)
        s.bind(('127.0.0.1', 0))
        print(s.getsockname(), s.getsockopt(IPPROTO_IP, 24))
        s.bind(('127.0.0.2', 0))
        print(s.getsockname(), s.getsockopt(IPPROTO_IP, 24))
        """)
    equal(want, "('127.0.0.1', 0) 1\n('127.0.0.2', 0) 1\n", "without berth")


# A socketserver and its client, in one program.
SOCKETSERVER = """
    import socketserver, threading
    class Upper(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(self.rfile.readline().upper())
    class Reusing(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
    for kind in socketserver.TCPServer, socketserver.ThreadingTCPServer, Reusing:
        with kind(('127.0.0.1', 0), Upper) as server:
            host, port = server.server_address
            threading.Thread(target=server.serve_forever, daemon=True).start()
            with create_connection((host, port), source_address=('127.0.0.2', 0)) as s:
                s.sendall(b'hello\\n')
                print(kind.__name__, host, port > 0, s.makefile().readline().strip(),
                      s.getsockname()[0], s.getpeername() == (host, port))
            server.shutdown()
    """


def test_socketserver():
    """late_bind: python's socketserver on port 0 says its port and answers there"""
    fresh_namespace()
    same_as_bare(SOCKETSERVER)


HTTP = """
    import http.client, http.server, threading
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header('Content-Length', '2')
            self.end_headers()
            self.wfile.write(b'ok')
        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for source in None, ('127.0.0.8', 0):
        c = http.client.HTTPConnection(*server.server_address, source_address=source)
        c.request('GET', '/')
        r = c.getresponse()
        print(server.server_port > 0, server.server_name, r.status, r.read())
    """


def test_http_server():
    """late_bind: python's http.server on port 0, and http.client with a source address"""
    fresh_namespace()
    same_as_bare(HTTP)


class Ftp(Server):
    """A little FTP server that connects to the client for each list (RFC 959, RFC 2428)."""

    def handle(self, connection):
        threading.Thread(target=self.talk, args=[connection], daemon=True).start()

    def talk(self, connection):
        with connection, connection.makefile("rw", newline="\r\n") as lines:
            def say(line):
                lines.write(line + "\n")
                lines.flush()
            say("220 here")
            for line in lines:
                word, _, rest = line.strip().partition(" ")
                if word == "PORT":
                    *host, high, low = rest.split(",")
                    to = ".".join(host), 256 * int(high) + int(low)
                elif word == "EPRT":
                    _, _, host, port, _ = rest.split("|")
                    to = host, int(port)
                elif word == "NLST":
                    say("150 to you")
                    with socket.create_connection(to) as data:
                        data.sendall(b"one\r\ntwo\r\n")
                        data.shutdown(socket.SHUT_WR)
                        while data.recv(100):
                            pass
                say({"NLST": "226 done", "USER": "331 who", "PASS": "230 you",
                     "QUIT": "221 bye"}.get(word, "200 good"))


FTP = """
    import ftplib
    with ftplib.FTP() as ftp:
        ftp.connect(sys.argv[1], int(sys.argv[2]), source_address=(sys.argv[1], 0))
        ftp.login()
        ftp.set_pasv(False)
        for i in range(3):
            print(ftp.nlst())
    """


def test_ftp_active():
    """late_bind: ftplib in active mode, IPv4 and IPv6: the server reaches the port it is told"""
    fresh_namespace()
    for family in socket.AF_INET, socket.AF_INET6:
        with Ftp(family) as server:
            want, _ = same_as_bare(FTP, server.address, server.port)
            equal(want, 3 * "['one', 'two']\n", "lists")


def test_full_range():
    """late_bind: where no port is left, bind() and listen() fail with the same error as ever"""
    fresh_namespace()
    port_range(40000, 40001)
    code = """
        kept = []
        for i in range(3):
            s = socket()
            kept.append(s)
            try:
                s.bind(('127.0.0.1', 0))
                s.listen()
                print('ok')
            except OSError as e:
                print(errno.errorcode[e.errno])
        """
    same_as_bare(code)


def test_not_on_the_list():
    """a program that is not on the list: its option and its events are as without late_bind"""
    fresh_namespace()
    code = """
        s = socket()
        s.bind(('127.0.0.1', 0))
        print(s.getsockopt(IPPROTO_IP, 24))
        s.connect(('127.0.0.1', int(sys.argv[1])))
        """
    with Server() as server:
        for policy, option in (OTHERS, "0\n"), (LATE, "1\n"):
            o = under(policy, program(code, server.port))
            equal(o.process.stdout, option, f"IP_BIND_ADDRESS_NO_PORT under {policy}")
            bind, = o.calls("bind")
            equal(bind["network.local.port"] > 0, policy is OTHERS, f"port after bind, {policy}")
            connect, = o.calls("connect")
            equal((server.saw(1)[-1][0], connect["berth.chosen_by"]), ("127.0.0.1", "kernel"),
                  f"connect, {policy}")


# --- bind() to port 0 under a rule ---------------------------------------------------------------

# Binds port 0 of an address so often, each with a socket of its own.
BINDS = """
    family, kind = AddressFamily(int(sys.argv[1])), SocketKind(int(sys.argv[2]))
    kept = []
    for i in range(int(sys.argv[4])):
        s = socket(family, kind)
        kept.append(s)
        try:
            s.bind((sys.argv[3], 0))
            print(s.getsockname()[1])
        except OSError as e:
            print(errno.errorcode[e.errno])
    """
KINDS = [(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
         (socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1"),
         (socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0"),
         (socket.AF_INET6, socket.SOCK_STREAM, "::1"),
         (socket.AF_INET6, socket.SOCK_DGRAM, "::1"),
         (socket.AF_INET6, socket.SOCK_STREAM, "::ffff:127.0.0.1"),
         (socket.AF_INET6, socket.SOCK_DGRAM, "::")]


def binds(rules, family, kind, address, count=4):
    command = program(BINDS, int(family), int(kind), address, count)
    o = under({"version": 1, "rules": rules}, command)
    lines = [int(line) if line.isdigit() else line for line in o.process.stdout.split()]
    events = o.calls("bind")
    equal([e.get("error.type", e["network.local.port"]) for e in events], lines, "events")
    return lines, events, {r["name"]: r for s in o.stats for r in s["rules"]}


def counted(rule, *names):
    return [rule[name] for name in names]


def test_bind_from_the_set():
    """bind to port 0 takes its port from the rule's set; used up it is EADDRINUSE"""
    inside, around = [40000, 40001, 40002], [1000, 20001, 60999]
    for via, ports in (("auto", inside), ("auto", around), ("bind", inside), ("bind", around),
                       ("range", inside)):
        for kind in KINDS:
            fresh_namespace()
            rule = {"name": "own", "local_ports": ports, "via": via}
            lines, events, rules = binds([rule], *kind)
            equal((sorted(lines[:3], key=str), lines[3]), (sorted(ports, key=str), "EADDRINUSE"),
                  f"{kind} {rule}")
            equal({e["berth.chosen_by"] for e in events}, {"policy"}, "chosen_by")
            equal({e["berth.rule"] for e in events}, {"own"}, "rule")
            equal(counted(rules["own"], "matched", "claimed", "exhausted", "kernel", "outside"),
                  [4, 3, 1, 0, 0], "counters")


def test_bind_exhausted_kernel():
    """bind to port 0 with exhausted: kernel gets the kernel's port at the end, counted"""
    for kind in KINDS:
        fresh_namespace()
        rule = {"name": "own", "local_ports": [20000, 40001], "exhausted": "kernel"}
        lines, events, rules = binds([rule], *kind)
        equal(sorted(lines[:2]), [20000, 40001], f"{kind}")
        assert all(32768 <= port <= 60999 for port in lines[2:]), lines
        equal([e["berth.chosen_by"] for e in events], ["policy"] * 2 + ["kernel"] * 2, "chosen_by")
        equal({e.get("berth.unsteered") for e in events[2:]}, {"exhausted"}, "why")
        equal(counted(rules["own"], "matched", "claimed", "exhausted", "kernel", "outside"),
              [4, 2, 2, 2, 2], "counters")


def test_bind_skips_to():
    """bind to port 0: a rule with `to` is skipped, the next one without applies"""
    for kind in KINDS:
        fresh_namespace()
        first = {"name": "first", "match": {"to": ["*"]}, "local_ports": [20000]}
        lines, events, rules = binds([first], *kind)
        assert 20000 not in lines and all(line > 32767 for line in lines), lines
        equal({e["berth.chosen_by"] for e in events}, {"kernel"}, "chosen_by")
        equal(counted(rules.get("first", {"matched": 0}), "matched"), [0], "matched")
        lines, events, rules = binds([first, {"name": "own", "local_ports": "20001-20004"}], *kind)
        equal(sorted(lines), [20001, 20002, 20003, 20004], f"{kind}")
        equal(rules["own"]["claimed"], 4, "claimed")


def test_bind_transport():
    """bind to port 0: a rule for UDP leaves TCP alone, and the other way round"""
    for mine, other in (socket.SOCK_STREAM, "udp"), (socket.SOCK_DGRAM, "tcp"):
        fresh_namespace()
        rule = {"name": "own", "match": {"transport": other}, "local_ports": [20000]}
        lines, events, _ = binds([rule], socket.AF_INET, mine, "127.0.0.1")
        assert 20000 not in lines and "EADDRINUSE" not in lines, lines
        equal({e["berth.chosen_by"] for e in events}, {"kernel"}, "chosen_by")


def test_bind_to_a_port():
    """bind to a port that the program names is never changed"""
    fresh_namespace()
    code = """
        kept = []
        for kind in SOCK_STREAM, SOCK_DGRAM:
            for port in 20000, 30000, 60999:
                kept.append(socket(AF_INET, kind))
                kept[-1].bind(('127.0.0.1', port))
                print(kept[-1].getsockname()[1])
        """
    rule = {"name": "own", "local_ports": [40000]}
    o = under({"version": 1, "rules": [rule]}, program(code))
    equal(o.process.stdout.split(), 2 * ["20000", "30000", "60999"], "ports")
    equal({e["berth.chosen_by"] for e in o.calls("bind")}, {"program"}, "chosen_by")


def test_bound_then_connected():
    """bind to port 0 under a rule, then connect: one port of the set, kept"""
    fresh_namespace()
    code = """
        for i in range(3):
            s = socket()
            s.bind(('127.0.0.1', 0))
            before = s.getsockname()
            s.connect(('127.0.0.1', int(sys.argv[1])))
            globals().setdefault('kept', []).append(s)
            print(before == s.getsockname(), before[1])
        """
    with Server() as server:
        rule = {"name": "own", "local_ports": [20000, 40000, 40001]}
        o = under({"version": 1, "rules": [rule]}, program(code, server.port))
        lines = sorted(o.process.stdout.splitlines())
        equal(lines, ["True 20000", "True 40000", "True 40001"], "what the program saw")
        equal([port for _, port in server.saw(3)], [20000, 40000, 40001], "what the server saw")


def test_late_bind_asks_under_a_rule():
    """late_bind under a rule without `to`: a port that is asked for early is of the set, too"""
    fresh_namespace()
    code = """
        kept = [socket() for _ in range(3)]
        for s in kept:
            s.bind(('127.0.0.1', 0))
        kept[0].listen()
        print(kept[0].getsockname()[1], kept[1].getsockname()[1])
        kept[2].connect(('127.0.0.1', int(sys.argv[1])))
        print(kept[2].getsockname()[1])
        """
    with Server() as server:
        rule = {"name": "own", "local_ports": "20000-20002"}
        o = under({**LATE, "rules": [rule]}, program(code, server.port))
        equal(sorted(map(int, o.process.stdout.split())), [20000, 20001, 20002], "ports")


if __name__ == "__main__":
    berthtest.main()
