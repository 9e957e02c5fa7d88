# SPDX-License-Identifier: MIT
"""Whole sets of ports: used up, shared out among destinations, taken in each order, fought over,
and left from several addresses. What the programs got is what they said themselves."""
import collections
import contextlib
import errno
import itertools
import os
import resource
import signal
import socket
import subprocess

import berthtest
from berthtest import (LIBBERTH, PROGRAMS, Observed, Server, Skip, berth, equal, log_of,
                       policy, port_range, program, running, stats_of, sysctl, wait_for)

MANY = f"{PROGRAMS}/many"
LOW, HIGH = 32768, 60999  # the range that each test begins with
ORDERS = ("kernel", "random", "random-start", "hash", "double-hash", "random-increment",
          "sequential", "least-recent")


@contextlib.contextmanager
def backlog(address="127.0.0.1"):
    """A listener that accepts nobody: its port. Connections to it succeed, and stay as long as
    the client keeps them; at the end all of them are reset, and leave nothing in TIME_WAIT."""
    try:
        sysctl("core.somaxconn", "100000")
    except OSError as e:
        raise Skip(f"net.core.somaxconn: {e.strerror}") from e
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((address, next(Server.unused_ports)))
        listener.listen(100000)
        yield listener.getsockname()[1]


Call = collections.namedtuple("Call", "when process pid number port error")


class Many:
    """One run of tests/programs/many under a policy: .calls as they came, .events, .rules."""

    def __init__(self, rule, *arguments, events=65536):
        with policy(rule) as file:
            o = Observed([MANY, *map(str, arguments)], "-P", file, events=events,
                         stdin=subprocess.DEVNULL)
        equal((o.process.returncode, o.process.stderr), (0, ""), "exit status and stderr")
        self.calls = sorted(Call(*map(int, line.split()))
                            for line in o.process.stdout.splitlines())
        self.events, self.stats = o.events, o.stats

    def ports(self):
        return [c.port for c in self.calls]

    def errors(self):
        return [errno.errorcode.get(c.error, "ok") for c in self.calls]

    def all_ok(self):
        equal(collections.Counter(self.errors()), {"ok": len(self.calls)}, "outcomes")

    def rule(self):
        """The counters of the rule, of all processes together."""
        total = collections.Counter()
        for line in self.stats:
            for rule in line["rules"]:
                total.update({k: v for k, v in rule.items() if k != "name"})
        return total

    def counted(self, **wanted):
        got = self.rule()
        equal({k: got[k] for k in wanted}, wanted, "the rule's counters")


def outcomes(events):
    return [e.get("error.type", e["berth.result"]) for e in events]


def addresses(events):
    return [e["network.local.address"] for e in events]


# --- up to the last port ------------------------------------------------------------------------


def need_files(count):
    """Descriptors for each process, and some."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and most < count + 100:
        raise Skip(f"RLIMIT_NOFILE is {most}")


def test_whole_range():
    """28,232 connections to one destination, two processes: each port once, then EADDRNOTAVAIL"""
    need_files(14117)
    with backlog() as port:
        m = Many({"order": "random"}, "-p", 2, "-n", 14116, "-x", 1, "127.0.0.1", port)
    equal(collections.Counter(m.errors()), {"ok": 28232, "EADDRNOTAVAIL": 1}, "outcomes")
    equal((m.calls[-1].error, m.calls[-1].port), (errno.EADDRNOTAVAIL, 0), "the last call")
    equal(sorted(m.ports()[:-1]), list(range(LOW, HIGH + 1)), "ports")
    last = m.events[-1]
    equal((outcomes([last]), last["berth.chosen_by"], last["berth.rule"],
           last["network.local.port"]),
          (["EADDRNOTAVAIL"], "policy", "rule-0", 0), "the last event")
    equal({e["berth.chosen_by"] for e in m.events}, {"policy"}, "chosen_by")
    m.counted(matched=28233, claimed=28232, exhausted=1, kernel=0, outside=0, stuck=0)


def test_whole_range_by_window():
    """the same with order kernel and three processes: each port once, then EADDRNOTAVAIL"""
    need_files(9413)
    with backlog() as port:
        m = Many({"order": "kernel"}, "-p", 3, "-n", 9410, "-x", 3, "127.0.0.1", port)
    equal(collections.Counter(m.errors()), {"ok": 28232, "EADDRNOTAVAIL": 1}, "outcomes")
    equal(sorted(m.ports()[:-1]), list(range(LOW, HIGH + 1)), "ports")
    equal(m.calls[-1].error, errno.EADDRNOTAVAIL, "the last call")


def test_64000():
    """via bind, 1024-65535: 64,000 connections to one destination from one address, each port once

    The machine's range stays 32768-60999, and the listener has a port of the set.
    """
    need_files(16000)
    with backlog() as port:
        m = Many({"via": "bind", "local_ports": ["1024-65535"]},
                 "-p", 4, "-n", 16000, "127.0.0.1", port, events=131072)
    m.all_ok()
    equal(len(set(m.ports())), 64000, "distinct ports")
    assert 1024 <= min(m.ports()) and max(m.ports()) <= 65535 and port not in m.ports()
    equal({e.get("berth.via") for e in m.events}, {"bind"}, "via")
    equal(set(addresses(m.events)), {"127.0.0.1"}, "source addresses")
    m.counted(matched=64000, claimed=64000, exhausted=0, outside=0, stuck=0)


def test_whole_range_udp():
    """4,000 UDP sockets of two processes, all that the machine has: each port once, then EAGAIN

    The kernel's search for a UDP port is too slow for all of the default range.
    """
    port_range(40000, 43999)
    need_files(2001)
    m = Many({"order": "random"}, "-u", "-p", 2, "-n", 2000, "-x", 1, "127.0.0.1", 9)
    equal(collections.Counter(m.errors()), {"ok": 4000, "EAGAIN": 1}, "outcomes")
    equal(sorted(m.ports()[:-1]), list(range(40000, 44000)), "ports")
    equal((m.calls[-1].error, outcomes(m.events[-1:])), (errno.EAGAIN, ["EAGAIN"]), "the last")
    m.counted(matched=4001, claimed=4000, exhausted=1, kernel=0, outside=0)


def exhausts(rule, ports, processes, *arguments, error="EADDRNOTAVAIL"):
    """All ports of a small set to one destination, by processes at once; then no more."""
    assert len(ports) % processes == 0
    with backlog() as port:
        m = Many(rule, *arguments, "-p", processes, "-n", len(ports) // processes, "-x", 2,
                 "127.0.0.1", port)
    equal(m.errors(), len(ports) * ["ok"] + 2 * [error], f"outcomes with {rule}")
    equal(sorted(m.ports()[:-2]), sorted(ports), f"ports with {rule}")


def test_every_order_uses_all():
    """every order, range and bind: four processes use each of 200 ports once, then EADDRNOTAVAIL"""
    for order in ORDERS:
        for via, low in ("range", 40000), ("bind", 20000):
            exhausts({"order": order, "via": via, "local_ports": [f"{low}-{low + 199}"]},
                     range(low, low + 200), 4)


def test_every_order_by_threads():
    """every order, range and bind: four threads use each of 200 ports once, then EADDRNOTAVAIL"""
    for order in ORDERS:
        for via, low in ("range", 40000), ("bind", 20000):
            exhausts({"order": order, "via": via, "local_ports": [f"{low}-{low + 199}"]},
                     range(low, low + 200), 4, "-j")


def test_bound_to_port_0():
    """binds to port 0 in every order, TCP and UDP: each of 200 ports once, then EADDRINUSE"""
    for order in ORDERS:
        for low in 40000, 20000:
            rule = {"order": order, "local_ports": [f"{low}-{low + 199}"]}
            exhausts(rule, range(low, low + 200), 4, "-b", error="EADDRINUSE")
            exhausts(rule, range(low, low + 200), 2, "-b", "-u", error="EADDRINUSE")


def test_holes():
    """a set with holes (except, mod, reserved ports inside): exactly its ports, in every order"""
    sysctl("ipv4.ip_local_reserved_ports", "40100-40119")
    try:
        for order in ORDERS:
            exhausts({"order": order, "local_ports": ["40000-40199"],
                      "except": ["40010-40069", 40150]},
                     [*range(40000, 40010), *range(40070, 40150), *range(40151, 40200)], 1)
            exhausts({"order": order, "local_ports": ["39000-40199"], "mod": {"of": 10, "is": 9}},
                     range(39009, 40200, 10), 4)
    finally:
        sysctl("ipv4.ip_local_reserved_ports", "")


def test_straddles():
    """a set across the end of the machine's range: all of it is used, by range and by bind"""
    exhausts({"local_ports": ["32700-32835"]}, range(32700, 32836), 4)
    exhausts({"local_ports": ["60932-61067"], "order": "sequential"}, range(60932, 61068), 4)
    exhausts({"local_ports": ["60932-61067"], "order": "kernel"}, range(60932, 61068), 4)


