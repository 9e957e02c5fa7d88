# SPDX-License-Identifier: MIT
"""What becomes of a call that a rule steers: by `via`, by the ports of the set, by the kind of
call, and by who holds the port. The tables say it, and each cell of them is made here.

A cell is a letter for what the call got and how many candidates were offered for it:

  R  a port of the set, through IP_LOCAL_PORT_RANGE
  B  a port of the set, through bind()
  r  b  likewise, and the connection is in progress
  E  no port: EADDRNOTAVAIL          A  no port: EAGAIN
  =  after the number: it is the port that somebody else holds too

The last resort of bind() is a port whose 4-tuple is in TIME_WAIT: it counts twice.
"""
import contextlib
import errno
import json
import os
import socket
import struct
import subprocess
import tempfile
import time

import berthtest
from berthtest import (BERTH, LOCAL_PORT_RANGE, MPTCP, Skip, equal, has_mptcp, log_of, need, program,
                       stats_of, sysctl, takes_range, wait_for)

VIAS = "range", "bind", "auto"

# --- what a program does ------------------------------------------------------------------------

# call(KIND, PORT) makes one call towards a loopback address; returns the socket and an errno.
CALLS = """
import json
NO_PORT, FASTOPEN_CONNECT, MPTCP = 24, 30, 262
libc = ctypes.CDLL(None, use_errno=True)
kept = []

def made(family, kind, protocol=0):
    kept.append(socket(family, kind, protocol))
    return kept[-1]

def tcp(to, family=AF_INET, protocol=0, options=(), bind=None, blocks=True):
    s = made(family, SOCK_STREAM, protocol)
    s.setblocking(blocks)
    for option in options:
        s.setsockopt(*option)
    if bind:
        s.bind(bind)
    return s, s.connect_ex(to)

def fast(send):
    s = made(AF_INET, SOCK_STREAM)
    try:
        send(s)
    except OSError as e:
        return s, e.errno
    return s, 0

def udp(to, family=AF_INET, send=None):
    s = made(family, SOCK_DGRAM)
    try:
        send(s) if send else s.connect(to)
    except OSError as e:
        return s, e.errno
    return s, 0

class Vector(ctypes.Structure):
    _fields_ = [('base', ctypes.c_char_p), ('size', ctypes.c_size_t)]

class Messages(ctypes.Structure):
    _fields_ = [('name', ctypes.c_char_p), ('size', ctypes.c_uint),
                ('vector', ctypes.POINTER(Vector)), ('count', ctypes.c_size_t),
                ('control', ctypes.c_void_p), ('control_size', ctypes.c_size_t),
                ('flags', ctypes.c_int), ('sent', ctypes.c_uint)]

def sendmmsg(s, to):
    name = struct.pack('=H', AF_INET) + struct.pack('!H4s8x', to[1], inet_aton(to[0]))
    vector, two = Vector(b'x', 1), (Messages * 2)()
    for m in two:
        m.name, m.size, m.vector, m.count = name, len(name), ctypes.pointer(vector), 1
    ctypes.set_errno(0)
    if libc.sendmmsg(s.fileno(), two, 2, 0) != 2:
        raise OSError(ctypes.get_errno(), 'sendmmsg')

def call(kind, port):
    to, to6, mapped = ('127.0.0.1', port), ('::1', port), ('::ffff:127.0.0.1', port)
    if kind == 'tcp':
        return tcp(to)
    if kind == 'tcp IPv6':
        return tcp(to6, AF_INET6)
    if kind == 'tcp v4-mapped':
        return tcp(mapped, AF_INET6)
    if kind == 'tcp non-blocking':
        return tcp(to, blocks=False)
    if kind == 'tcp, SO_REUSEADDR':
        return tcp(to, options=[(SOL_SOCKET, SO_REUSEADDR, 1)])
    if kind == 'tcp, address bound':
        return tcp(to, options=[(IPPROTO_IP, NO_PORT, 1)], bind=('127.0.0.3', 0))
    if kind == 'mptcp':
        return tcp(to, protocol=MPTCP)
    if kind == 'mptcp IPv6':
        return tcp(to6, AF_INET6, MPTCP)
    if kind == 'TCP_FASTOPEN_CONNECT':
        return tcp(to, options=[(IPPROTO_TCP, FASTOPEN_CONNECT, 1)])
    if kind == 'MSG_FASTOPEN sendto':
        return fast(lambda s: s.sendto(b'x', MSG_FASTOPEN, to))
    if kind == 'MSG_FASTOPEN sendmsg':
        return fast(lambda s: s.sendmsg([b'x'], [], MSG_FASTOPEN, to))
    if kind == 'udp':
        return udp(to)
    if kind == 'udp IPv6':
        return udp(to6, AF_INET6)
    if kind == 'udp v4-mapped':
        return udp(mapped, AF_INET6)
    if kind == 'udp sendto':
        return udp(to, send=lambda s: s.sendto(b'x', to))
    if kind == 'udp sendto IPv6':
        return udp(to6, AF_INET6, lambda s: s.sendto(b'x', to6))
    if kind == 'udp sendmsg':
        return udp(to, send=lambda s: s.sendmsg([b'x'], [], 0, to))
    if kind == 'udp sendmmsg':
        return udp(to, send=lambda s: sendmmsg(s, to))

said = []
for kind, port, count in json.load(open(sys.argv[1])):
    for _ in range(count):
        s, error = call(kind, port)
        said.append([port, error, s.getsockname()[1]])
print(json.dumps(said))
"""


