# SPDX-License-Identifier: MIT
"""What steering must not do to a program: every result and errno as without berth, sockets as they
were, and counters that are exact. A case runs plainly and under policies, and says the same."""
import os
import socket
import subprocess
import tempfile
from socket import AF_INET, AF_INET6

import berthtest
from berthtest import (LIBBERTH, Observed, Server, Skip, berth, equal, fresh_namespace,
                       full_listener, need, policy, program, sysctl)
from steertest import (BY_BIND, BY_RANGE, EVERY_WAY, FROM_POOL, FROM_POOL_BY_BIND, MACHINES, SET,
                       counters, same, script, steered)


# --- arguments that the kernel refuses --------------------------------------------------------


def test_bind_refuses_as_bare():
    """bind() to port 0 with a wrong family, length or pointer fails as without a policy."""
    same("""
        import mmap
        page = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(page))
        libc.mprotect(ctypes.c_void_p(base + mmap.PAGESIZE), mmap.PAGESIZE, 0)
        def at_end(data):
            at = base + mmap.PAGESIZE - len(data)
            ctypes.memmove(at, data, len(data))
            return ctypes.c_void_p(at)
        pad = bytes(200)
        unspec = lambda a: struct.pack('=H', 0) + in4(0, a)[2:]
        for name, data, size in (
                ('in4', in4(0), 16), ('in4 long', in4(0) + pad, 128),
                ('in4 too long', in4(0) + pad, 129),
                ('in4 huge', in4(0) + pad, -1), ('in4 short', in4(0), 15), ('none', in4(0), 0),
                ('in4 for 24', in4(0) + pad, 24), ('in4 for 28', in4(0) + pad, 28),
                ('in6', in6(0), 28), ('in6 rfc2133', in6(0), 24), ('in6 short', in6(0), 23),
                ('in6 too long', in6(0) + pad, 129), ('any', in4(0, '0.0.0.0'), 16),
                ('any6', in6(0, '::'), 28), ('mapped', in6(0, '::ffff:127.0.0.1'), 28),
                ('link-local', in6(0, 'fe80::1'), 28), ('foreign', in4(0, '10.9.8.7'), 16),
                ('foreign6', in6(0, 'fd00::77'), 28), ('multicast', in6(0, 'ff02::1'), 28),
                ('unspec any', unspec('0.0.0.0'), 16), ('unspec', unspec('127.0.0.1'), 16)):
            for family in AF_INET, AF_INET6:
                for kind in SOCK_STREAM, SOCK_DGRAM:
                    for only in ((0, 1) if family == AF_INET6 else (0,)):
                        with socket(family, kind) as s:
                            if only:
                                s.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
                            print(name, family, kind, only, bind(s, data, size))
        for size in 16, 17, 28, 128:
            with socket() as s:
                print('at the end', size, outcome(libc.bind(s.fileno(), at_end(in4(0)), size)))
        for pointer in 0, 1, base + mmap.PAGESIZE, -4096:
            with socket() as s:
                print('bad', pointer == base + mmap.PAGESIZE or pointer,
                      outcome(libc.bind(s.fileno(), ctypes.c_void_p(pointer), 16)))
        with socket() as s:
            print('twice', bind(s, in4(0)), bind(s, in4(0)))
        with socket() as s, socket() as l:
            l.bind(('127.0.0.1', 0)); l.listen()
            s.connect(l.getsockname())
            print('connected', bind(s, in4(0)))
        for number in 777, 0:
            print('no socket', outcome(libc.bind(number, in4(0), 16)))
    """, ways=(BY_RANGE, BY_BIND), stdin=subprocess.DEVNULL)