# --- one port, two destinations -----------------------------------------------------------------


def one_port(via, port):
    with backlog() as a, backlog() as b, backlog("127.0.0.2") as c:
        m = Many({"via": via, "local_ports": [port]}, "-n", 6, "127.0.0.1", a, "127.0.0.1", b,
                 "127.0.0.2", c)
        n = Many({"via": via, "local_ports": [port]}, "-p", 3, "-n", 3, "127.0.0.1", a,
                 "127.0.0.1", b, "127.0.0.2", c)
    equal(m.errors(), 3 * ["ok"] + 3 * ["EADDRNOTAVAIL"], "outcomes")
    equal(m.ports()[:3], 3 * [port], "ports")
    won = collections.Counter(c.number for c in n.calls if not c.error)
    equal(won, {0: 1, 1: 1, 2: 1}, "connections to each destination")
    equal(collections.Counter(n.errors()), {"ok": 3, "EADDRNOTAVAIL": 6}, "of three processes")


def test_one_port_range():
    """range: a single port to three destinations at once, and to none of them twice"""
    one_port("range", 40000)


def test_one_port_bind():
    """bind: a single port to three destinations at once, and to none of them twice"""
    one_port("bind", 20000)


def test_one_port_families():
    """a single port to an IPv4, an IPv6 and a v4-mapped destination at once, by range and bind"""
    for via, port in ("range", 40000), ("bind", 20000):
        for turn in range(3):
            with backlog() as a, backlog("::1") as b, backlog() as c:
                ends = ["127.0.0.1", a], ["::1", b], ["::ffff:127.0.0.1", c]
                m = Many({"via": via, "local_ports": [port]}, "-n", 6,
                         *itertools.chain(*ends[turn:], *ends[:turn]))
            equal(m.errors(), 3 * ["ok"] + 3 * ["EADDRNOTAVAIL"], f"{via} from {turn}")
            equal(m.ports()[:3], 3 * [port], f"{via} from {turn}")


def test_reuseport():
    """sockets with SO_REUSEPORT: a port that is taken is passed by, by range and by bind"""
    for via, low in ("range", 40000), ("bind", 20000):
        with backlog() as to, policy({"via": via, "order": "sequential",
                                      "local_ports": [f"{low}-{low + 2}"]}) as file:
            o = Observed(program("""
                def made():
                    s = socket()
                    s.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
                    s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))
                    return s, s.connect_ex(('127.0.0.1', int(sys.argv[1])))
                kept = [made() for _ in range(3)]
                kept[1][0].close()
                print([error for _, error in [*kept, made(), made()]])
                """, to), "-P", file)
        equal((o.process.stdout, o.process.stderr),
              (f"[0, 0, 0, 0, {errno.EADDRNOTAVAIL}]\n", ""), via)
        equal(o.stats[0]["rules"][0]["stuck"], 0, f"stuck by {via}")


# --- one socket, several connects ---------------------------------------------------------------