class Cell:
    """A rule of its own for `count` calls of a kind: by its destination port."""

    unused = 2000  # destination ports

    def __init__(self, kind, via, ports, count, held=None):
        Cell.unused += 1
        self.kind, self.via, self.ports, self.count, self.held = kind, via, ports, count, held
        self.port = Cell.unused
        self.transport = "udp" if kind.startswith("udp") else "tcp"

    def rule(self):
        return {"name": f"to {self.port}", "local_ports": self.ports, "via": self.via,
                "order": "sequential",
                "match": {"transport": self.transport, "to": [f"*:{self.port}"]}}

    def tell(self, event):
        """The cell's text of one call."""
        error, port = event.get("error.type"), event["network.local.port"]
        equal((event["berth.rule"], event["berth.chosen_by"]), (f"to {self.port}", "policy"),
              f"rule and chosen_by of {self.kind}")
        if error:
            equal(port, 0, f"port of {error}")
            letter = {"EADDRNOTAVAIL": "E", "EAGAIN": "A"}.get(error, error)
        else:
            assert port in self.ports, (self.kind, port, self.ports)
            letter = {"range": "R", "bind": "B"}[event["berth.via"]]
            if event["berth.result"] == "in_progress":
                letter = letter.lower()
        if self.kind == "tcp, address bound" and port:
            equal(event["network.local.address"], "127.0.0.3", "local address")
        shared = "=" if port and port == self.held else ""
        return letter + str(event.get("berth.tries", 0)) + shared


def as_errno(event):
    names = {name: number for number, name in errno.errorcode.items()}
    if event["berth.result"] == "in_progress":
        return errno.EINPROGRESS
    return names[event["error.type"]] if "error.type" in event else 0


def make(cells):
    """Runs all cells in one program; returns their texts, once what the program itself saw, the
    events and the counters agree."""
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/policy.json", "w") as f:
            json.dump({"version": 1, "rules": [c.rule() for c in cells]}, f)
        with open(f"{folder}/calls.json", "w") as f:
            json.dump([(c.kind, c.port, c.count) for c in cells], f)
        run = program(CALLS)
        run = [*run, f"{folder}/calls.json"]
        recording = f"{folder}/cells.berth"
        done = subprocess.run([BERTH, "run", "-q", "--record", recording, "-P",
                               f"{folder}/policy.json", "--", *run], capture_output=True,
                              text=True)
        equal((done.returncode, done.stderr), (0, ""), "the program")
        events = [e for e in log_of(recording) if e["berth.call"] != "bind"]
        stats, = stats_of(recording)
    said = json.loads(done.stdout)
    equal(len(events), len(said), "events")
    for event, (to, error, port) in zip(events, said):
        told = event["network.peer.port"], as_errno(event)
        equal(told, (to, error), f"destination and errno of {event}")
        if error in (0, errno.EINPROGRESS):
            equal(event["network.local.port"], port, f"local port of {event}")
    check_counters(events, stats)
    texts = []
    for cell in cells:
        own, events = events[:cell.count], events[cell.count:]
        texts.append(" ".join(map(cell.tell, own)))
    return texts


def check_counters(events, stats):
    rules = {rule["name"]: rule for rule in stats["rules"]}
    for name, rule in rules.items():
        own = [e for e in events if e["berth.rule"] == name]
        lost = [e for e in own if "error.type" in e]
        equal({k: v for k, v in rule.items() if k != "name"},
              {"matched": len(own), "claimed": len(own) - len(lost), "exhausted": len(lost),
               "kernel": 0, "outside": 0, "stuck": 0, "forbidden": 0,
               "tries": sum(e.get("berth.tries", 0) for e in own)}, f"counters of the rule {name}")