def test_connect_refuses_as_bare():
    """connect() with a wrong family, length or pointer fails as without a policy."""
    with Server() as server:
        same("""
            import mmap
            page = mmap.mmap(-1, 2 * mmap.PAGESIZE)
            base = ctypes.addressof(ctypes.c_char.from_buffer(page))
            libc.mprotect(ctypes.c_void_p(base + mmap.PAGESIZE), mmap.PAGESIZE, 0)
            def at_end(data):
                at = base + mmap.PAGESIZE - len(data)
                ctypes.memmove(at, data, len(data))
                return ctypes.c_void_p(at)
            pad = bytes(200)
            for name, data, size in (
                    ('in4 long', in4(port) + pad, 128), ('in4 too long', in4(port) + pad, 129),
                    ('huge', in4(port) + pad, -1), ('short', in4(port), 15), ('one', in4(port), 1),
                    ('none', in4(port), 0), ('in4 for 28', in4(port) + pad, 28),
                    ('in6', in6(1), 28), ('in6 rfc2133', in6(1), 24), ('in6 short', in6(1), 23),
                    ('mapped', in6(port, '::ffff:127.0.0.1'), 28),
                    ('any', in4(port, '0.0.0.0'), 16),
                    ('no route', in4(port, '10.9.8.7'), 16), ('no route', in6(port, 'fd00::1'), 28),
                    ('port 0', in4(0), 16), ('link-local', in6(port, 'fe80::1'), 28),
                    ('link-local', in6(port, 'fe80::1', 1), 28),
                    ('no link', in6(port, 'fe80::1', 99), 28)):
                for family in AF_INET, AF_INET6:
                    for kind in SOCK_STREAM, SOCK_DGRAM:
                        for only in ((0, 1) if family == AF_INET6 else (0,)):
                            with socket(family, kind) as s:
                                if only:
                                    s.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
                                print(name, family, kind, only, connect(s, data, size))
            for size in 16, 17, 28, 128:
                with socket() as s:
                    at = at_end(in4(port))
                    print('at the end', size, outcome(libc.connect(s.fileno(), at, size)))
            for pointer in 0, 1, base + mmap.PAGESIZE, -4096:
                with socket() as s:
                    print('bad', pointer == base + mmap.PAGESIZE or pointer,
                          outcome(libc.connect(s.fileno(), ctypes.c_void_p(pointer), 16)))
            with socket() as s:
                print('twice', connect(s, in4(port)), connect(s, in4(port)), connect(s, in4(1)))
            with socket() as l:
                l.bind(('127.0.0.1', 0)); l.listen()
                print('listening', connect(l, in4(port)))
        """, server.port, ways=EVERY_WAY)


# --- signals ----------------------------------------------------------------------------------

INTERRUPTED = """
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.siginterrupt(signal.SIGALRM, True)
    for _ in range(3):
        s = socket()
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        print(connect(s, in4(port)), connect(s, in4(port)))
        signal.setitimer(signal.ITIMER_REAL, 0)
        s.setblocking(False)
        print(connect(s, in4(port)), port_of(s) != 0)
"""


def test_interrupted():
    """a blocking connect that a signal interrupts goes on, once and twice, as without a policy"""
    with full_listener() as listener:
        for o in same(INTERRUPTED, listener.getsockname()[1]):
            equal([(e["berth.call"], e["error.type"], e["berth.chosen_by"]) for e in o.events],
                  3 * [("connect", "EINTR", "policy")], "events")


# --- sockets that nobody saw made -------------------------------------------------------------

# Ways to come by a descriptor of which no hook saw the socket made.
UNSEEN = """
def duplicate(s):
    with s:
        return socket(fileno=os.dup(s.fileno()))
def received(s):
    a, b = socketpair()
    sockets.send_fds(a, [b'x'], [s.fileno()])
    s.close()
    return socket(fileno=sockets.recv_fds(b, 9, 1)[1][0])
WAYS = [lambda s: s, duplicate, received]
"""


def test_program_keeps_its_address():
    """A socket that the program bound to an address, with a port or none, keeps it: by whichever
    descriptor, and after connections that were refused or dissolved."""
    with Server() as server:
        for rule in EVERY_WAY:
            o = steered(UNSEEN + """
for way in WAYS:
    for puts_off in 0, 1:
        for first in (), (1,), (1, 1), (port, 0), (1, port, 0):
            for blocking in True, False:
                s = socket()
                s.setsockopt(IPPROTO_IP, NO_PORT, puts_off)
                s.bind(('127.0.0.9', 0))
                s = way(s)
                s.setblocking(blocking)
                for to in *first, port, port: # the first may tell of a refusal
                    connect(s, in4(to) if to else bytes(16))
                    settle(s)
                address, got = s.getsockname()
                print(WAYS.index(way), puts_off, *first, address, 41000 <= got < 41100 or not first)
                s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))
                s.close()
            """, server.port, rules=[{**rule, "match": {"to": "127.0.0.0/8"}}])
            lines = o.process.stdout.splitlines()
            equal(len(lines), 60)
            equal([line for line in lines if not line.endswith(" 127.0.0.9 True")], [], str(rule))


def test_datagrams_keep_their_address():
    """... a datagram socket"""
    for o in same("""
        for puts_off in 0, 1:
            for sends in 0, 1:
                s = socket(AF_INET, SOCK_DGRAM)
                s.setsockopt(IPPROTO_IP, NO_PORT, puts_off)
                s.bind(('127.0.0.9', 0))
                if sends:
                    s.sendto(b'x', ('127.0.0.1', 9))
                print([(connect(s, in4(to) if to else bytes(16)), s.getsockname()[0])
                       for to in (9, 0, 10)])
    """):
        equal(o.process.stdout.count("127.0.0.9"), 12)


def test_leftover_address_is_no_bound_one():
    """A socket that is bound to no address leaves from another one towards another peer."""
    with Server() as server:
        same("""
            for puts_off in None, 0, 1:
                s = socket()
                if puts_off is not None:
                    s.setsockopt(IPPROTO_IP, NO_PORT, puts_off)
                    s.bind(('', 0))
                print(connect(s, in4(1)), connect(s, in4(1, '127.0.0.6')), s.getsockname()[0],
                      connect(s, in4(port)), s.getsockname()[0])
        """, server.port, ways=(BY_RANGE,))