def test_again_after_refusal():
    """a socket whose connect was refused connects again: from the set, by range and by bind"""
    for via, low in ("range", 40000), ("bind", 20000):
        for blocks in True, False:
            with backlog() as port, policy({"via": via, "local_ports": [f"{low}-{low + 9}"],
                                            "order": "sequential"}) as file:
                o = Observed(program("""
                    to, s = ('127.0.0.1', int(sys.argv[1])), socket()
                    s.setblocking(sys.argv[2] == 'True')
                    s.connect_ex(('127.0.0.1', 1))
                    select.select([], [s], [])
                    s.getsockopt(SOL_SOCKET, SO_ERROR)
                    result = s.connect_ex(to)
                    print(s.connect_ex(to) if result == errno.ECONNABORTED else result)
                    select.select([], [s], [])
                    print(s.getsockopt(SOL_SOCKET, SO_ERROR), s.getsockname()[1])
                    """, port, blocks), "-P", file)
            equal((o.process.returncode, o.process.stderr), (0, ""), f"{via} {blocks}")
            second, error, local = map(int, o.process.stdout.split())
            equal((second, error), (0 if blocks else errno.EINPROGRESS, 0), f"{via} {blocks}")
            equal({e["berth.chosen_by"] for e in o.events}, {"policy"}, f"{via} {blocks}")
            equal(o.events[-1]["network.local.port"], local, f"{via} {blocks}")
            assert low <= local < low + 10, local
            rule, = o.stats[0]["rules"]
            equal((rule["matched"], rule["outside"]), (2, 0), f"counters {via} {blocks}")


def test_again_after_unspec():
    """connect(AF_UNSPEC) and another connect: the port is of the set again"""
    for via, low in ("range", 40000), ("bind", 20000):
        with backlog() as a, backlog() as b, \
                policy({"via": via, "local_ports": [f"{low}-{low + 9}"]}) as file:
            o = Observed(program("""
                libc, s = ctypes.CDLL(None), socket()
                s.connect(('127.0.0.1', int(sys.argv[1])))
                assert libc.connect(s.fileno(), struct.pack('=H14x', AF_UNSPEC), 16) == 0
                s.connect(('127.0.0.1', int(sys.argv[2])))
                print(s.getsockname()[1])
                """, a, b), "-P", file)
        equal((o.process.returncode, o.process.stderr), (0, ""), via)
        equal([e["berth.chosen_by"] for e in o.events], 2 * ["policy"], via)
        equal(o.events[-1]["network.local.port"], int(o.process.stdout), via)
        assert low <= int(o.process.stdout) < low + 10, o.process.stdout


def test_again_when_free():
    """a socket that found no free port connects once there is one"""
    for via, port in ("range", 40000), ("bind", 20000):
        with backlog() as to, policy({"via": via, "local_ports": [port]}) as file:
            o = Observed(program("""
                to = '127.0.0.1', int(sys.argv[1])
                s, t = socket(), socket()
                s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))
                s.connect(to)
                assert t.connect_ex(to) == errno.EADDRNOTAVAIL
                assert t.connect_ex(to) == errno.EADDRNOTAVAIL
                s.close()
                t.connect(to)
                """, to), "-P", file)
        equal((o.process.returncode, o.process.stderr), (0, ""), via)
        equal(outcomes(o.events), ["ok", "EADDRNOTAVAIL", "EADDRNOTAVAIL", "ok"], via)


def test_link_local():
    """a link-local destination: one port once, by range and by bind, with the scope"""
    with interfaces(), policy({"local_ports": [40000, 20000], "order": "sequential"}) as file:
        o = Observed(program("""
            ends = [('fe80::1', 'berth0'), ('fe80::2', 'berth1')]
            for address, name in ends:
                os.system(f'ip addr add {address}/64 dev {name} nodad')
            l = socket(AF_INET6)
            l.bind(('fe80::2', 7000, 0, if_nametoindex('berth1')))
            l.listen()
            kept = [socket(AF_INET6) for _ in range(3)]
            print([s.connect_ex(('fe80::2', 7000, 0, if_nametoindex('berth0'))) for s in kept])
            """), "-P", file)
    equal((o.process.stdout, o.process.stderr), (f"[0, 0, {errno.EADDRNOTAVAIL}]\n", ""))
    connects = o.calls("connect", network__peer__port=7000)
    equal([(e.get("berth.via"), e["network.local.address"], e["network.local.port"])
           for e in connects[:2]],
          [("bind", "fe80::1%berth0", 20000), ("range", "fe80::1%berth0", 40000)], "events")


# --- which ports, and in which order ------------------------------------------------------------


def test_mod():
    """mod {of 8, is 3}: the ports of 1,000 connections are 3 modulo 8"""
    for via, ports in (("range", "40000-50000"), ("bind", "10001-20000"), ("auto", "28000-38000")):
        with backlog() as port:
            m = Many({"via": via, "local_ports": [ports], "mod": {"of": 8, "is": 3}},
                     "-p", 2, "-n", 500, "127.0.0.1", port)
        m.all_ok()
        equal({p % 8 for p in m.ports()}, {3}, f"remainders with {via}")
        equal(len(set(m.ports())), 1000, f"distinct ports with {via}")


def steps(ports, size):
    return [(b - a) % size for a, b in zip(ports, ports[1:])]


def ordered(order, size, *arguments, **more):
    """The calls of several processes, a call each in turn, in a set of so many ports."""
    rule = {"order": order, "local_ports": [f"40000-{40000 + size - 1}"], **more}
    m = Many(rule, "-t", "-c", *arguments)
    m.all_ok()
    return m.calls


def test_sequential():
    """sequential: one after the other, across processes, from the set's end to its begin"""
    with backlog() as port:
        calls = ordered("sequential", 100, "-p", 3, "-n", 100, "127.0.0.1", port)
    equal(set(steps([c.port for c in calls], 100)), {1}, "steps")


def test_least_recent():
    """least-recent: no port comes again before the whole set was used, across processes"""
    with backlog() as port:
        calls = ordered("least-recent", 100, "-p", 4, "-n", 100, "127.0.0.1", port)
        m = Many({"order": "least-recent", "local_ports": ["40000-40099"]},
                 "-c", "-p", 4, "-n", 25, "127.0.0.1", port)
    ports = [c.port for c in calls]
    for i in range(len(ports) - 99):
        equal(len(set(ports[i:i + 100])), 100, f"distinct ports from call {i} on")
    m.all_ok()
    equal(len(set(m.ports())), 100, "distinct ports of processes at once")