def lay_out(heads, rows):
    """A table as text: [(name, texts)]."""
    widths = [max(len(name) for name, _ in rows)]
    widths += [max(len(head), *(len(texts[i]) for _, texts in rows))
               for i, head in enumerate(heads)]
    lines = [["", *heads], *([name, *texts] for name, texts in rows)]
    return ["  ".join(f"{word:{width}}" for word, width in zip(line, widths)).rstrip()
            for line in lines]


def same_table(heads, rows, want):
    got = lay_out(heads, rows)
    wanted = [line.rstrip() for line in want.strip("\n").splitlines()]
    wrong = [line for line in got if line not in wanted]
    if got != wanted:
        print("# the whole table as it is:")
        for line in got:
            print("#  ", line)
    equal(wrong, [line for line in wanted if line not in got], "lines that differ")
    equal(got, wanted, "table")


@contextlib.contextmanager
def listeners(cells, family=socket.AF_INET6, address="::"):
    """One for each cell, which accepts nobody: a dict by port."""
    sysctl("core.somaxconn", "4096")
    with contextlib.ExitStack() as stack:
        found = {}
        for cell in cells:
            s = stack.enter_context(socket.socket(family))
            if family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 8)
            s.bind((address, cell.port))
            s.listen(64)
            found[cell.port] = s
        yield found


# --- kinds of calls, and where the ports lie ----------------------------------------------------

