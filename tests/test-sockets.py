# SPDX-License-Identifier: MIT
"""What becomes an event, and what it says: one behaviour a case, by small programs."""
import ast
import contextlib
import datetime
import re
import select
import socket
import subprocess
import tempfile

import berthtest
from berthtest import (Observed, Server, berth, closed_port, equal, log_of, port_range, program,
                       sysctl)

# What the programs below use besides socket's own.
PRELUDE = """
libc = ctypes.CDLL(None, use_errno=True)
def raw_connect(s, name):
    return ctypes.get_errno() if libc.connect(s.fileno(), name, len(name)) else 0
def dissolve(s):
    return raw_connect(s, struct.pack('=H14x', AF_UNSPEC))
def port_of(s):
    return s.getsockname()[1]
def sockaddr(port):
    return struct.pack('=H', AF_INET) + struct.pack('!H4s8x', port, inet_aton('127.0.0.1'))
port = int(sys.argv[1]) if sys.argv[1:] else 0
to, to6 = ('127.0.0.1', port), ('::1', port)
"""


def observe(code, *arguments):
    """The events of this code, and the Python value that it printed."""
    run = program(PRELUDE)
    run[-1] += program(code)[-1]
    o = Observed([*run, *map(str, arguments)])
    equal((o.process.returncode, o.process.stderr), (0, ""), "exit status and stderr")
    return o.events, ast.literal_eval(o.process.stdout or "None")


def calls(events):
    return [e["berth.call"] for e in events]


def outcomes(events):
    return [e.get("error.type", e["berth.result"]) for e in events]


def ports(events):
    return [e["network.local.port"] for e in events]


def column(events, key):
    return [e.get(key) for e in events]


@contextlib.contextmanager
def silent_port():
    """A port of 127.0.0.1 that answers no SYN: its accept queue is full."""
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", next(Server.unused_ports)))
        listener.listen(0)
        first.connect(listener.getsockname())
        select.select([listener], [], [])
        yield listener.getsockname()[1]