def test_own_range_of_unseen_sockets():
    """IP_LOCAL_PORT_RANGE that the program set is left alone, by whichever descriptor."""
    with Server() as server:
        o = steered(UNSEEN + """
for way in WAYS:
    s = socket()
    s.setsockopt(IPPROTO_IP, RANGE, struct.pack('=I', 40123 << 16 | 40123))
    s = way(s)
    s.connect_ex(('127.0.0.1', 1))
    s.connect(('127.0.0.1', port))
    print(port_of(s), s.getsockopt(IPPROTO_IP, RANGE, 4) == struct.pack('=I', 40123 << 16 | 40123))
    s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))
    s.close()
            """, server.port)
        equal(o.process.stdout, "40123 True\n" * 3)
        equal({e.get("berth.unsteered") for e in o.calls("connect")}, {"own_range"})


# After a connection that a rule took, to `port`, and its end: the option, and where another one, to
# `other`, leaves from, by each of the ways that a socket goes. A child tells what it sees by a pipe.
GONE_ON = UNSEEN + """
import fcntl
def by_fcntl(s):
    with s:
        return socket(fileno=fcntl.fcntl(s.fileno(), fcntl.F_DUPFD_CLOEXEC, 100))
def over(s):
    number = socket().detach()
    os.dup2(s.fileno(), number)
    s.close()
    return socket(fileno=number)
def go_on(s, other):
    had, option = port_of(s), s.getsockopt(IPPROTO_IP, RANGE)
    ends = connect(s, bytes(16)), connect(s, in4(other))
    settle(s)
    return option, *ends, s.getsockopt(SOL_SOCKET, SO_ERROR), port_of(s) == had
def forked(s, other):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, repr(go_on(s, other)).encode())
        os._exit(0)
    os.wait()
    return os.read(reader, 999)
def executed(s, other):
    import subprocess
    code = source[:source.index('# from here')] + f'print(go_on(socket(fileno={s.fileno()}), {other}))'
    return subprocess.run([sys.executable, '-c', code, str(port)], pass_fds=[s.fileno()],
                          capture_output=True, text=True).stdout
with open('/proc/self/cmdline') as f:
    source = f.read().split('\\0')[2]
# from here
"""


def test_other_descriptors_of_a_connection():
    """A connection that a rule took leaves nothing behind on its socket, by whichever descriptor the
    program goes on with it."""
    with Server() as server, Server() as other:
        rules = [{**rule, "match": {"to": [f"*:{server.port}", "*:1"]}}
                 for rule in (BY_RANGE, {**BY_RANGE, "via": "range", "order": "kernel"})]
        same(GONE_ON + f"""
for first in port, 1:
    for blocking in True, False:
        for way in *WAYS, by_fcntl, over:
            s = socket()
            s.setblocking(blocking)
            connect(s, in4(first))
            print(go_on(way(s), {other.port}))
        for way in forked, executed:
            s = socket()
            s.setblocking(blocking)
            connect(s, in4(first))
            print(way(s, {other.port}))
        """, server.port, ways=rules)


def test_unseen_sockets_with_a_port():
    """A received socket that is bound, listens or is connected is left as it is."""
    with Server() as server:
        same(UNSEEN + """
for way in WAYS:
    for refused in False, True:
        s = socket()
        s.bind(('127.0.0.1', 40321))
        s = way(s)
        if refused:
            print(connect(s, in4(1)))
        print(connect(s, in4(port)), port_of(s), connect(s, in4(port)), connect(s, in4(1)))
        s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))
        s.close()
        """, server.port)


def test_stale_memory_of_a_descriptor():
    """A number of which the socket was closed behind berth's back changes no result."""
    with Server() as server:
        same("""
            libc.fdopen.restype = ctypes.c_void_p
            a, b = socketpair()
            def stale(kind, s):
                sockets.send_fds(a, [b'x'], [s.fileno()])
                f = socket(AF_INET, kind).detach()
                libc.fclose(ctypes.c_void_p(libc.fdopen(f, b'r')))
                got = sockets.recv_fds(b, 9, 1)[1][0]
                assert got == f
                return socket(fileno=got)
            s = socket(); s.connect(('127.0.0.1', port))
            print('connected', connect(stale(SOCK_STREAM, s), in4(port)))
            s = socket(); s.bind(('127.0.0.1', 40333))
            t = stale(SOCK_STREAM, s)
            print('bound', connect(t, in4(port)), port_of(t))
            t.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))
            s.close(); t.close()
            s = socket(); s.listen()
            print('listening', connect(stale(SOCK_STREAM, s), in4(port)))
            print('unix', connect(stale(SOCK_STREAM, socket(AF_UNIX)), in4(port)))
            print('datagram', connect(stale(SOCK_STREAM, socket(AF_INET, SOCK_DGRAM)), in4(port)))
        """, server.port)