# Two ports, three calls. What `range` cannot give is not in its set.
KINDS_BY_RANGE = """
                      inside    outside   reserved  both sides
tcp                   R1 R1 E2  E0 E0 E0  E0 E0 E0  R1 E1 E1
tcp IPv6              R1 R1 E2  E0 E0 E0  E0 E0 E0  R1 E1 E1
tcp v4-mapped         R1 R1 E2  E0 E0 E0  E0 E0 E0  R1 E1 E1
tcp non-blocking      r1 r1 E2  E0 E0 E0  E0 E0 E0  r1 E1 E1
tcp, SO_REUSEADDR     R1 R1 E2  E0 E0 E0  E0 E0 E0  R1 E1 E1
tcp, address bound    R1 R1 E2  E0 E0 E0  E0 E0 E0  R1 E1 E1
mptcp                 R1 R1 E2  E0 E0 E0  E0 E0 E0  R1 E1 E1
mptcp IPv6            R1 R1 E2  E0 E0 E0  E0 E0 E0  R1 E1 E1
TCP_FASTOPEN_CONNECT  R1 R1 E2  E0 E0 E0  E0 E0 E0  R1 E1 E1
MSG_FASTOPEN sendto   R1 R1 E2  E0 E0 E0  E0 E0 E0  R1 E1 E1
MSG_FASTOPEN sendmsg  R1 R1 E2  E0 E0 E0  E0 E0 E0  R1 E1 E1
udp                   R1 R1 A2  A0 A0 A0  A0 A0 A0  R1 A1 A1
udp IPv6              R1 R1 A2  A0 A0 A0  A0 A0 A0  R1 A1 A1
udp v4-mapped         R1 R1 A2  A0 A0 A0  A0 A0 A0  R1 A1 A1
udp sendto            R1 R1 A2  A0 A0 A0  A0 A0 A0  R1 A1 A1
udp sendto IPv6       R1 R1 A2  A0 A0 A0  A0 A0 A0  R1 A1 A1
udp sendmsg           R1 R1 A2  A0 A0 A0  A0 A0 A0  R1 A1 A1
udp sendmmsg          R1 R1 A2  A0 A0 A0  A0 A0 A0  R1 A1 A1
"""
KINDS_BY_BIND = """
                      inside    outside   reserved  both sides
tcp                   B1 B1 E2  B1 B1 E2  B1 B1 E2  B1 B1 E2
tcp IPv6              B1 B1 E2  B1 B1 E2  B1 B1 E2  B1 B1 E2
tcp v4-mapped         B1 B1 E2  B1 B1 E2  B1 B1 E2  B1 B1 E2
tcp non-blocking      b1 b1 E2  b1 b1 E2  b1 b1 E2  b1 b1 E2
tcp, SO_REUSEADDR     B1 B1 E2  B1 B1 E2  B1 B1 E2  B1 B1 E2
tcp, address bound    B1 B1 E2  B1 B1 E2  B1 B1 E2  B1 B1 E2
mptcp                 B1 B1 E2  B1 B1 E2  B1 B1 E2  B1 B1 E2
mptcp IPv6            B1 B1 E2  B1 B1 E2  B1 B1 E2  B1 B1 E2
TCP_FASTOPEN_CONNECT  B1 B1 E2  B1 B1 E2  B1 B1 E2  B1 B1 E2
MSG_FASTOPEN sendto   B1 B1 E2  B1 B1 E2  B1 B1 E2  B1 B1 E2
MSG_FASTOPEN sendmsg  B1 B1 E2  B1 B1 E2  B1 B1 E2  B1 B1 E2
udp                   B1 B1 A2  B1 B1 A2  B1 B1 A2  B1 B1 A2
udp IPv6              B1 B1 A2  B1 B1 A2  B1 B1 A2  B1 B1 A2
udp v4-mapped         B1 B1 A2  B1 B1 A2  B1 B1 A2  B1 B1 A2
udp sendto            B1 B1 A2  B1 B1 A2  B1 B1 A2  B1 B1 A2
udp sendto IPv6       B1 B1 A2  B1 B1 A2  B1 B1 A2  B1 B1 A2
udp sendmsg           B1 B1 A2  B1 B1 A2  B1 B1 A2  B1 B1 A2
udp sendmmsg          B1 B1 A2  B1 B1 A2  B1 B1 A2  B1 B1 A2
"""
KINDS_BY_AUTO = """
                      inside    outside   reserved  both sides
tcp                   R1 R1 E2  B1 B1 E2  B1 B1 E2  B1 R1 E2
tcp IPv6              R1 R1 E2  B1 B1 E2  B1 B1 E2  B1 R1 E2
tcp v4-mapped         R1 R1 E2  B1 B1 E2  B1 B1 E2  B1 R1 E2
tcp non-blocking      r1 r1 E2  b1 b1 E2  b1 b1 E2  b1 r1 E2
tcp, SO_REUSEADDR     R1 R1 E2  B1 B1 E2  B1 B1 E2  B1 R1 E2
tcp, address bound    R1 R1 E2  B1 B1 E2  B1 B1 E2  B1 R1 E2
mptcp                 R1 R1 E2  B1 B1 E2  B1 B1 E2  B1 R1 E2
mptcp IPv6            R1 R1 E2  B1 B1 E2  B1 B1 E2  B1 R1 E2
TCP_FASTOPEN_CONNECT  R1 R1 E2  B1 B1 E2  B1 B1 E2  B1 R1 E2
MSG_FASTOPEN sendto   R1 R1 E2  B1 B1 E2  B1 B1 E2  B1 R1 E2
MSG_FASTOPEN sendmsg  R1 R1 E2  B1 B1 E2  B1 B1 E2  B1 R1 E2
udp                   R1 R1 A2  B1 B1 A2  B1 B1 A2  B1 R1 A2
udp IPv6              R1 R1 A2  B1 B1 A2  B1 B1 A2  B1 R1 A2
udp v4-mapped         R1 R1 A2  B1 B1 A2  B1 B1 A2  B1 R1 A2
udp sendto            R1 R1 A2  B1 B1 A2  B1 B1 A2  B1 R1 A2
udp sendto IPv6       R1 R1 A2  B1 B1 A2  B1 B1 A2  B1 R1 A2
udp sendmsg           R1 R1 A2  B1 B1 A2  B1 B1 A2  B1 R1 A2
udp sendmmsg          R1 R1 A2  B1 B1 A2  B1 B1 A2  B1 R1 A2
"""

# A kernel may refuse IP_LOCAL_PORT_RANGE to MPTCP's sockets, as Debian's 6.1: what the first of them
# was told is kept for the others, and bind() is what is left.
MPTCP_WITHOUT_RANGE = {"range": {"mptcp": "E1 E0 E0  E0 E0 E0  E0 E0 E0  E0 E0 E0",
                                 "mptcp IPv6": "E0 E0 E0  E0 E0 E0  E0 E0 E0  E0 E0 E0"},
                       "auto": dict.fromkeys(("mptcp", "mptcp IPv6"),
                                             "B1 B1 E2  B1 B1 E2  B1 B1 E2  B1 B1 E2")}

