# SPDX-License-Identifier: MIT
"""What no hook sees, or what changes under a running program: a bind elsewhere, a close by libc, an
option that is refused, another range. The next connections are steered as before."""
import os

import berthtest
from berthtest import Server, Skip, equal, fresh_namespace
from steertest import BY_BIND, BY_RANGE, MACHINES, SET, counters, steered

# Ways by which a socket gets a port, or goes, without a hook.
UNSEEN = """
close, socket_, bind_, unshare_ = dict(x86_64=(3, 41, 49, 272), aarch64=(57, 198, 200, 97))[
    os.uname().machine]
def raw(s):
    assert libc.syscall(bind_, s.fileno(), in4(20123), 16) == 0
def forked(s):
    if os.fork() == 0:
        os._exit(libc.bind(s.fileno(), in4(20123), 16))
    assert os.wait()[1] == 0
def by_another_number(s):
    with socket(fileno=os.dup(s.fileno())) as other:
        other.bind(('127.0.0.1', 20123))
def reserved(s):
    assert libc.bindresvport(s.fileno(), None) == 0
def connected():
    'The port of one connection.'
    s = socket()
    s.connect(('127.0.0.1', port))
    KEPT.append(s)
    return port_of(s)
KEPT = []
"""


def need_calls():
    if os.uname().machine not in MACHINES:
        raise Skip("the calls' numbers are not known here")


def told(o):
    return [(e["berth.chosen_by"], e.get("berth.via")) for e in o.calls("connect")]


def bound_unseen(how):
    """One connection of a socket that was bound so, between two others."""
    need_calls()
    for rule, via in (BY_RANGE, "range"), (BY_BIND, "bind"):
        with Server() as server:
            o = steered(UNSEEN + f"""
connected()
s = socket(); {how}(s); had = port_of(s)
s.connect(('127.0.0.1', port))
print(port_of(s) == had, s.getsockopt(SOL_SOCKET, SO_REUSEADDR))
s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0)); s.close()
connected()
            """, server.port, rules=[rule])
        equal(o.process.stdout, "True 0\n", "its port and SO_REUSEADDR")
        first, second, third = told(o)
        equal((first, second[0], third), (("policy", via), "program", ("policy", via)))
        equal(counters(o)["claimed"], 2)


def test_bound_by_a_system_call():
    """a socket that is bound by syscall(2): the program chose, and the next is by range again"""
    bound_unseen("raw")


def test_bound_by_a_child():
    """... in a child of a fork"""
    bound_unseen("forked")


def test_bound_by_another_number():
    """... by another descriptor of it"""
    bound_unseen("by_another_number")


def test_bound_by_libc():
    """... by bindresvport()"""
    if os.geteuid():
        raise Skip("a port below 1024 is root's")
    bound_unseen("reserved")


def test_closed_unseen():
    """A number that was closed, or became a socket of another family, behind berth's back says nothing
    of IP_LOCAL_PORT_RANGE."""
    need_calls()
    with Server() as server:
        o = steered(UNSEEN + """
for family, kind in (None, 0), (AF_UNIX, SOCK_STREAM), (AF_NETLINK, SOCK_RAW):
    number = socket().detach()
    libc.syscall(close, number)
    if family:
        assert libc.syscall(socket_, family, kind, 0) == number
    print(outcome(libc.connect(number, in4(port), 16)))
    libc.close(number)
    print(41000 <= connected() < 41100)
        """, server.port)
        equal(o.process.stdout.split()[1::2], ["True"] * 3, "steered")
        equal(told(o), [("policy", "range")] * 3)


def test_refused_to_another_kind():
    """An option that MPTCP's sockets are refused, as by Linux 6.1, is still TCP's, and UDP's."""
    need_calls()
    for error in "EOPNOTSUPP", "ENOPROTOOPT":
        with Server() as server:
            o = steered(f"""
                m = [socket(AF_INET, SOCK_STREAM, 262) for _ in range(3)]
                for s in m:
                    forbid('setsockopt', errno.{error}, 0, RANGE, first=[s.fileno()])
                s = [socket() for _ in range(3)]
                for i in range(3):
                    for c in m[i], s[i]:
                        c.connect(('127.0.0.1', port))
                u = socket(AF_INET, SOCK_DGRAM)
                u.connect(('127.0.0.1', 9))
            """, server.port)
        equal(told(o), [("policy", "bind"), ("policy", "range")] * 3 + [("policy", "range")], error)