def test_orders_outlive_programs():
    """sequential and least-recent: programs that one `berth run` starts go on where others ended"""
    for order in "sequential", "least-recent":
        with backlog() as port, policy({"order": order, "local_ports": ["40000-40099"]}) as file:
            many = f"{MANY} -c -n 30 127.0.0.1 {port} </dev/null;"
            o = Observed(["/bin/sh", "-c", many * 4], "-P", file)
        ports = [e["network.local.port"] for e in o.events]
        equal((outcomes(o.events), set(steps(ports, 100))), (120 * ["ok"], {1}), order)


def test_orders_without_run():
    """by LD_PRELOAD and BERTH_POLICY alone, recorded or not: forked processes share the order"""
    with backlog() as port, policy({"order": "sequential", "local_ports": ["40000-40099"]}) as file:
        berth("compile", file, "-o", file + ".image", check=True)
        try:
            for more in {}, {"BERTH_RECORD": "off"}:
                said = subprocess.run(
                    [MANY, "-c", "-t", "-p", "4", "-n", "60", "127.0.0.1", str(port)], check=True,
                    capture_output=True, text=True, stdin=subprocess.DEVNULL,
                    env={**os.environ, "LD_PRELOAD": LIBBERTH, "BERTH_POLICY": file + ".image",
                         **more})
                calls = sorted(Call(*map(int, line.split())) for line in said.stdout.splitlines())
                equal((len(calls), {c.error for c in calls}, said.stderr), (240, {0}, ""))
                equal(set(steps([c.port for c in calls], 100)), {1}, f"steps with {more}")
        finally:
            os.unlink(file + ".image")


def test_least_recent_means_closed():
    """least-recent: a port that was closed just now comes after those closed before"""
    with backlog() as port, \
            policy({"order": "least-recent", "local_ports": ["40000-40003"]}) as file:
        o = Observed(program("""
            def connect():
                s = socket()
                s.connect(('127.0.0.1', int(sys.argv[1])))
                return s
            def reset(s):
                s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))
                s.close()
            kept = [connect() for _ in range(4)]
            for i in (2, 0, 3, 1):
                reset(kept[i])
            again = [connect() for _ in range(4)]
            """, port), "-P", file)
    equal(outcomes(o.events), 8 * ["ok"], "outcomes")
    ports = [e["network.local.port"] for e in o.events]
    equal(ports[4:], [ports[i] for i in (2, 0, 3, 1)], f"ports after {ports[:4]}")


def two_destinations(order, size=1000):
    """The steps of each destination's ports, where calls to the two alternate."""
    with backlog() as a, backlog() as b:
        calls = ordered(order, size, "-p", 2, "-n", 100, "127.0.0.1", a, "127.0.0.1", b)
    mine = [[c.port for c in calls if c.number % 2 == i] for i in (0, 1)]
    return [collections.Counter(steps(ports, size)) for ports in mine], calls


def test_hash():
    """hash (RFC 6056's 3): one counter for all destinations, an offset for each

    The calls come in pairs, two to one destination and two to the other: the counter goes on by
    one at each of them.
    """
    (a, b), _ = two_destinations("hash")
    equal((set(a), set(b)), ({1, 3}, {1, 3}), "steps")


def test_double_hash():
    """double-hash (RFC 6056's 4): a counter for each destination

    Two destinations share one of 256 counters now and then: in three runs on end they do not.
    """
    for _ in range(3):
        (a, b), _ = two_destinations("double-hash")
        if set(a) == {1} == set(b):
            return
        equal((set(a), set(b)), ({1, 3}, {1, 3}), "steps of two that share a counter")
    raise AssertionError("three times two destinations shared a counter")


def test_hash_differs():
    """hash and double-hash: the offsets of destinations differ, and those of two runs"""
    for order in ("hash", "double-hash"):
        firsts = set()
        for _ in range(4):
            _, calls = two_destinations(order)
            firsts |= {calls[0].port, next(c.port for c in calls if c.number == 1)}
        assert len(firsts) > 2, f"{order} begins at {firsts}"


def test_random_increment():
    """random-increment (RFC 6056's 5): each call goes on by 1 to 500, for all destinations"""
    with backlog() as a, backlog() as b:
        calls = ordered("random-increment", 2000, "-p", 2, "-n", 200, "127.0.0.1", a,
                        "127.0.0.1", b)
    got = steps([c.port for c in calls], 2000)
    assert all(1 <= step <= 500 for step in got), f"steps {sorted(set(got))[-5:]}"
    assert len(set(got)) > 100 and max(got) > 400 and min(got) < 100, f"steps {sorted(set(got))}"


@contextlib.contextmanager
def listening(ports):
    """Listeners on all of these ports: no connection can leave from one of them."""
    with contextlib.ExitStack() as stack:
        for port in ports:
            s = stack.enter_context(socket.socket())
            s.bind(("127.0.0.1", port))
            s.listen()
        yield


def nobody(count):
    """Destinations where nobody listens: a connection is refused, but it had a port."""
    return list(itertools.chain.from_iterable(("127.0.0.1", 1000 + i) for i in range(count)))


def test_random_start():
    """random-start (RFC 6056's 1): a random port, from there on the next free one

    40000 and 40005 of ten ports are free, and each call is the first to its destination: the tries
    tell where it began.
    """
    with listening(p for p in range(40000, 40010) if p % 5):
        m = Many({"order": "random-start", "local_ports": ["40000-40009"]}, "-n", 200,
                 *nobody(200))
    equal(collections.Counter(m.errors()), {"ECONNREFUSED": 200}, "outcomes")
    begun = [(e["network.local.port"] - e["berth.tries"] + 1) % 10 for e in m.events]
    equal({e["network.local.port"] for e in m.events}, {40000, 40005}, "ports")
    assert max(e["berth.tries"] for e in m.events) <= 5, "it went past a free port"
    equal(set(begun), set(range(10)), "where the calls began")


def test_random():
    """random (RFC 6056's 2): any port, drawn again where it is taken, none twice in a call"""
    with listening(p for p in range(40000, 40010) if p % 5):
        m = Many({"order": "random", "via": "bind", "local_ports": ["40000-40009"]}, "-n", 200,
                 *nobody(200))
    equal(collections.Counter(m.errors()), {"ECONNREFUSED": 200}, "outcomes")
    tries = [e["berth.tries"] for e in m.events]
    assert 5 < max(tries) <= 9, f"tries {collections.Counter(tries)}"
    equal({e["network.local.port"] for e in m.events}, {40000, 40005}, "ports")