def test_stale_kind_where_ports_are_held():
    """... nor where the first port of the set is somebody's: the socket is steered as what it is."""
    fresh_namespace()  # in which no connection of a test before waits with the other port
    held = {"local_ports": "41000-41001", "order": "sequential", "via": "range"}
    fresh_namespace()  # where no connection of another test's has these ports
    with Server() as server, socket.socket() as tcp, \
            socket.socket(AF_INET, socket.SOCK_DGRAM) as udp:
        for holder in tcp, udp:
            holder.bind(("0.0.0.0", 41000))
        tcp.listen()
        for o in same("""
            libc.fdopen.restype = ctypes.c_void_p
            for real in ((AF_INET, SOCK_STREAM), (AF_INET, SOCK_DGRAM), (AF_INET, SOCK_RAW, 1),
                         (AF_UNIX, SOCK_STREAM), (AF_UNIX, SOCK_DGRAM)):
                for seen in SOCK_STREAM, SOCK_DGRAM:
                    s = socket(*real)
                    f = socket(AF_INET, seen).detach()
                    libc.fclose(ctypes.c_void_p(libc.fdopen(f, b'r')))
                    stale = libc.dup(s.fileno())
                    s.close()
                    print(stale == f, outcome(libc.connect(stale, in4(port), 16)))
                    s = socket(fileno=stale)
                    s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))
                    print(s.getsockopt(SOL_SOCKET, SO_REUSEADDR),
                          s.getsockopt(IPPROTO_IP, RANGE) if real == (AF_INET, SOCK_DGRAM) else '')
                    s.close()
        """, server.port, ways=(held,)):
            equal([(e["network.transport"], e["network.local.port"], e["berth.chosen_by"])
                   for e in o.calls("connect")][:4],
                  [("tcp", 41001, "policy")] * 2 + [("udp", 41001, "policy")] * 2)


def test_raw_sockets():
    """Raw sockets have no port, whatever protocol they carry."""
    for o in same("""
        for family, any in (AF_INET, in4(0, '0.0.0.0')), (AF_INET6, in6(0, '::')):
            for protocol in IPPROTO_TCP, IPPROTO_UDP:
                for first in 0, 1:
                    s = socket(family, SOCK_RAW, protocol)
                    if first:
                        print(bind(s, any))
                    print(connect(s, in4(99) if family == AF_INET else in6(99)), port_of(s))
    """):
        equal(counters(o), {})
        equal({e["network.local.port"] for e in o.events}, {0}, "ports")


def test_raw_sockets_by_whichever_descriptor():
    """... also where nobody saw them made, nor is there a rule."""
    o = steered(UNSEEN + """
for way in WAYS:
    for protocol in IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP:
        s = way(socket(AF_INET, SOCK_RAW, protocol))
        print(connect(s, in4(99)))
        s.sendto(bytes(8), ('127.0.0.1', 0))
    """, rules=[{"match": {"to": "10.0.0.0/8"}}])
    equal(o.process.stdout, "ok\n" * 9)
    equal({e["network.local.port"] for e in o.events}, {0})


# --- again on the same socket -----------------------------------------------------------------


def test_again_after_a_refusal():
    """Connections that are refused, however and by whichever protocol, and are begun again on the
    same socket: as bare, and steered each time by range."""
    with Server() as server, Server(AF_INET6) as other:
        for o in same("""
            MPTCP = 262
            for family, protocol in (AF_INET, 0), (AF_INET6, 0), (AF_INET, MPTCP):
                at = in4 if family == AF_INET else in6
                up = port if family == AF_INET else int(sys.argv[2])
                for blocking in True, False:
                    for asks in False, True:
                        try:
                            s = socket(family, SOCK_STREAM, protocol)
                        except OSError:
                            continue
                        s.setblocking(blocking)
                        said = []
                        for to in 1, 1, 1, up, up:
                            said.append(connect(s, at(to)))
                            settle(s)
                            if asks:
                                said.append(s.getsockopt(SOL_SOCKET, SO_ERROR))
                        print(family, protocol, blocking, asks, *said)
        """, server.port, other.port,
                      # A port stays the socket's: one that an earlier socket used would have its
                      # connection to the other destination in TIME_WAIT.
                      ways=(BY_RANGE, {"local_ports": ["22000-22999"], "via": "bind",
                                       "order": "sequential"})):
            equal([e for e in o.calls("connect") if e["berth.chosen_by"] != "policy"], [])
            c = counters(o)
            equal((c["claimed"], c["outside"]), (c["matched"], 0))