def test_forbidden_once():
    """A socket of which a sandbox forbids the option goes by bind, and no other."""
    need_calls()
    with Server() as server:
        o = steered("""
            a, b, c = socket(), socket(), socket()
            forbid('setsockopt', errno.EPERM, 0, RANGE, first=[b.fileno()])
            for s in a, b, c:
                s.connect(('127.0.0.1', port))
        """, server.port)
    equal(told(o), [("policy", "range"), ("policy", "bind"), ("policy", "range")])


# --- another range ----------------------------------------------------------------------------

# Another network namespace, with a range that is not the set's.
ELSEWHERE = UNSEEN + """
NEWNET = 0x40000000
home = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
def set_range(low, high):
    with open('/proc/sys/net/ipv4/ip_local_port_range', 'w') as f:
        f.write(f'{low} {high}')
def lo_up():
    import fcntl
    with socket(AF_INET, SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack('16sh22x', b'lo', 0x1 | 0x40)) # SIOCSIFFLAGS: IFF_UP
def listen():
    global port
    l = socket(); l.bind(('127.0.0.1', port)); l.listen(99)
    KEPT.append(l)
def settled(count):
    return [41000 <= connected() < 41100 for _ in range(count)]
"""


def test_moved():
    """unshare() and setns(): the first connection in another network namespace is steered too"""
    need_root()
    with Server() as server:
        o = steered(ELSEWHERE + """
print(*settled(2))
libc.unshare(NEWNET); lo_up(); set_range(20000, 20099); listen()
there = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
print(*settled(2))
libc.setns(home, NEWNET)
print(*settled(2))
libc.setns(there, 0)
print(*settled(1))
s = socket()
libc.setns(home, NEWNET)
s.connect(('127.0.0.1', port)) # made there, connected here
print(41000 <= port_of(s) < 41100)
        """, server.port)
    equal(set(o.process.stdout.split()), {"True"}, "steered")
    equal(told(o), [("policy", way) for way in ["range"] * 2 + ["bind"] * 2 + ["range"] * 2 +
                    ["bind"] * 2])
    equal(counters(o)["outside"], 0)


def test_moved_by_range_alone():
    """... and where a rule goes by range alone, no port is free there"""
    need_root()
    with Server() as server:
        o = steered(ELSEWHERE + """
libc.unshare(NEWNET); lo_up(); set_range(20000, 20099); listen()
s = socket()
print(connect(s, in4(port)))
set_range(41010, 60000)
libc.setns(home, NEWNET)
print(connect(socket(), in4(port)))
        """, server.port, rules=[{"local_ports": SET, "via": "range"}])
    equal(o.process.stdout, "EADDRNOTAVAIL\nok\n")
    equal(counters(o)["outside"], 0)


def test_moved_unseen():
    """Another namespace, or another range, that no hook sees: the kernel chose the first port, and
    then the rule does."""
    need_root()
    need_calls()
    for how in "libc.syscall(unshare_, NEWNET); lo_up(); listen()", "pass":
        fresh_namespace()
        with Server() as server:
            o = steered(ELSEWHERE + f"""
print(*settled(1))
{how}
set_range(20000, 20099)
print(*settled(3))
set_range(32768, 60999)
print(*settled(1))
            """, server.port)
        equal(o.process.stdout.split(), ["True", "False", "True", "True", "True"], how)
        equal(told(o)[1:4], [("kernel", "range"), ("policy", "bind"), ("policy", "bind")], how)
        equal(counters(o)["outside"], 1)


def need_root():
    if os.geteuid():
        raise Skip("another network namespace, and its range, are root's")


if __name__ == "__main__":
    berthtest.main()