KINDS = ("tcp", "tcp IPv6", "tcp v4-mapped", "tcp non-blocking", "tcp, SO_REUSEADDR",
         "tcp, address bound", "mptcp", "mptcp IPv6", "TCP_FASTOPEN_CONNECT",
         "MSG_FASTOPEN sendto", "MSG_FASTOPEN sendmsg", "udp", "udp IPv6", "udp v4-mapped",
         "udp sendto", "udp sendto IPv6", "udp sendmsg", "udp sendmmsg")
PLACES = "inside", "outside", "reserved", "both sides"


def ports_at(place, n):
    """Two ports that no other cell has."""
    if place == "inside":
        return [40000 + 2 * n, 40001 + 2 * n]
    if place == "outside":
        return [20000 + 2 * n, 20001 + 2 * n]
    if place == "reserved":
        return [50000 + 2 * n, 50001 + 2 * n]
    return [30000 + n, 42000 + n]


def need_range():
    if not takes_range():
        raise Skip("this kernel has no IP_LOCAL_PORT_RANGE (Linux 6.3, 91d0b78c5177)")


def wanted_here(table, via):
    """The table, with what MPTCP can on this kernel."""
    lines = table.splitlines()
    if not has_mptcp():
        lines = [line for line in lines if not line.startswith("mptcp")]
    elif via in MPTCP_WITHOUT_RANGE and not takes_range(MPTCP):
        other = MPTCP_WITHOUT_RANGE[via]
        lines = [line[:22] + other.get(line[:22].rstrip(), line[22:]) for line in lines]
    return "\n".join(lines)


def kinds_by(via, want):
    need_range()
    sysctl("ipv4.ip_local_reserved_ports", "50000-50999")
    sysctl("ipv4.tcp_fastopen", "3")
    kinds = [k for k in KINDS if "mptcp" not in k or has_mptcp()]
    cells = [Cell(kind, via, ports_at(place, i), 3)
             for i, kind in enumerate(kinds) for place in PLACES]
    with listeners(cells):
        texts = make(cells)
    sysctl("ipv4.ip_local_reserved_ports", "")
    rows = [(kind, texts[4 * i:4 * i + 4]) for i, kind in enumerate(kinds)]
    same_table(PLACES, rows, wanted_here(want, via))


def test_kinds_by_range():
    """via range: each kind of call, ports inside and outside the machine's range, reserved, both"""
    kinds_by("range", KINDS_BY_RANGE)


def test_kinds_by_bind():
    """via bind: each kind of call, ports inside and outside the machine's range, reserved, both"""
    kinds_by("bind", KINDS_BY_BIND)


def test_kinds_by_auto():
    """via auto: each kind of call, ports inside and outside the machine's range, reserved, both"""
    kinds_by("auto", KINDS_BY_AUTO)


# --- ports that somebody holds ------------------------------------------------------------------