def test_again_after_a_dissolution():
    """connect(AF_UNSPEC) and another connect()."""
    with Server() as server:
        for o in same("""
            unspec = bytes(16)
            for kind in SOCK_STREAM, SOCK_DGRAM:
                s = socket(AF_INET, kind)
                print(connect(s, in4(port)), connect(s, unspec), connect(s, unspec),
                      connect(s, in4(port)), connect(s, unspec), connect(s, in4(1)),
                      connect(s, in4(port)))
        """, server.port, ways=(BY_RANGE, BY_BIND)):
            equal([e for e in o.calls("connect") if e["berth.chosen_by"] != "policy"], [])


def test_both_families_after_a_refusal():
    """A socket that had an IPv6 address of the pool, and got no connection from it, goes to IPv4."""
    with Server() as server:
        same("""
            s = socket(AF_INET6)
            print(connect(s, in6(1)), s.getsockopt(IPPROTO_IPV6, IPV6_V6ONLY),
                  connect(s, in6(port, '::ffff:127.0.0.1')))
        """, server.port, ways=(FROM_POOL,))


def test_both_families_where_no_port_is_free():
    """... and one to which the kernel gave the port, since the set had none."""
    rule = {"local_addresses": ["::1"], "local_ports": "42000", "exhausted": "kernel"}
    with socket.socket(AF_INET6, socket.SOCK_DGRAM) as holder:
        holder.bind(("::", 42000))
        same("""
            s = socket(AF_INET6, SOCK_DGRAM)
            for address in '::1', '::ffff:127.0.0.1':
                print(libc.sendto(s.fileno(), b'x', 1, 0, in6(9, address), 28),
                      s.getsockopt(IPPROTO_IPV6, IPV6_V6ONLY))
        """, ways=(rule, {**rule, "via": "bind"}))


def test_listen_after_a_dissolution():
    """connect(AF_UNSPEC) and listen(): the port is chosen anew, from the machine's range."""
    with Server() as server:
        for o in same("""
            for duplicate, blocks in (lambda fd: fd, True), (lambda fd: fd, False), (os.dup, True):
                s = socket()
                s.setblocking(blocks)
                print(connect(s, in4(port)))
                settle(s)
                before = port_of(s)
                print(connect(s, bytes(16)), libc.listen(duplicate(s.fileno()), 1))
                print(port_of(s) != before)
        """, server.port, ways=(BY_RANGE,)):
            equal({e["berth.chosen_by"] for e in o.calls("listen")}, {"kernel"})


def test_who_chose_is_who_gave_the_port():
    """A port that stays with the socket, by bind or of a datagram: later events name the rule that gave
    it, and each rule counts its own."""
    rules = [{"name": "first", "match": {"to": "127.0.0.1:9"}, **BY_BIND},
             {"name": "second", "match": {"to": "127.0.0.1:10"}, "local_ports": "42000-42099"},
             {"name": "nothing", "match": {"to": "127.0.0.1:11"}}]
    o = steered("""
        s = socket(AF_INET, SOCK_DGRAM)
        for to in 9, 10, 11, 9:
            print(connect(s, in4(to)), connect(s, bytes(16)))
    """, rules=rules)
    equal([(e["berth.chosen_by"], e["berth.rule"]) for e in o.calls("connect")],
          [("policy", "first")] * 4)
    equal({r["name"]: (r["matched"], r["claimed"], r["outside"]) for r in o.stats[0]["rules"]},
          {"first": (2, 2, 0), "second": (1, 0, 1), "nothing": (1, 0, 0)})


def test_rule_that_steers_nothing():
    """The port of a bind to port 0 is the rule's that gave it, not of one that steers nothing."""
    with Server() as server:
        o = steered("""
            s = socket()
            s.bind(('127.0.0.1', 0))
            s.connect(('127.0.0.1', port))
        """, server.port, rules=[{"name": "out", "match": {"to": "*"}},
                                 {"name": "listen", "local_ports": SET}])
    equal([(e["berth.chosen_by"], e["berth.rule"]) for e in o.events], [("policy", "listen")] * 2)
    equal({r["name"]: (r["matched"], r["claimed"]) for r in o.stats[0]["rules"]},
          {"listen": (1, 1), "out": (1, 0)})


def test_datagrams_again():
    """A UDP socket that goes on with the port that a rule gave it: the policy chose it."""
    for o in same("""
        s = socket(AF_INET, SOCK_DGRAM)
        print(connect(s, in4(9)), connect(s, in4(10)), connect(s, in4(11)))
        s = socket(AF_INET, SOCK_DGRAM)
        s.sendto(b'x', ('127.0.0.1', 9))
        s.sendto(b'x', ('127.0.0.1', 10))
        print(connect(s, in4(10)), connect(s, in4(11)))
        s = socket(AF_INET, SOCK_DGRAM)
        s.bind(('127.0.0.1', 0))
        s.sendto(b'x', ('127.0.0.1', 9))
        print(connect(s, in4(10)), connect(s, in4(11)))
    """, ways=(BY_RANGE, BY_BIND)):
        equal([e["berth.chosen_by"] for e in o.events], ["policy"] * len(o.events))