@contextlib.contextmanager
def udp_server(address="127.0.0.1"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((address, next(Server.unused_ports)))
        yield server.getsockname()[1]


# --- addresses -------------------------------------------------------------------------------


def connects_to(server, family, address):
    """The event of one connect, its port as the server saw it."""
    (event,), said = observe("""
        s = socket(AddressFamily(int(sys.argv[2])))
        s.connect((sys.argv[3], port))
        print(s.fileno(), ',', os.getpid())""", server.port, int(family), address)
    equal((event["berth.fd"], event["process.pid"]), said, "fd and pid")
    equal(event["network.local.port"], server.saw(1)[0][1], "local port")
    equal((event["berth.call"], event["berth.result"], event["berth.chosen_by"],
           event["network.transport"], event["network.peer.port"]),
          ("connect", "ok", "kernel", "tcp", server.port), "the rest")
    return event["network.type"], event["network.local.address"], event["network.peer.address"]


def test_ipv4():
    """an IPv4 connect"""
    with Server() as server:
        equal(connects_to(server, socket.AF_INET, "127.0.0.1"), ("ipv4", "127.0.0.1", "127.0.0.1"))


def test_ipv6():
    """an IPv6 connect"""
    with Server(family=socket.AF_INET6) as server:
        equal(connects_to(server, socket.AF_INET6, "::1"), ("ipv6", "::1", "::1"))


def test_v4_mapped():
    """a v4-mapped connect counts as ipv4 and is printed as IPv4"""
    with Server() as server:
        equal(connects_to(server, socket.AF_INET6, "::ffff:127.0.0.1"),
              ("ipv4", "127.0.0.1", "127.0.0.1"))


@contextlib.contextmanager
def link_local():
    """A pair of interfaces: fe80::1 on berth0, fe80::2 on berth1."""
    def ip(*words):
        subprocess.run(["ip", *words], check=True)
    sysctl("ipv6.conf.default.addr_gen_mode", "1")
    ip("link", "add", "berth0", "type", "veth", "peer", "name", "berth1")
    try:
        for name, address in ("berth0", "fe80::1"), ("berth1", "fe80::2"):
            ip("addr", "add", address + "/64", "dev", name, "nodad")
            ip("link", "set", name, "up")
        yield
    finally:
        ip("link", "del", "berth0")


def test_scope():
    """a link-local connect and bind: the addresses show %interface, in JSON and in text"""
    with link_local(), Server(family=socket.AF_INET6, address="fe80::2%berth1") as server, \
            tempfile.TemporaryDirectory() as folder:
        recording = folder + "/scope.berth"
        berth("run", "-q", "--record", recording, "--", *program("""
            s = socket(AF_INET6)
            s.bind(('fe80::1', 0, 0, if_nametoindex('berth0')))
            s.connect(('fe80::2', int(sys.argv[1]), 0, if_nametoindex('berth0')))""",
              server.port), check=True)
        events, text = log_of(recording), berth("log", recording).stdout
        port = server.saw(1)[0][1]
    bind, connect = events
    equal((bind["network.local.address"], bind["berth.asked.address"]),
          ("fe80::1%berth0", "fe80::1%berth0"), "bind")
    equal((connect["network.local.address"], connect["network.peer.address"]),
          ("fe80::1%berth0", "fe80::2%berth0"), "connect")
    assert f" bind tcp [fe80::1%berth0]:{port} asked=0 ok kernel " in text, text
    want = f" connect tcp [fe80::1%berth0]:{port} > [fe80::2%berth0]:{server.port} ok kernel "
    assert want in text, text


# --- connect that does not wait --------------------------------------------------------------


def test_in_progress():
    """a non-blocking connect has its port already"""
    with Server() as server:
        events, said = observe("""
            s = socket()
            s.setblocking(False)
            print(s.connect_ex(to), ',', port_of(s))
            select.select([], [s], [])""", server.port)
        equal((outcomes(events), ports(events)), (["in_progress"], [said[1]]), "outcome and port")
        equal(ports(events), [port for _, port in server.saw(1)], "what the server saw")


def test_completed_by_repeat():
    """repeated connect() that completes (0), then EISCONN: no event"""
    with Server() as server:
        events, said = observe("""
            s = socket()
            s.setblocking(False)
            first = s.connect_ex(to)
            select.select([], [s], [])
            print([errno.errorcode.get(e, e) for e in (first, s.connect_ex(to), s.connect_ex(to))])
            """, server.port)
    equal(said, ["EINPROGRESS", 0, "EISCONN"], "what connect() said")
    equal(outcomes(events), ["in_progress"], "events")


def test_already():
    """repeated connect() while it goes on (EALREADY): no event"""
    with silent_port() as port:
        events, said = observe("""
            s = socket()
            s.setblocking(False)
            print([errno.errorcode[s.connect_ex(to)] for _ in range(3)])""", port)
    equal(said, ["EINPROGRESS", "EALREADY", "EALREADY"], "what connect() said")
    equal(outcomes(events), ["in_progress"], "events")


def test_refusal_as_news():
    """repeated connect() that brings ECONNREFUSED: no event; the next attempt is one"""
    with closed_port() as port:
        events, said = observe("""
            s = socket()
            s.setblocking(False)
            said = []
            for _ in range(2):
                said.append(s.connect_ex(to))
                select.select([], [s], [])
                said.append(s.connect_ex(to))
            print([errno.errorcode[e] for e in said])""", port)
    equal(said, 2 * ["EINPROGRESS", "ECONNREFUSED"], "what connect() said")
    equal(outcomes(events), 2 * ["in_progress"], "events")


def test_refusal_told_by_so_error():
    """repeated connect() after SO_ERROR has told the refusal (ECONNABORTED): no event"""
    with closed_port() as port:
        events, said = observe("""
            s = socket()
            s.setblocking(False)
            first = s.connect_ex(to)
            select.select([], [s], [])
            error = s.getsockopt(SOL_SOCKET, SO_ERROR)
            print([errno.errorcode[e] for e in (first, error, s.connect_ex(to))])""", port)
    equal(said, ["EINPROGRESS", "ECONNREFUSED", "ECONNABORTED"], "what the calls said")
    equal(outcomes(events), ["in_progress"], "events")


def test_interrupted():
    """a connect that a signal interrupts is one event with its port; repeating it is none"""
    with silent_port() as port:
        events, said = observe("""
            signal.signal(signal.SIGALRM, lambda *_: None)
            s = socket()
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            first = raw_connect(s, sockaddr(port))
            signal.setitimer(signal.ITIMER_REAL, 0)
            s.setblocking(False)
            second = s.connect_ex(to)
            print([errno.errorcode[e] for e in (first, second)], ',', port_of(s))""", port)
    equal(said[0], ["EINTR", "EALREADY"], "what connect() said")
    equal((outcomes(events), ports(events)), (["EINTR"], [said[1]]), "events")


# --- connect that fails ----------------------------------------------------------------------


def test_refused():
    """a refused blocking connect reports its port"""
    with closed_port() as port:
        port_range(7300, 7300)
        events, _ = observe("socket().connect_ex(to)", port)
    equal((outcomes(events), ports(events)), (["ECONNREFUSED"], [7300]), "outcome and port")


def test_refused_each_time():
    """each refused attempt on one descriptor is an event"""
    with closed_port() as port:
        events, _ = observe("s = socket(); [s.connect_ex(to) for _ in range(3)]", port)
    equal(outcomes(events), 3 * ["ECONNREFUSED"], "events")


def test_unavailable_after_refused():
    """a refused connect, then EADDRNOTAVAIL on the same descriptor: that one reports port 0"""
    with closed_port() as closed, Server() as server:
        port_range(7310, 7310)
        events, said = observe("""
            s, other = socket(), socket()
            said = [s.connect_ex(('127.0.0.1', int(sys.argv[2])))]
            other.connect(to)
            said.append(s.connect_ex(to))
            print([errno.errorcode[e] for e in said])""", server.port, closed)
    equal(said, ["ECONNREFUSED", "EADDRNOTAVAIL"], "what connect() said")
    equal(outcomes(events), ["ECONNREFUSED", "ok", "EADDRNOTAVAIL"], "outcomes")
    equal(ports(events), [7310, 7310, 0], "ports")
    equal(column(events, "berth.chosen_by"), 3 * ["kernel"], "chosen_by")


def test_unreachable():
    """a connect without a route fails with ENETUNREACH and port 0"""
    events, _ = observe("socket().connect_ex(('192.0.2.1', 9))")
    equal((outcomes(events), ports(events)), (["ENETUNREACH"], [0]), "outcome and port")
    equal(column(events, "network.peer.address"), ["192.0.2.1"], "destination")


def test_no_socket():
    """connect, bind, listen and sendto on what is no socket: no event"""
    events, said = observe("""
        def say(result):
            return errno.errorcode[ctypes.get_errno()] if result == -1 else 0
        print([say(call) for fd in (os.open('/', 0), 999) for call in (
            libc.connect(fd, sockaddr(port), 16), libc.bind(fd, sockaddr(0), 16),
            libc.listen(fd, 1), libc.sendto(fd, b'?', 1, 0, sockaddr(port), 16))])""", 9)
    equal(set(said), {"ENOTSOCK", "EBADF"}, "what the calls said")
    equal(events, [], "events")


# --- bind, and who chose ---------------------------------------------------------------------


def test_program_chose():
    """a port that the program bound: chosen_by program, at bind and at connect"""
    with Server() as server:
        events, _ = observe("""
            s = socket()
            s.bind(('127.0.0.1', 7320))
            s.connect(to)""", server.port)
        equal(server.saw(1), [("127.0.0.1", 7320)], "what the server saw")
    equal(calls(events), ["bind", "connect"], "calls")
    equal(column(events, "berth.chosen_by"), 2 * ["program"], "chosen_by")
    equal(ports(events), 2 * [7320], "ports")
    equal((events[0]["berth.asked.address"], events[0]["berth.asked.port"]), ("127.0.0.1", 7320))


def test_kernel_chose_at_bind():
    """bind(ADDR, 0): chosen_by kernel, at bind and at connect; asked.* is what was asked"""
    with Server() as server:
        events, said = observe("""
            s = socket()
            s.bind(('0.0.0.0', 0))
            s.connect(to)
            print(port_of(s))""", server.port)
    equal(calls(events), ["bind", "connect"], "calls")
    equal(column(events, "berth.chosen_by"), 2 * ["kernel"], "chosen_by")
    equal(ports(events), 2 * [said], "ports")
    equal(column(events, "network.local.address"), ["0.0.0.0", "127.0.0.1"], "addresses")
    equal((events[0]["berth.asked.address"], events[0]["berth.asked.port"]), ("0.0.0.0", 0))


def test_bind_in_use():
    """a bind to a port in use fails with EADDRINUSE, port 0, and says what was asked"""
    with closed_port() as port:
        (event,), _ = observe("""
            try:
                socket().bind(to)
            except OSError:
                pass""", port)
    equal((outcomes([event]), event["network.local.port"]), (["EADDRINUSE"], 0))
    equal((event["berth.asked.address"], event["berth.asked.port"]), ("127.0.0.1", port))


def test_listen_on_bound():
    """listen on a bound socket: no event beside bind's"""
    events, _ = observe("s = socket(); s.bind(to); s.listen(); s.listen(7)")
    equal(calls(events), ["bind"], "calls")


def test_bound_before_fork():
    """a descriptor bound by the parent and connected by its child: each event its own pid"""
    with Server() as server:
        events, said = observe("""
            s = socket()
            s.bind(('127.0.0.1', 7330))
            child = os.fork()
            if not child:
                s.connect(to)
                os._exit(0)
            os.waitpid(child, 0)
            print(os.getpid(), ',', child)""", server.port)
    equal(column(events, "process.pid"), list(said), "pids")
    equal(calls(events), ["bind", "connect"], "calls")
    equal(column(events, "berth.chosen_by"), 2 * ["program"], "chosen_by")
    equal(ports(events), 2 * [7330], "ports")


def test_bound_through_another_number():
    """a socket bound by one descriptor and connected by its dup, dup2, F_DUPFD: program chose"""
    with Server() as server:
        events, _ = observe("""
            import fcntl
            for port, copy in enumerate((os.dup, lambda fd: os.dup2(fd, 100),
                                         lambda fd: fcntl.fcntl(fd, fcntl.F_DUPFD, 200)), 7360):
                s = socket()
                s.bind(('127.0.0.1', port))
                socket(fileno=copy(s.fileno())).connect(to)""", server.port)
    equal(ports(events), [7360, 7360, 7361, 7361, 7362, 7362], "ports")
    equal(column(events, "berth.chosen_by"), 6 * ["program"], "chosen_by")


def test_thread():
    """a connect by a thread: its tid, its process's pid"""
    with Server() as server:
        (event,), said = observe("""
            import threading
            thread = threading.Thread(target=lambda: socket().connect(to))
            thread.start()
            thread.join()
            print(os.getpid(), ',', thread.native_id)""", server.port)
    equal((event["process.pid"], event["berth.tid"]), said, "pid and tid")


# --- no event --------------------------------------------------------------------------------


def test_unspec_udp():
    """connect(AF_UNSPEC) on UDP: no event; the port it gives back is chosen anew"""
    with udp_server() as port:
        events, said = observe("""
            s = socket(AF_INET, SOCK_DGRAM)
            said = []
            for again in (lambda: s.connect(to), lambda: s.sendto(b'?', to)):
                again()
                said.append(port_of(s))
                assert dissolve(s) == 0 and port_of(s) == 0
            print(said)""", port)
    equal(calls(events), ["connect", "sendto"], "calls")
    equal(ports(events), said, "ports")


def test_unspec_tcp():
    """connect(AF_UNSPEC) on TCP: no event; the next connect is one"""
    with Server() as server:
        events, said = observe("""
            s = socket()
            said = []
            for _ in range(2):
                s.connect(to)
                said.append(port_of(s))
                assert dissolve(s) == 0
            print(said)""", server.port)
    equal((outcomes(events), ports(events)), (["ok", "ok"], said), "outcomes and ports")


def test_listen_after_unspec():
    """... and so is listen(), of which the kernel chooses the port anew"""
    with Server() as server:
        events, said = observe("""
            said = []
            for timeout in None, 0:
                s = socket()
                s.settimeout(timeout)
                s.connect_ex(to)
                select.select([], [s], [])
                said.append(port_of(s))
                assert dissolve(s) == 0
                s.listen()
                said.append(port_of(s))
            print(said)""", server.port)
    equal([e["berth.call"] for e in events], ["connect", "listen"] * 2)
    equal(ports(events), said, "ports")


def test_unix():
    """AF_UNIX: no event"""
    events, _ = observe("""
        name = chr(0) + 'berth-%d' % os.getpid()
        for kind in SOCK_STREAM, SOCK_DGRAM:
            server, client = socket(AF_UNIX, kind), socket(AF_UNIX, kind)
            server.bind(name)
            if kind == SOCK_STREAM:
                server.listen()
            else:
                socket(AF_UNIX, kind).sendto(b'?', name)
            client.connect(name)
            client.close(), server.close()
        socket(AF_UNIX).connect_ex('/nonexistent/socket')""")
    equal(events, [], "events")


def test_second_sendto():
    """a second sendto, sendmsg or send: no event beside the first's"""
    with udp_server() as port:
        events, said = observe("""
            s = socket(AF_INET, SOCK_DGRAM)
            s.sendto(b'?', to)
            print(port_of(s))
            s.sendto(b'?', to)
            s.sendmsg([b'?'], [], 0, to)
            s.connect(to)
            s.send(b'?')""", port)
    equal((calls(events), ports(events)), (["sendto", "connect"], 2 * [said]), "calls and ports")


def test_sendto_on_bound():
    """sendto on a bound socket: no event beside bind's"""
    with udp_server() as port:
        events, _ = observe("""
            s = socket(AF_INET, SOCK_DGRAM)
            s.bind(('127.0.0.1', 0))
            s.sendto(b'?', to)
            s.sendmsg([b'?'], [], 0, to)""", port)
    equal(calls(events), ["bind"], "calls")


# --- datagrams -------------------------------------------------------------------------------


def test_udp_connect():
    """a UDP connect is an event with its port; what it sends is none"""
    with udp_server() as port, udp_server("::1") as port6:
        events, said = observe("""
            four, six = socket(AF_INET, SOCK_DGRAM), socket(AF_INET6, SOCK_DGRAM)
            four.connect(to)
            six.connect(('::1', int(sys.argv[2])))
            print([port_of(four), port_of(six)])
            four.send(b'?'), six.send(b'?')""", port, port6)
    equal((outcomes(events), ports(events)), (["ok", "ok"], said), "outcomes and ports")
    equal(column(events, "network.transport"), ["udp", "udp"], "transport")
    equal(column(events, "network.type"), ["ipv4", "ipv6"], "type")


def test_udp_exhausted():
    """sendto where the range is used up: a failed event, EAGAIN, port 0"""
    with udp_server() as port:
        port_range(7340, 7340)
        events, _ = observe("""
            kept = [socket(AF_INET, SOCK_DGRAM) for _ in range(2)]
            for s in kept:
                try:
                    s.sendto(b'?', to)
                except BlockingIOError:
                    pass""", port)
    equal((outcomes(events), ports(events)), (["ok", "EAGAIN"], [7340, 0]), "outcomes and ports")


def fast_open(send):
    """One connection by MSG_FASTOPEN over each family: the events, ports as the server saw."""
    sysctl("ipv4.tcp_fastopen", "3")
    with Server() as four, Server(family=socket.AF_INET6) as six:
        events, _ = observe(f"""
            for to in to, ('::1', int(sys.argv[2])):
                s = socket(AF_INET6 if ':' in to[0] else AF_INET)
                {send}
                s.sendto(b'?', to)""", four.port, six.port)
        equal([(e["network.local.address"], e["network.local.port"]) for e in events],
              four.saw(1) + six.saw(1), "ports")
    equal(column(events, "network.transport"), ["tcp", "tcp"], "transport")
    equal(outcomes(events), ["ok", "ok"], "outcomes")
    return calls(events)


def test_fast_open_sendto():
    """MSG_FASTOPEN by sendto is an event, further sends are none"""
    equal(fast_open("s.sendto(b'?', MSG_FASTOPEN, to)"), ["sendto", "sendto"], "calls")


def test_fast_open_sendmsg():
    """MSG_FASTOPEN by sendmsg is an event, further sends are none"""
    equal(fast_open("s.sendmsg([b'?'], [], MSG_FASTOPEN, to)"), ["sendmsg", "sendmsg"], "calls")


# --- descriptors used again ------------------------------------------------------------------


def transports(code):
    """The transports of the events of code that ends by connecting what is at `number`."""
    with Server() as server, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind((server.address, server.port))
        events, _ = observe("""
            def connect(number):
                assert libc.connect(number, sockaddr(port), 16) == 0
            """ + code, server.port)
    return column(events, "network.transport")


BOTH_WAYS = """
            kept = []
            for first, then in (SOCK_DGRAM, SOCK_STREAM), (SOCK_STREAM, SOCK_DGRAM):
                a = socket(AF_INET, first)
                number = a.fileno()
"""


def test_closed_and_made_anew():
    """close, and a socket of another protocol at the same number: the new transport"""
    equal(transports(BOTH_WAYS + """
                a.connect(to)
                a.close()
                b = socket(AF_INET, then)
                assert b.fileno() == number
                connect(number)
                b.close()"""), ["udp", "tcp", "tcp", "udp"])


def test_dup2_over():
    """dup2 over a socket of another protocol: the new transport"""
    equal(transports(BOTH_WAYS + """
                b = socket(AF_INET, then)
                os.dup2(b.fileno(), number)
                connect(number)"""), ["tcp", "udp"])


def test_received_after_close_range():
    """close_range, and a socket of another protocol received at that number: its transport"""
    equal(transports(BOTH_WAYS + """
                b = socket(AF_INET, then)
                left, right = socketpair()
                send_fds(left, [b'?'], [b.fileno()])
                a.detach()
                os.closerange(number, number + 1)
                received = recv_fds(right, 1, 1)[1]
                assert received == [number]
                kept += a, b, left, right
                connect(number)"""), ["tcp", "udp"])


# --- the formats -----------------------------------------------------------------------------

COMMON = {"timestamp", "process.pid", "berth.tid", "process.executable.name", "berth.call",
          "berth.result", "berth.fd", "network.transport", "network.type",
          "network.local.address", "network.local.port", "berth.chosen_by", "berth.duration_ns"}
PEER = {"network.peer.address", "network.peer.port"}
ASKED = {"berth.asked.address", "berth.asked.port"}

# One event of each kind, of both families.
EVERY_KIND = """
to, to6 = ('127.0.0.1', int(sys.argv[1])), ('::1', 9)
for family, to in (AF_INET, to), (AF_INET6, to6):
    bound, listening, sending = socket(family), socket(family), socket(family, SOCK_DGRAM)
    bound.bind(('127.0.0.1' if family == AF_INET else '::1', 0))
    listening.listen()
    sending.sendto(b'?', to)
    socket(family).connect_ex(to)
    bound.setblocking(False)
    bound.connect_ex(to)
kept = socket()
kept.bind(('127.0.0.2', 0))
socket().connect_ex(('127.0.0.3', 9))
"""


@contextlib.contextmanager
def every_kind():
    """A recording with one event of each kind."""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        recording = folder + "/kinds.berth"
        run = berth("run", "-q", "--record", recording, "--", *program(EVERY_KIND, server.port))
        equal((run.returncode, run.stderr), (0, ""), "exit status and stderr")
        yield recording


def test_json_keys():
    """JSON has the keys of its call and result, no other"""
    with every_kind() as recording:
        events = log_of(recording)
    equal(calls(events), 2 * ["bind", "listen", "sendto", "connect", "connect"]
          + ["bind", "connect"], "calls")
    for event in events:
        more = {"bind": ASKED, "listen": set()}.get(event["berth.call"], PEER)
        error = {"error.type"} if event["berth.result"] == "failed" else set()
        equal(set(event), COMMON | more | error, event["berth.call"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", event["timestamp"]), event
        equal({key: type(value) for key, value in event.items() if type(value) is not str},
              {key: int for key in event if key.endswith((".port", ".pid", ".tid", ".fd", "_ns"))})
    equal({e["process.executable.name"] for e in events}, {"python3"}, "name")


ENDPOINT = r"(?:\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]+(?:%\w+)?\]):\d+"
LINE = re.compile(rf"\d\d:\d\d:\d\d\.\d{{6}} \d+ \S+ "
                  rf"(?:(?:connect|sendto|sendmsg|sendmmsg) \w+ {ENDPOINT} > {ENDPOINT}"
                  rf"|bind \w+ {ENDPOINT} asked=(?:\d+|{ENDPOINT})|listen \w+ {ENDPOINT}) "
                  r"(?:ok|in_progress|E[A-Z0-9]+) (?:kernel|program) \d+us")


def endpoint(event, which):
    address, port = event[which + ".address"], event[which + ".port"]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def as_text(event):
    """The line of an event, made from its JSON; the time is half past five hours later."""
    time = datetime.datetime.fromisoformat(event["timestamp"][:26])
    local = endpoint(event, "network.local")
    ends = {"bind": f"{local} asked={event.get('berth.asked.port')}", "listen": local}
    return " ".join([
        (time + datetime.timedelta(hours=5, minutes=30)).strftime("%H:%M:%S.%f"),
        str(event["process.pid"]), event["process.executable.name"], event["berth.call"],
        event["network.transport"],
        ends.get(event["berth.call"]) or f"{local} > {endpoint(event, 'network.peer')}",
        event.get("error.type", event["berth.result"]), event["berth.chosen_by"],
        f"{event['berth.duration_ns'] // 1000}us"])


def test_text_lines():
    """text says what JSON says, in local time, one line an event"""
    with every_kind() as recording:
        text = berth("log", recording, env={"TZ": "XXX-5:30"}).stdout
        events = log_of(recording)
    for line in text.splitlines():
        assert LINE.fullmatch(line), line
    equal(text.splitlines(), [as_text(event) for event in events], "lines")


def test_asked_address():
    """asked= is a port, and the whole address where bind gave another one or failed"""
    with closed_port() as port, tempfile.TemporaryDirectory() as folder:
        recording = folder + "/asked.berth"
        berth("run", "-q", "--record", recording, "--", *program("""
            a, b = socket(), socket()
            a.bind(('127.0.0.1', 7350))
            try:
                b.bind(('127.0.0.1', int(sys.argv[1])))
            except OSError:
                pass""", port), check=True)
        bound, failed = berth("log", recording).stdout.splitlines()
    assert " bind tcp 127.0.0.1:7350 asked=7350 ok program " in bound, bound
    assert f" bind tcp 0.0.0.0:0 asked=127.0.0.1:{port} EADDRINUSE program " in failed, failed


if __name__ == "__main__":
    berthtest.main()