# Somebody holds the port that is offered first. Before the slash there is another port in the set,
# after it there is none. "to it" is the destination of the call, "elsewhere" another one. What is
# automatic has its port from connect() itself. "since" is after the connect: berth does so.
HELD = """
                                                range      bind       auto inside  auto outside
a listener                                      R2 / E1    B2 / E1    R2 / E1      B2 / E1
a listener with SO_REUSEADDR                    R2 / E1    B2 / E1    R2 / E1      B2 / E1
a listener on another address                   R2 / E1    B2 / E1    R2 / E1      B2 / E1
bind                                            R2 / E1    B2 / E1    R2 / E1      B2 / E1
bind on another address                         R2 / E1    B2 / E1    R2 / E1      B2 / E1
SO_REUSEADDR, bind                              R2 / E1    B1= / B1=  R2 / E1      B1= / B1=
bind, connected to it                           R2 / E1    B2 / E1    R2 / E1      B2 / E1
bind, connected elsewhere                       R2 / E1    B2 / E1    R2 / E1      B2 / E1
SO_REUSEADDR, bind, connected to it             R2 / E1    B2 / E1    R2 / E1      B2 / E1
SO_REUSEADDR, bind, connected elsewhere         R2 / E1    B1= / B1=  R2 / E1      B1= / B1=
bind, connected to it, SO_REUSEADDR since       R2 / E1    B2 / E1    R2 / E1      B2 / E1
bind, connected elsewhere, SO_REUSEADDR since   R2 / E1    B1= / B1=  R2 / E1      B1= / B1=
SO_REUSEADDR, another address, connected to it  R2 / E1    B1= / B1=  R2 / E1      B1= / B1=
automatic, connected to it                      R2 / E1    B2 / E1    R2 / E1      .
automatic, connected elsewhere                  R1= / R1=  B2 / E1    R1= / R1=    .
automatic, elsewhere, SO_REUSEADDR since        R1= / R1=  B1= / B1=  R1= / R1=    .
udp bind                                        R2 / A1    B2 / A1    R2 / A1      B2 / A1
udp bind on another address                     R2 / A1    B2 / A1    R2 / A1      B2 / A1
udp SO_REUSEADDR, bind                          R2 / A1    B2 / A1    R2 / A1      B2 / A1
udp SO_REUSEPORT, bind                          R2 / A1    B2 / A1    R2 / A1      B2 / A1
udp automatic, connected elsewhere              R2 / A1    B2 / A1    R2 / A1      .
"""
HELD_IN_TIME_WAIT = """
                                            range      bind       auto inside  auto outside
young: automatic, to it                     R2 / E1    B2 / E2    R2 / E1      .
young: automatic, elsewhere                 R1= / R1=  B2 / E1    R1= / R1=    .
young: bind, to it                          R2 / E1    B2 / E2    R2 / E1      B2 / E2
young: bind, elsewhere                      R2 / E1    B2 / E1    R2 / E1      B2 / E1
young: SO_REUSEADDR, bind, to it            R2 / E1    B2 / B2=   R2 / E1      B2 / B2=
young: SO_REUSEADDR, bind, elsewhere        R2 / E1    B1= / B1=  R2 / E1      B1= / B1=
young: bind, to it, SO_REUSEADDR since      R2 / E1    B2 / B2=   R2 / E1      B2 / B2=
young: bind, elsewhere, SO_REUSEADDR since  R2 / E1    B1= / B1=  R2 / E1      B1= / B1=
old: automatic, to it                       R1= / R1=  B2 / E2    R1= / R1=    .
old: automatic, elsewhere                   R1= / R1=  B2 / E1    R1= / R1=    .
old: bind, to it                            R2 / E1    B2 / E2    R2 / E1      B2 / E2
old: bind, elsewhere                        R2 / E1    B2 / E1    R2 / E1      B2 / E1
old: SO_REUSEADDR, bind, to it              R2 / E1    B2 / B2=   R2 / E1      B2 / B2=
old: SO_REUSEADDR, bind, elsewhere          R2 / E1    B1= / B1=  R2 / E1      B1= / B1=
old: bind, to it, SO_REUSEADDR since        R2 / E1    B2 / B2=   R2 / E1      B2 / B2=
old: bind, elsewhere, SO_REUSEADDR since    R2 / E1    B1= / B1=  R2 / E1      B1= / B1=
off: automatic, to it                       R2 / E1    B2 / E2    R2 / E1      .
off: automatic, elsewhere                   R1= / R1=  B2 / E1    R1= / R1=    .
off: bind, to it                            R2 / E1    B2 / E2    R2 / E1      B2 / E2
off: bind, elsewhere                        R2 / E1    B2 / E1    R2 / E1      B2 / E1
off: SO_REUSEADDR, bind, to it              R2 / E1    B2 / B2=   R2 / E1      B2 / B2=
off: SO_REUSEADDR, bind, elsewhere          R2 / E1    B1= / B1=  R2 / E1      B1= / B1=
off: bind, to it, SO_REUSEADDR since        R2 / E1    B2 / B2=   R2 / E1      B2 / B2=
off: bind, elsewhere, SO_REUSEADDR since    R2 / E1    B1= / B1=  R2 / E1      B1= / B1=
"""

ANOTHER_ADDRESS = "127.0.0.2"


def holder(port, *options, address="127.0.0.1", kind=socket.SOCK_STREAM):
    s = socket.socket(socket.AF_INET, kind)
    for option in options:
        s.setsockopt(*option)
    if address:
        s.bind((address, port))
    return s


REUSE = socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
REUSE_PORT = socket.SOL_SOCKET, socket.SO_REUSEPORT, 1


def automatic(port, kind=socket.SOCK_STREAM):
    only = struct.pack("=I", port << 16 | port)
    return holder(port, (socket.IPPROTO_IP, LOCAL_PORT_RANGE, only), address=None, kind=kind)


def listener(port, *options, **more):
    s = holder(port, *options, **more)
    s.listen()
    return s


def connected(s, peer):
    s.connect(peer)
    return s


def reusing_since(s):
    s.setsockopt(*REUSE)
    return s