# --- late_bind --------------------------------------------------------------------------------

LATE = {"more": {"late_bind": ["python*"]}}


def test_late_bind_leaves_who_puts_off_itself():
    """late_bind: a program that sets IP_BIND_ADDRESS_NO_PORT itself finds no port before connect,
    and its option as it was."""
    with Server() as server:
        same("""
            s = socket()
            s.setsockopt(IPPROTO_IP, NO_PORT, 1)
            s.bind(('127.0.0.3', 0))
            print(s.getsockname(), s.getsockopt(IPPROTO_IP, NO_PORT))
            s.connect(('127.0.0.1', port))
            print(s.getsockname()[0], s.getsockopt(IPPROTO_IP, NO_PORT))
        """, server.port, ways=(BY_RANGE, BY_BIND), **LATE)


def test_late_bind_asked():
    """late_bind: a port that getsockname() fixed is the policy's, and stays."""
    with Server() as server:
        for rule in BY_RANGE, BY_BIND:
            o = steered("""
                s = socket()
                s.bind(('127.0.0.3', 0))
                a = s.getsockname()
                s.connect(('127.0.0.1', port))
                print(a == s.getsockname(), 41000 <= a[1] < 41100)
                l = socket()
                l.bind(('127.0.0.3', 0))
                l.listen()
                print(41000 <= port_of(l) < 41100)
            """, server.port, rules=[rule], **LATE)
            equal(o.process.stdout, "True True\nTrue\n")
            equal([e["berth.chosen_by"] for e in o.calls("connect", "listen")], ["policy"] * 2)
            c = counters(o)
            equal((c["outside"], c["exhausted"]), (0, 0))


def test_late_bind_without_ports():
    """late_bind: where the set is used up, listen() fails rather than take another port."""
    for rule in {"local_ports": ["43100"]}, {"local_ports": ["43100"], "exhausted": "kernel"}:
        o = steered("""
            a, b = socket(), socket()
            for s in a, b:
                s.bind(('127.0.0.3', 0))
                print(outcome(libc.listen(s.fileno(), 5)), port_of(s) == 43100)
        """, rules=[rule], **LATE)
        equal(o.process.stdout, "ok True\nok False\n" if "exhausted" in rule else
              "ok True\nEADDRINUSE False\n")
        c = counters(o)
        equal((c["matched"], c["claimed"], c["exhausted"]), (2, 1, 1))


# --- calls that choose no port ----------------------------------------------------------------


def test_calls_that_choose_nothing():
    """sendmmsg() of no messages, and sends on a stream socket without a peer, bind nothing."""
    same("""
        class msghdr(ctypes.Structure):
            _fields_ = [(n, t) for n, t in (('name', ctypes.c_char_p), ('size', ctypes.c_uint),
                        ('iov', ctypes.c_void_p), ('n', ctypes.c_size_t),
                        ('control', ctypes.c_void_p),
                        ('controls', ctypes.c_size_t), ('flags', ctypes.c_int))]
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        m = msghdr(in4(9), 16)
        u = socket(AF_INET, SOCK_DGRAM)
        print(libc.sendmmsg(u.fileno(), ctypes.byref(m), 0, 0), port_of(u))
        t = socket()
        for s in t, socket(fileno=os.dup(t.fileno())):
            print(outcome(libc.sendto(s.fileno(), b'x', 1, 0, in4(9), 16)), port_of(s))
            print(outcome(libc.sendmsg(s.fileno(), ctypes.byref(m), 0)), port_of(s))
            print(outcome(libc.sendto(s.fileno(), b'x', 1, 0, in4(9), 200)), port_of(s))
        for size in 200, 129, -1, 15:
            u = socket(AF_INET, SOCK_DGRAM)
            to = in4(9) + bytes(200)
            print(size, outcome(libc.sendto(u.fileno(), b'x', 1, 0, to, size)), port_of(u) != 0)
    """, ways=(BY_RANGE, BY_BIND))


def test_strict_refuses_what_it_could_steer():
    """BERTH_STRICT without its policy: EPERM for TCP and UDP, nothing else."""
    run = subprocess.run(["env", "LD_PRELOAD=" + LIBBERTH, "BERTH_RECORD=off", "BERTH_STRICT=1",
                          "BERTH_POLICY=/nowhere", *script("""
        def say(*s):
            print(*s)
        with socket(AF_INET, SOCK_RAW, IPPROTO_TCP) as raw:
            say('raw', connect(raw, in4(9)), bind(raw, in4(0)))
        try:
            say('sctp', connect(socket(AF_INET, SOCK_STREAM, 132), in4(9)) != 'EPERM')
        except OSError:
            say('sctp', True)
        u, t = socket(AF_INET, SOCK_DGRAM), socket()
        say(connect(u, in4(9)), connect(t, in4(9)), bind(t, in4(0)), bind(t, in4(44444)))
        nowhere = struct.pack('=H', AF_UNIX) + b'/nowhere'
        say(connect(u, bytes(16)), connect(socket(AF_UNIX), nowhere))
    """)], capture_output=True, text=True)
    equal(run.stdout, "raw ok EINVAL\nsctp True\nEPERM EPERM EPERM ok\nok ENOENT\n")