def test_tries():
    """tries: no more candidates than that are offered, though a port of the set is free"""
    for via in "range", "bind":
        with listening(range(40000, 40009)):
            m = Many({"order": "sequential", "via": via, "tries": 3, "local_ports":
                      ["40000-40009"]}, "-n", 2, *nobody(2))
        equal((m.errors()[0], m.events[0]["berth.tries"]), ("EADDRNOTAVAIL", 3), f"with {via}")
        assert all(e["berth.tries"] <= 3 for e in m.events), m.events


def stamp(event):
    """Nanoseconds in the day."""
    h, m, s = event["timestamp"].split("T")[1].rstrip("Z").split(":")
    whole, part = s.split(".")
    return (int(h) * 3600 + int(m) * 60 + int(whole)) * 10**9 + int(part)


def rests(via, port):
    with backlog() as a, backlog() as b, \
            policy({"via": via, "local_ports": [port], "rest": 2}) as file:
        o = Observed(program("""
            import time
            def connect(port):
                s = socket()
                s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))
                with s:
                    return s.connect_ex(('127.0.0.1', int(port)))
            a, b = sys.argv[1:]
            assert connect(a) == 0
            assert connect(a) == errno.EADDRNOTAVAIL
            assert connect(b) == 0
            assert connect(b) == errno.EADDRNOTAVAIL
            while connect(a):
                time.sleep(0.005)
            assert connect(a) == errno.EADDRNOTAVAIL
            """, a, b), "-P", file)
    equal((o.process.returncode, o.process.stderr), (0, ""), "the program")
    first, again = o.calls("connect", berth__result="ok", network__peer__port=a)
    apart = (stamp(again) - stamp(first)) % (86400 * 10**9)
    assert apart >= 2 * 10**9, f"{apart} ns apart"


def test_rest():
    """rest 2: a port to the same destination not again within 2 s, to another at once"""
    rests("range", 40000)
    rests("bind", 20000)


def test_rest_of_all():
    """rest 3600: of 1,000 ports each is given once, by two processes, then none, in each order"""
    for order in ORDERS:
        with backlog() as port:
            m = Many({"order": order, "rest": 3600, "local_ports": ["40000-40999"]}, "-c", "-t",
                     "-p", 2, "-n", 500, "-x", 2, "127.0.0.1", port)
        equal(collections.Counter(m.errors()), {"ok": 1000, "EADDRNOTAVAIL": 2}, order)
        equal(sorted(m.ports()[:-2]), list(range(40000, 41000)), f"ports with {order}")


# --- the audit ----------------------------------------------------------------------------------


def test_outside_by_fallback():
    """exhausted: kernel, the set held by a listener: each connection counts as outside"""
    for via, ports in ("range", range(40000, 40002)), ("bind", range(20000, 20002)):
        with backlog() as port, listening(ports):
            m = Many({"via": via, "local_ports": list(ports), "exhausted": "kernel"},
                     "-p", 2, "-n", 50, "127.0.0.1", port)
        m.all_ok()
        assert not set(m.ports()) & set(ports), m.ports()
        m.counted(matched=100, claimed=0, exhausted=100, kernel=100, outside=100)
        equal({(e["berth.chosen_by"], e.get("berth.rule"), e.get("berth.unsteered"))
               for e in m.events}, {("kernel", "rule-0", "exhausted")}, "events")


def test_outside_by_fallback_of_all():
    """exhausted: kernel for UDP connects, and binds to port 0 of TCP and UDP: all are counted"""
    for arguments in ["-u"], ["-b"], ["-b", "-u"]:
        for ports in range(40000, 40002), range(20000, 20002):
            with contextlib.ExitStack() as stack:
                for port, kind in itertools.product(ports, (socket.SOCK_STREAM,
                                                            socket.SOCK_DGRAM)):
                    stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("", port))
                m = Many({"local_ports": list(ports), "exhausted": "kernel"}, *arguments,
                         "-p", 2, "-n", 25, "127.0.0.1", 9)
            m.all_ok()
            assert not set(m.ports()) & set(ports) and 0 not in m.ports(), m.ports()
            m.counted(matched=50, claimed=0, exhausted=50, kernel=50, outside=50)
            equal({(e["berth.chosen_by"], e.get("berth.unsteered")) for e in m.events},
                  {("kernel", "exhausted")}, f"events with {arguments}")


def test_outside_by_machine():
    """the machine's range moves away after the start: at most one connection leaves from outside"""
    with backlog() as port, policy({"local_ports": ["40000-40009"]}) as file:
        code = program("""
            print('started', flush=True)
            sys.stdin.readline()
            kept = [socket() for _ in range(6)]
            for s in kept:
                s.connect(('127.0.0.1', int(sys.argv[1])))
            print('connected', flush=True)
            sys.stdin.readline()
            """, port)
        with running(code, "-P", file) as (process, recording):
            equal(process.stdout.readline(), "started\n")
            port_range(50000, 60999)
            print(file=process.stdin, flush=True)
            equal(process.stdout.readline(), "connected\n")
            events, (stats,) = log_of(recording), stats_of(recording)
    rule, = stats["rules"]
    equal((rule["matched"], rule["claimed"], rule["outside"]), (6, 5, 1), "counters")
    equal([(e["berth.chosen_by"], e.get("berth.via")) for e in events][1:],
          5 * [("policy", "bind")], "events after the first")
    assert 40000 <= events[1]["network.local.port"] < 40010, events[1]


def test_outside_by_program():
    """a program that binds its own ports: those outside the set are counted, each of them"""
    with backlog() as port, policy({"local_ports": ["40000-40999"]}) as file:
        o = Observed(program("""
            kept = []
            for own in [*range(30000, 30020), *range(40000, 40010), *range(50000, 50005), 0]:
                s = socket()
                if own:
                    s.bind(('127.0.0.1', own))
                s.connect(('127.0.0.1', int(sys.argv[1])))
                kept.append(s)
            """, port), "-P", file)
    equal((o.process.returncode, o.process.stderr), (0, ""), "the program")
    rule, = o.stats[0]["rules"]
    equal({k: rule[k] for k in ("matched", "claimed", "outside", "exhausted", "kernel")},
          {"matched": 36, "claimed": 1, "outside": 25, "exhausted": 0, "kernel": 0}, "counters")
    equal(collections.Counter(e["berth.chosen_by"] for e in o.calls("connect")),
          {"program": 35, "policy": 1}, "chosen_by")