def datagram(port, *options, **more):
    return holder(port, *options, kind=socket.SOCK_DGRAM, **more)


# Each: makes a socket that holds the port; `it` is the call's destination.
ELSEWHERE = "127.0.0.1", 1999
TCP_HOLDERS = {
    "a listener": lambda port, it: listener(port),
    "a listener with SO_REUSEADDR": lambda port, it: listener(port, REUSE),
    "a listener on another address": lambda port, it: listener(port, address=ANOTHER_ADDRESS),
    "bind": lambda port, it: holder(port),
    "bind on another address": lambda port, it: holder(port, address=ANOTHER_ADDRESS),
    "SO_REUSEADDR, bind": lambda port, it: holder(port, REUSE),
    "bind, connected to it": lambda port, it: connected(holder(port), it),
    "bind, connected elsewhere": lambda port, it: connected(holder(port), ELSEWHERE),
    "SO_REUSEADDR, bind, connected to it": lambda port, it: connected(holder(port, REUSE), it),
    "SO_REUSEADDR, bind, connected elsewhere":
        lambda port, it: connected(holder(port, REUSE), ELSEWHERE),
    "bind, connected to it, SO_REUSEADDR since":
        lambda port, it: reusing_since(connected(holder(port), it)),
    "bind, connected elsewhere, SO_REUSEADDR since":
        lambda port, it: reusing_since(connected(holder(port), ELSEWHERE)),
    "SO_REUSEADDR, another address, connected to it":
        lambda port, it: connected(holder(port, REUSE, address=ANOTHER_ADDRESS), it),
    "automatic, connected to it": lambda port, it: connected(automatic(port), it),
    "automatic, connected elsewhere": lambda port, it: connected(automatic(port), ELSEWHERE),
    "automatic, elsewhere, SO_REUSEADDR since":
        lambda port, it: reusing_since(connected(automatic(port), ELSEWHERE)),
}
UDP_HOLDERS = {
    "udp bind": lambda port, it: datagram(port),
    "udp bind on another address": lambda port, it: datagram(port, address=ANOTHER_ADDRESS),
    "udp SO_REUSEADDR, bind": lambda port, it: datagram(port, REUSE),
    "udp SO_REUSEPORT, bind": lambda port, it: datagram(port, REUSE_PORT),
    "udp automatic, connected elsewhere":
        lambda port, it: connected(automatic(port, socket.SOCK_DGRAM), ELSEWHERE),
}
COLUMNS = {"range": ("range", 40000), "bind": ("bind", 42000), "auto inside": ("auto", 44000),
           "auto outside": ("auto", 20000)}


def cells_of(names, transport):
    """Two cells for each name and column: with another port in the set, and without."""
    cells = []
    for i, name in enumerate(names):
        for via, low in COLUMNS.values():
            port = low + 4 * i
            cells.append(Cell(transport, via, [port, port + 1], 1, held=port))
            cells.append(Cell(transport, via, [port + 2], 1, held=port + 2))
    return cells


def is_possible(name, cell):
    return "automatic" not in name or cell.held >= 32768


def held_rows(names, cells, texts):
    each = 2 * len(COLUMNS)
    rows = []
    for i, name in enumerate(names):
        own = list(zip(cells, texts))[i * each:(i + 1) * each]
        rows.append((name, [f"{a[1]} / {b[1]}" if is_possible(name, a[0]) else "."
                            for a, b in zip(own[::2], own[1::2])]))
    return rows


@contextlib.contextmanager
def elsewhere():
    with socket.socket() as s:
        s.bind(ELSEWHERE)
        s.listen(512)
        yield s