def test_tries_end_the_addresses():
    """Where `tries` are used up none of the other addresses is bound to."""
    strace, = need("strace")
    rule = {"local_ports": 45123, "local_addresses": "127.1.0.0/16", "tries": 4}
    with policy(rule) as file, tempfile.TemporaryDirectory() as folder:
        run = berth("run", "-q", "-P", file, "--", strace, "-f", "-e", "trace=bind",
                    "-o", folder + "/calls", *script("""
            held = socket()
            libc.bind(held.fileno(), in4(45123, '0.0.0.0'), 16)
            held.listen()
            s = socket()
            print(connect(s, in4(9)), flush=True)
        """))
        equal((run.returncode, run.stdout), (0, "EADDRNOTAVAIL\n"), run.stderr)
        with open(folder + "/calls", encoding="ascii") as f:
            binds = f.read().count("bind(")
        assert 4 <= binds < 30, binds


# --- berth itself -----------------------------------------------------------------------------


def test_policy_of_no_command():
    """berth run --exec of what cannot be executed leaves no policy and no recording behind."""
    with tempfile.TemporaryDirectory() as folder, policy(BY_RANGE) as file:
        places = dict(os.environ, XDG_RUNTIME_DIR=folder)
        run = berth("run", "--exec", "-P", file, "--", folder + "/none", env=places)
        equal((run.returncode, os.listdir(folder + "/berth")), (127, []))
        run = berth("run", "--exec", "-P", file, "--record", folder + "/r", "--", folder + "/none")
        equal((run.returncode, sorted(os.listdir(folder))), (127, ["berth", "r"]))


# --- who has the 4-tuple ----------------------------------------------------------------------


def test_shared_ports():
    """By bind, of two ports the second is taken where the first has a connection to the same place:
    to 0.0.0.0, with SO_REUSEPORT, bound to a device; none is stuck."""
    low = 23000  # outside the machine's range: what closed a moment ago has none of these
    for setting in ("", "s.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)",
                    "s.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, b'lo')"):
        for family, address in ((AF_INET, "0.0.0.0"), (AF_INET, "127.0.0.1"), (AF_INET6, "::"),
                                (AF_INET6, "::1"), (AF_INET6, "::ffff:127.0.0.1")):
            low += 2
            listens = AF_INET6 if family == AF_INET6 and "." not in address else AF_INET
            with Server(listens) as server:
                o = steered(f"""
                    all = []
                    for _ in range(2):
                        s = socket({int(family)})
                        {setting}
                        all.append(s)
                        print(s.connect_ex(({address!r}, port)))
                """, server.port, rules=[{"local_ports": [f"{low}-{low + 1}"], "via": "bind",
                                          "order": "random-start"}])
            equal(o.process.stdout, "0\n0\n", f"{address} {setting}")
            equal(counters(o)["stuck"], 0)


# --- what kernels lack and sandboxes forbid ---------------------------------------------------


def sandboxed(code, *arguments, **options):
    if os.uname().machine not in MACHINES:
        raise Skip("numbers of system calls are not known here")
    return steered(code, *arguments, **options)


def test_without_the_range():
    """Where the kernel does not know IP_LOCAL_PORT_RANGE the first connection is steered too."""
    for order in "random", "kernel", "sequential":
        for ports in "41100", "41101-41200":
            for error in "ENOPROTOOPT", "EPERM":
                with Server() as server:
                    o = sandboxed(f"""
                        forbid('setsockopt', errno.{error}, 0, RANGE)
                        s = socket()
                        s.connect(('127.0.0.1', port))
                        s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))
                    """, server.port, rules=[{"local_ports": [ports], "order": order}])
                equal([(e["berth.chosen_by"], e["berth.via"], e["berth.tries"])
                       for e in o.calls("connect")], [("policy", "bind", 1)])
                equal(counters(o)["claimed"], 1)


def test_forbidden_option():
    """A rule by range alone, where a sandbox forbids the option: the call leaves, and it is said."""
    with Server() as server:
        o = sandboxed("""
            forbid('setsockopt', errno.ENOPROTOOPT, 0, RANGE)
            print(connect(socket(), in4(port)))
        """, server.port, rules=[{"local_ports": [SET], "via": "range"}])
        equal(o.process.stdout, "ok\n")
        equal([e.get("berth.unsteered") for e in o.calls("connect")], ["forbidden"])
        c = counters(o)
        equal((c["matched"], c["claimed"], c["exhausted"], c["forbidden"]), (1, 0, 0, 1))