def test_outside_by_bind_to_port_0():
    """binds to port 0, which a rule with `to` cannot take: the connects are counted as outside"""
    with backlog() as port, policy({"local_ports": ["20000-20999"],
                                    "match": {"to": [f"*:{port}"]}}) as file:
        o = Observed(program("""
            kept = [socket() for _ in range(7)]
            for s in kept:
                s.bind(('127.0.0.1', 0))
                s.connect(('127.0.0.1', int(sys.argv[1])))
            """, port), "-P", file)
    equal((o.process.returncode, o.process.stderr), (0, ""), "the program")
    rule, = o.stats[0]["rules"]
    equal((rule["matched"], rule["claimed"], rule["outside"]), (7, 0, 7), "counters")


def test_outside_by_udp():
    """UDP sockets with SO_REUSEADDR are not steered: each port outside the set is counted"""
    with policy({"local_ports": ["20000-20999"]}) as file:
        o = Observed(program("""
            kept = [socket(AF_INET, SOCK_DGRAM) for _ in range(10)]
            for s in kept:
                s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
                s.connect(('127.0.0.1', 9))
            """), "-P", file)
    equal((o.process.returncode, o.process.stderr), (0, ""), "the program")
    rule, = o.stats[0]["rules"]
    equal((rule["matched"], rule["claimed"], rule["outside"]), (10, 0, 10), "counters")
    equal({e.get("berth.unsteered") for e in o.events}, {"reuse"}, "unsteered")


# --- a connection to itself ---------------------------------------------------------------------


@contextlib.contextmanager
def interfaces():
    """10.9.0.1 and fd09::1 on lo, 10.9.1.1 on a veth."""
    def ip(*words):
        subprocess.run(["ip", *words], check=True)
    sysctl("ipv6.conf.all.accept_dad", "0")
    ip("link", "add", "berth0", "type", "veth", "peer", "name", "berth1")
    try:
        ip("addr", "add", "10.9.0.1/32", "dev", "lo")
        ip("addr", "add", "fd09::1/128", "dev", "lo", "nodad")
        ip("addr", "add", "10.9.1.1/24", "dev", "berth0")
        ip("link", "set", "berth0", "up")
        ip("link", "set", "berth1", "up")
        yield
    finally:
        ip("link", "del", "berth0")
        ip("addr", "del", "10.9.0.1/32", "dev", "lo")
        ip("addr", "del", "fd09::1/128", "dev", "lo")