def held_by(holders, transport):
    names = list(holders)
    cells = cells_of(names, transport)
    each = 2 * len(COLUMNS)
    with contextlib.ExitStack() as stack:
        stack.enter_context(listeners(cells, socket.AF_INET, "127.0.0.1"))
        stack.enter_context(elsewhere())
        for i, cell in enumerate(cells):
            name = names[i // each]
            if is_possible(name, cell):
                stack.enter_context(holders[name](cell.held, ("127.0.0.1", cell.port)))
        return held_rows(names, cells, make(cells))


def refuses(name):
    if "to it" in name or "listener" in name:
        return "another address" not in name
    return "SO_REUSEADDR" not in name and "automatic" not in name


def test_held_in_the_middle():
    """a set of which all ports but the last are held, each in its way: each is offered once"""
    need_range()
    names = [name for name in TCP_HOLDERS if refuses(name)]
    for via, low in ("range", 46000), ("bind", 46100), ("bind", 22000), ("auto", 46200):
        held = [n for n in names if "automatic" not in n or low > 40000]
        cell = Cell("tcp", via, [low + i for i in range(len(held) + 1)], 2)
        with listeners([cell], socket.AF_INET, "127.0.0.1"), elsewhere(), \
                contextlib.ExitStack() as stack:
            for i, name in enumerate(held):
                # The connections "to it" have a port of their own each.
                stack.enter_context(TCP_HOLDERS[name](low + i, ("127.0.0.1", cell.port)))
            cell.held = low
            got, error = make([cell])[0].split()
        letter = "B" if via == "bind" else "R"
        equal((got, error[0]), (f"{letter}{len(held) + 1}", "E"), f"{via} from {low} on")


def test_held():
    """the port offered first is held by a listener, bind, a connection, with SO_REUSEADDR or not"""
    need_range()
    rows = held_by(TCP_HOLDERS, "tcp") + held_by(UDP_HOLDERS, "udp")
    same_table(COLUMNS, rows, HELD)


# --- ports in TIME_WAIT -------------------------------------------------------------------------

WAITING = {
    "automatic, to it": lambda port, it: connected(automatic(port), it),
    "automatic, elsewhere": lambda port, it: connected(automatic(port), ELSEWHERE),
    "bind, to it": lambda port, it: connected(holder(port), it),
    "bind, elsewhere": lambda port, it: connected(holder(port), ELSEWHERE),
    "SO_REUSEADDR, bind, to it": lambda port, it: connected(holder(port, REUSE), it),
    "SO_REUSEADDR, bind, elsewhere": lambda port, it: connected(holder(port, REUSE), ELSEWHERE),
    "bind, to it, SO_REUSEADDR since":
        lambda port, it: reusing_since(connected(holder(port), it)),
    "bind, elsewhere, SO_REUSEADDR since":
        lambda port, it: reusing_since(connected(holder(port), ELSEWHERE)),
}


def in_time_wait():
    """The local ports that are."""
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f.read().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "06"}


def leave_waiting(client, listener_of_peer):
    accepted, _ = listener_of_peer.accept()
    client.close()
    accepted.close()


def waiting(title, reuse, delay):
    """The rows of one setting of tcp_tw_reuse and tcp_tw_reuse_delay (milliseconds)."""
    sysctl("ipv4.tcp_rfc1337", "1")  # as for berthtest.Patient
    sysctl("ipv4.tcp_tw_reuse", reuse)
    sysctl("ipv4.tcp_tw_reuse_delay", delay)
    cells = cells_of(WAITING, "tcp")
    each = 2 * len(COLUMNS)
    names = list(WAITING)
    with listeners(cells, socket.AF_INET, "127.0.0.1") as found, elsewhere() as other:
        ports = set()
        for i, cell in enumerate(cells):
            name = names[i // each]
            if is_possible(name, cell):
                client = WAITING[name](cell.held, ("127.0.0.1", cell.port))
                leave_waiting(client, other if "elsewhere" in name else found[cell.port])
                ports.add(cell.held)
        wait_for(lambda: ports <= in_time_wait())
        time.sleep(0.05)  # longer than the shortest delay
        return [(f"{title}: {name}", texts)
                for name, texts in held_rows(names, cells, make(cells))]


def forget_waiting():
    """TIME_WAIT lasts a minute; the ports are wanted again."""
    ss, = need("ss")
    subprocess.run([ss, "-K", "state", "time-wait"], capture_output=True)


def test_held_in_time_wait():
    """the port offered first is in TIME_WAIT: by whom it was, and tcp_tw_reuse, tell"""
    if not os.path.exists("/proc/sys/net/ipv4/tcp_tw_reuse_delay"):
        raise Skip("net.ipv4.tcp_tw_reuse_delay: Linux 6.14 has it")
    before = {name: sysctl(f"ipv4.{name}") for name in ("tcp_tw_reuse", "tcp_tw_reuse_delay")}
    rows = []
    try:
        for title, reuse, delay in (("young", "2", "60000"), ("old", "2", "1"),
                                    ("off", "0", "1")):
            rows += waiting(title, reuse, delay)
            forget_waiting()
    finally:
        for name, value in before.items():
            sysctl(f"ipv4.{name}", value)
    same_table(COLUMNS, rows, HELD_IN_TIME_WAIT)


if __name__ == "__main__":
    berthtest.main()