def test_privileged_ports():
    """A set that begins below ip_unprivileged_port_start: each call gets a port that it may have."""
    may_not = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]
    for start in 1024, 2000, 30000:
        fresh_namespace()
        sysctl("ipv4.ip_unprivileged_port_start", str(start))
        rule = {"local_ports": f"{start - 100}-{start + 4}", "order": "sequential"}
        with Server() as server, policy(rule) as file:
            o = Observed([*may_not, *program("""
                s, b = socket(), socket()
                b.bind(("127.0.0.1", 0))
                s.connect(("127.0.0.1", int(sys.argv[1])))
                print(b.getsockname()[1], s.getsockname()[1])
            """, server.port)], "-P", file)
        equal(o.process.stderr, "", str(start))
        ports = [int(word) for word in o.process.stdout.split()]
        assert all(start <= port <= start + 4 for port in ports), (start, ports)


def test_autobind_reuse():
    """ip_autobind_reuse=1: bind() to port 0 with SO_REUSEADDR shares a port of a set that is used up."""
    for reuse, want in ("0", "EADDRINUSE"), ("1", "40000"):
        fresh_namespace()
        sysctl("ipv4.ip_autobind_reuse", reuse)
        with policy({"local_ports": "40000"}) as file:
            o = Observed(program("""
                for _ in range(2):
                    s = socket(); s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
                    try:
                        s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])
                    except OSError as e:
                        print(errno.errorcode[e.errno])
                    kept = globals().setdefault("kept", []); kept.append(s)
            """), "-P", file)
        equal(o.process.stdout.split(), ["40000", want], f"ip_autobind_reuse={reuse}")


def test_shared_port_of_a_listener():
    """A client with SO_REUSEPORT, by bind: not the port of a listener that has it too."""
    with Server() as server:
        o = sandboxed("""
            one = socket(); one.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
            one.bind(("0.0.0.0", 20000)); one.listen()
            s = socket(); s.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
            s.connect(("127.0.0.1", port))
            print(s.getsockname()[1], s.getsockopt(SOL_SOCKET, SO_REUSEPORT))
        """, server.port, rules=[{"local_ports": "20000-20003", "via": "bind",
                                  "order": "sequential", "match": {"to": "127.0.0.0/8"}}])
        port, shares = o.process.stdout.split()
        equal((port != "20000", shares), (True, "1"), o.process.stdout)


def test_forbidden_bind():
    """Where a sandbox forbids bind(), a rule that needs it leaves the call to the kernel."""
    with Server() as server:
        for rule in BY_BIND, FROM_POOL, FROM_POOL_BY_BIND:
            o = sandboxed("""
                forbid('bind', errno.EPERM)
                print(connect(socket(), in4(port)))
            """, server.port, rules=[{**rule, "local_ports": ["20000-20099"]}])
            equal(o.process.stdout, "ok\n")
            equal([e["berth.chosen_by"] for e in o.calls("connect")], ["kernel"])
            c = counters(o)
            equal((c["matched"], c["claimed"], c["exhausted"], c["outside"]), (1, 0, 0, 1))


def test_forbidden_questions():
    """Sandboxes that forbid getsockopt() or setsockopt() change no result."""
    with Server() as server:
        for call in "getsockopt", "setsockopt", "socket":
            for rule in EVERY_WAY:
                o = sandboxed(f"""
                    s, u, n = socket(), socket(AF_INET, SOCK_DGRAM), socket()
                    n.setblocking(False)
                    print(os.getpid(), file=open('/dev/null', 'w'))
                    forbid({call!r}, errno.EPERM)
                    print(connect(s, in4(port)), connect(s, in4(port)), connect(u, in4(port)))
                    print(connect(n, in4(port)))
                    settle(n)
                    print(connect(n, in4(port)))
                """, server.port, rules=[rule])
                equal(o.process.stdout, "ok EISCONN ok\nEINPROGRESS\nok\n", f"{call} {rule}")


def test_forbidden_look():
    """Where getsockopt() is forbidden, a call is steered without it, or its event says why not."""
    with Server() as server:
        for rule in EVERY_WAY:
            o = sandboxed("""
                s, u, b = socket(), socket(AF_INET, SOCK_DGRAM), socket(AF_INET, SOCK_DGRAM)
                forbid('getsockopt', errno.EPERM)
                print(connect(s, in4(port)), connect(u, in4(port)), bind(b, in4(0)))
            """, server.port, rules=[rule])
            equal(o.process.stdout, "ok ok ok\n", str(rule))
            for e in o.calls("connect"):
                told = e.get("berth.unsteered") == "forbidden"
                equal(told, e["berth.chosen_by"] != "policy", f"{rule}: {e}")
            equal(counters(o)["outside"] <= counters(o)["forbidden"], True, str(rule))


if __name__ == "__main__":
    berthtest.main()