def never_itself(rule, low, address, count, *arguments, outcome="ECONNREFUSED"):
    """Eight ports, one of which is the destination's, where nobody listens."""
    m = Many({"local_ports": [f"{low}-{low + 7}"], **rule}, *arguments, "-c", "-p", 2,
             "-n", count // 2, address, low + 3, events=16384)
    what = f"to {address} with {rule} {arguments}"
    equal(collections.Counter(m.errors()), {outcome: count}, "outcomes " + what)
    left = {e["network.local.port"] for e in m.events}
    equal(left, set(range(low, low + 8)) - {low + 3}, "ports " + what)
    m.counted(matched=count, claimed=count, exhausted=0, outside=0)


def test_never_to_itself():
    """10,000 connections to a closed port of the set, by range, bind, windows: none to itself"""
    for rule, low in (({"via": "range", "order": "random-start"}, 40000),
                      ({"via": "bind"}, 20000), ({"order": "kernel"}, 40000),
                      ({"order": "random"}, 40000)):
        never_itself(rule, low, "127.0.0.1", 10000)


def test_never_to_itself_elsewhere():
    """the same to ::1, v4-mapped, to addresses of lo and of a veth, and by every order"""
    with interfaces():
        for address in "::1", "::ffff:127.0.0.1", "10.9.0.1", "fd09::1", "10.9.1.1":
            for rule, low in (({"via": "range", "order": "random-start"}, 40000),
                              ({"via": "bind"}, 20000), ({"order": "kernel"}, 40000)):
                never_itself(rule, low, address, 2000)
    for order in "random-start", "hash", "double-hash", "sequential", "least-recent":
        never_itself({"order": order}, 40000, "127.0.0.1", 2000)


def test_never_to_itself_udp():
    """UDP sockets that connect to a closed port of the set: none to itself"""
    for rule, low in (({"via": "range"}, 40000), ({"via": "bind"}, 20000),
                      ({"order": "kernel"}, 40000)):
        never_itself(rule, low, "127.0.0.1", 2000, "-u", outcome="ok")


def test_never_to_itself_from_pool():
    """from a pool that holds the destination's address: none to itself"""
    for rule, low in (({"via": "range"}, 40000), ({"via": "bind"}, 20000),
                      ({"order": "kernel"}, 40000)):
        never_itself({"local_addresses": ["127.0.0.5"], **rule}, low, "127.0.0.5", 2000)


def test_itself_alone():
    """a set of which the destination's port is all that is left is exhausted"""
    for via, port in ("range", 40000), ("bind", 20000), ("auto", 40000):
        m = Many({"via": via, "local_ports": [port]}, "-n", 2, "127.0.0.1", port)
        equal(m.errors(), 2 * ["EADDRNOTAVAIL"], via)


# --- races --------------------------------------------------------------------------------------


def race(rule, free, processes, rounds, *arguments):
    """In each round so many processes want the ports at once, of which `free` are."""
    with backlog() as port:
        m = Many(rule, *arguments, "-r", "-p", processes, "-n", rounds, "127.0.0.1", port)
    of_round = collections.defaultdict(list)
    for call in m.calls:
        of_round[call.number].append(call)
    for number, calls in of_round.items():
        won = [c.port for c in calls if not c.error]
        equal(len(won), free, f"winners of round {number}: {calls}")
        equal(len(set(won)), free, f"ports of round {number}: {calls}")
        equal({c.error for c in calls if c.error} - {errno.EADDRNOTAVAIL}, set(), "other errors")
    equal(len(of_round), rounds, "rounds")
    m.counted(matched=processes * rounds, claimed=free * rounds, outside=0,
              exhausted=(processes - free) * rounds - m.rule()["stuck"])
    print(f"# {rule}: stuck {m.rule()['stuck']} times")


def test_race_range():
    """two processes, one port, 10,000 rounds by range: one wins, the other gets EADDRNOTAVAIL"""
    race({"via": "range", "local_ports": [40000]}, 1, 2, 10000)


def test_race_bind():
    """two processes, one port, 10,000 rounds by bind: one wins, the other gets EADDRNOTAVAIL"""
    race({"via": "bind", "local_ports": [20000]}, 1, 2, 10000)


def test_race_several():
    """three processes, two ports, 2,000 rounds, range, bind and windows: two win, by two ports"""
    race({"via": "range", "local_ports": ["40000-40001"], "order": "sequential"}, 2, 3, 2000)
    race({"via": "bind", "local_ports": ["20000-20001"]}, 2, 3, 2000)
    race({"order": "kernel", "local_ports": ["40000-40001"]}, 2, 3, 2000)


def test_race_threads():
    """three threads, two ports, 2,000 rounds, range, bind and windows: two win, by two ports"""
    race({"via": "range", "local_ports": ["40000-40001"], "order": "sequential"}, 2, 3, 2000, "-j")
    race({"via": "bind", "local_ports": ["20000-20001"]}, 2, 3, 2000, "-j")
    race({"order": "kernel", "local_ports": ["40000-40001"]}, 2, 3, 2000, "-j")


# --- source addresses ---------------------------------------------------------------------------


def leaves_from(addresses_, *arguments, **rule):
    with backlog() as port:
        m = Many({"local_addresses": addresses_, **rule}, *arguments, "127.0.0.1", port)
    return m, addresses(m.events)


def test_pool_in_turn():
    """local_addresses: connections leave from each in turn, by range and by bind"""
    pool = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    for rule in ({}, {"via": "bind", "local_ports": ["20000-20999"]}, {"order": "kernel"}):
        m, got = leaves_from(pool, "-t", "-p", 2, "-n", 6, **rule)
        m.all_ok()
        equal(got, 4 * pool, f"addresses with {rule}")
        m.counted(matched=12, claimed=12, outside=0)


def test_pool_of_prefix():
    """local_addresses with a /28: all sixteen in turn, then the address after it"""
    pool = ["127.0.1.16/28", "127.0.0.2"]
    want = [f"127.0.1.{i}" for i in range(16, 32)] + ["127.0.0.2"]
    m, got = leaves_from(pool, "-n", 34)
    m.all_ok()
    equal(got, 2 * want, "addresses")


def test_pool_ipv6():
    """local_addresses of both families: each connection leaves from one of its own"""
    with interfaces(), backlog("::1") as port6, backlog() as port:
        m = Many({"local_addresses": ["127.0.0.7", "fd09::1", "127.0.0.8"]}, "-n", 4,
                 "::1", port6, "127.0.0.1", port)
    m.all_ok()
    equal(addresses(m.events), ["fd09::1", "127.0.0.7", "fd09::1", "127.0.0.8"], "addresses")


def test_pool_v4_mapped():
    """local_addresses of IPv4 hold for a v4-mapped destination"""
    with backlog() as port:
        m = Many({"local_addresses": ["127.0.0.7", "127.0.0.8"]}, "-n", 2,
                 "::ffff:127.0.0.1", port)
        n = Many({"local_addresses": ["127.0.0.7"], "via": "bind", "local_ports": [20000]},
                 "-n", 2, "::ffff:127.0.0.1", port)
    m.all_ok()
    equal(addresses(m.events), ["127.0.0.7", "127.0.0.8"], "addresses")
    equal(n.errors(), ["ok", "EADDRNOTAVAIL"], "by bind")


def uses_up(family, peer, pool, wild, rule, exhausted):
    """Two connects to the peer, where there is one port and one address."""
    what = f"{family} {rule} {exhausted}"
    with backlog("::1" if peer == "::1" else "127.0.0.1") as to, \
            policy({"local_addresses": [pool], "exhausted": exhausted, **rule}) as file:
        o = Observed(program("""
            peer = sys.argv[2], int(sys.argv[3])
            s, t = [socket(AddressFamily[sys.argv[1]]) for _ in range(2)]
            s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))
            s.connect(peer)
            if t.connect_ex(peer):
                assert not t.getsockname()[0].strip('0:.f'), t.getsockname()
                s.close()
                t.connect(peer)
            """, family, peer, to), "-P", file)
    equal((o.process.returncode, o.process.stderr), (0, ""), what)
    first, *_, last = o.events
    port = rule["local_ports"][0]
    equal((addresses([first]), first["network.local.port"]), ([pool], port), what)
    if exhausted == "fail":
        equal((outcomes(o.events), addresses([last]), last["network.local.port"]),
              (["ok", "EADDRNOTAVAIL", "ok"], [pool], port), what)
    else:
        equal((outcomes(o.events), addresses([last])), (["ok", "ok"], [wild]), what)
        assert last["network.local.port"] != port, what


def test_pool_used_up():
    """a pool whose ports are used up: EADDRNOTAVAIL, or the kernel's choice of address and port"""
    with interfaces():
        for ends in (("AF_INET", "127.0.0.1", "127.0.0.2", "127.0.0.1"),
                     ("AF_INET6", "::1", "fd09::1", "::1"),
                     ("AF_INET6", "::ffff:127.0.0.1", "127.0.0.2", "127.0.0.1")):
            for via, port in ("range", 40000), ("bind", 20000):
                for exhausted in "fail", "kernel":
                    uses_up(*ends, {"via": via, "local_ports": [port]}, exhausted)


def test_pool_lacking():
    """addresses that the machine lacks: EADDRNOTAVAIL where there is no other, else the next"""
    for rule in {}, {"via": "bind", "local_ports": ["20000-20999"]}, {"order": "kernel"}:
        m, _ = leaves_from(["192.0.2.1", "192.0.2.2"], "-n", 2, **rule)
        equal((m.errors(), outcomes(m.events)), (2 * ["EADDRNOTAVAIL"], 2 * ["EADDRNOTAVAIL"]))
        equal({e["berth.chosen_by"] for e in m.events}, {"policy"}, "chosen_by")
        m, got = leaves_from(["127.0.0.2", "192.0.2.1", "127.0.0.3"], "-n", 6, **rule)
        m.all_ok()
        equal(got, 2 * ["127.0.0.2", "127.0.0.3", "127.0.0.3"], f"addresses with {rule}")


def test_pool_udp():
    """local_addresses hold for UDP sockets, connected or not"""
    with policy({"local_addresses": ["127.0.0.2", "127.0.0.3"],
                 "local_ports": ["40000-40009", "20000-20009"]}) as file:
        o = Observed(program("""
            kept = [socket(AF_INET, SOCK_DGRAM) for _ in range(4)]
            for s in kept[:2]:
                s.connect(('127.0.0.1', 9))
            for s in kept[2:]:
                s.sendto(b'x', ('127.0.0.1', 9))
            """), "-P", file)
    equal((o.process.returncode, o.process.stderr), (0, ""), "the program")
    equal(addresses(o.events), 2 * ["127.0.0.2", "127.0.0.3"], "addresses")
    equal({e["berth.chosen_by"] for e in o.events}, {"policy"}, "chosen_by")


def test_pool_bound():
    """a socket that the program bound to an address keeps it, and gets a port of the set"""
    code = """
        NO_PORT = 24
        kept = []
        for no_port in (0, 1):
            s = socket()
            s.setsockopt(IPPROTO_IP, NO_PORT, no_port)
            s.bind(('127.0.0.9', 0))
            s.connect(('127.0.0.1', int(sys.argv[1])))
            kept.append(s)
        """
    for late in {}, {"late_bind": ["*"]}:
        for ports in "20000-20009", "40000-40009":
            with backlog() as port, policy({"local_addresses": ["127.0.0.2"],
                                            "local_ports": [ports]}, **late) as file:
                o = Observed(program(code, port), "-P", file)
            equal((o.process.returncode, o.process.stderr), (0, ""), "the program")
            connects = o.calls("connect", berth__result="ok")
            equal(addresses(connects), 2 * ["127.0.0.9"], f"addresses with {late}")
            low = int(ports[:5])
            assert all(low <= e["network.local.port"] < low + 10 for e in connects), connects


def test_pool_multiplies():
    """a range of 50 ports and three addresses: 150 connections to one destination, no 151st"""
    port_range(50000, 50049)
    pool = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    for rule in ({}, {"order": "kernel"}, {"order": "sequential"},
                 {"via": "bind", "local_ports": ["20000-20049"]}):
        m, _ = leaves_from(pool, "-p", 3, "-n", 50, "-x", 2, **rule)
        equal(m.errors(), 150 * ["ok"] + 2 * ["EADDRNOTAVAIL"], f"outcomes with {rule}")
        pairs = collections.Counter((e["network.local.address"], e["network.local.port"])
                                    for e in m.events if e["berth.result"] == "ok")
        equal((len(pairs), set(pairs.values())), (150, {1}), f"addresses and ports with {rule}")
        equal(collections.Counter(a for a, _ in pairs), {a: 50 for a in pool}, "of each")


# --- killed -------------------------------------------------------------------------------------


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(word) for word in f.read().split()]


def killed(order, low=40000, **more):
    """Eight processes connect and close; four are killed while they do."""
    count, size = 20000, 64
    rule = {"order": order, "local_ports": [f"{low}-{low + size - 1}"], **more}
    with backlog() as port, policy(rule) as file, \
            running([MANY, "-c", "-p", "8", "-n", str(count), "-x", "100", "127.0.0.1",
                     str(port)], "-P", file) as (run, recording):
        many, = wait_for(lambda: [c for c in children(run.pid) if children(c)])
        victims = wait_for(lambda: children(many)[7:] and children(many))[::2]

        def made(pid):
            return sum(s["calls"]["connect"] for s in stats_of(recording)
                       if s["process.pid"] == pid)
        for i, victim in enumerate(victims, 1):
            wait_for(lambda: made(victim) > 100 * i)
            os.kill(victim, signal.SIGKILL)
        said, _ = run.communicate()
        stats = {s["process.pid"]: s for s in stats_of(recording)}
    calls = sorted(Call(*map(int, line.split())) for line in said.splitlines())
    equal({c.error for c in calls}, {0}, "errors")
    of = collections.Counter(c.pid for c in calls)
    for victim in victims:
        rule, = stats[victim]["rules"]
        equal(stats[victim]["berth.state"], "died", "state")
        assert of[victim] < count, "killed too late"
        # Killed between a call and its counters, or between these and the note of the program.
        assert of[victim] <= rule["claimed"] + 1 and rule["claimed"] <= of[victim] + 1, (
            of[victim], rule)
    for pid in set(of) - set(victims) - {many}:
        rule, = stats[pid]["rules"]
        equal((of[pid], rule["matched"], rule["claimed"], rule["outside"]),
              (count, count, count, 0), "a process that was not killed")
    return [c.port for c in calls[-100:]], size


def test_killed_sequential():
    """processes killed while they connect: the others go on, in sequence, and all is counted"""
    ports, size = killed("sequential")
    # What the killed ones held the kernel still closes: at most a port each.
    went = steps(ports, size)
    assert all(1 <= step <= 5 for step in went) and went.count(1) > 80, went


def test_killed_bind():
    """the same by bind"""
    ports, size = killed("sequential", 20000, via="bind")
    went = steps(ports, size)
    assert all(1 <= step <= 5 for step in went) and went.count(1) > 80, went


def test_killed_least_recent():
    """the same with least-recent: afterwards no port comes again before the set was used"""
    ports, size = killed("least-recent")
    for i in range(100 - size + 5):
        some = ports[i:i + size - 4]
        equal(len(set(some)), len(some), f"distinct ports from call {i} on")


def test_killed_random():
    """the same with random: afterwards all of the set is drawn from"""
    ports, size = killed("random")
    # 100 draws of 64 leave about 13 out, and hardly ever 30.
    assert len(set(ports)) > size - 30, sorted(set(ports))


if __name__ == "__main__":
    berthtest.main()
