# SPDX-License-Identifier: MIT
"""MPTCP: the further subflows of a connection, which the kernel's path manager opens, leave from the
ports of the rule that took the connection."""
import socket
import subprocess

import berthtest
from berthtest import (MPTCP, Server, Skip, closed_port, equal, fresh_namespace, has_mptcp, need,
                       takes_range)
from steertest import counters, same, steered

INSIDE, OUTSIDE = "41000-41099", "20000-20099"  # of the machine's range
WIDE = {"range": {"local_ports": INSIDE, "via": "range"}, "auto": {"local_ports": INSIDE},
        "bind": {"local_ports": INSIDE, "via": "bind"},
        "sequential": {"local_ports": INSIDE, "via": "bind", "order": "sequential"},
        # The first one from outside of the machine's range, where the option holds nothing.
        "straddling": {"local_ports": [OUTSIDE, INSIDE], "via": "bind", "order": "sequential"}}
NARROW = {"range": {"local_ports": INSIDE, "mod": {"of": 8, "is": 3}},
          "bind": {"local_ports": INSIDE, "mod": {"of": 8, "is": 3}, "via": "bind"}}

# The client's end. Each of `more` makes one subflow more: it is waited for.
CLIENT = """
    MPTCP = 262
    def subflows(s):
        size = ctypes.c_uint(16 + 8 * 256)
        data = ctypes.create_string_buffer(struct.pack('4I', 16, 0, 0, 256), size.value)
        assert libc.getsockopt(s.fileno(), 284, 3, data, ctypes.byref(size)) == 0
        _, count, _, each = struct.unpack('4I', data.raw[:16])
        return [struct.unpack('!H', data.raw[18 + i * each:][:2])[0] for i in range(count)]
    def settled(s, count):
        while len(subflows(s)) < count:
            time.sleep(0.005)
        return subflows(s)
    def endpoint(address, kind):
        assert os.system(f'ip mptcp endpoint add {address} dev lo {kind}') == 0
    def of_rule(ports):
        return {allowed(p) for p in ports} == {True}
    """


def need_subflows():
    """A namespace in which a connection to 127.0.0.1 and ::1 may have further subflows."""
    need("ip")
    if not has_mptcp():
        raise Skip("this kernel has no MPTCP")
    if not takes_range(MPTCP):
        raise Skip("this kernel refuses IP_LOCAL_PORT_RANGE to MPTCP (before Linux 6.8)")
    fresh_namespace()
    limits = subprocess.run(["ip", "mptcp", "limits", "set", "subflow", "4", "add_addr_accepted",
                             "4"], capture_output=True, text=True)
    if limits.returncode:
        raise Skip("ip mptcp: " + limits.stderr.strip())
    for address in "fd00::2", "fd00::3":
        subprocess.run(["ip", "addr", "add", address + "/128", "dev", "lo", "nodad"], check=True)


def allowed(rule):
    """The code of a function that says whether the rule allows a port."""
    sets = rule["local_ports"] if isinstance(rule["local_ports"], list) else [rule["local_ports"]]
    ranges = [tuple(int(end) for end in text.split("-")) for text in sets]
    mod = rule.get("mod", {"of": 1, "is": 0})
    return f"""
    def allowed(port):
        return port % {mod['of']} == {mod['is']} and any(a <= port <= b for a, b in {ranges})
    """


def held(rules, code, family=socket.AF_INET):
    """Under each rule the code prints True alone. It has s, a connection, and `more` to call."""
    for name, rule in rules.items():
        need_subflows()
        address, second, third = {socket.AF_INET: ("127.0.0.1", "127.0.0.2", "127.0.0.3"),
                                  socket.AF_INET6: ("::1", "fd00::2", "fd00::3")}[family]
        with Server(family, "::" if family == socket.AF_INET6 else "0.0.0.0", protocol=MPTCP) as server:
            o = steered(allowed(rule) + CLIENT + f"""
    family, address, second, third = {int(family)}, {address!r}, {second!r}, {third!r}
    to = (address, port)
    endpoint(second, 'subflow')
    """ + code, server.port, rules=[rule])
        equal(set(o.process.stdout.split()), {"True"}, f"{name}: {rule}")
        equal(counters(o)["outside"], 0, name)


def test_from_another_address():
    """a subflow from another address, by each mechanism"""
    held({**WIDE, **NARROW}, """
    for i in range(5):
        s = socket(family, SOCK_STREAM, MPTCP)
        s.connect(to)
        s.send(b'x')
        print(of_rule(settled(s, 2)))
    """)


def test_from_the_same_address():
    """a subflow from the same address to another one of the peer's"""
    held(WIDE, """
    s = socket(family, SOCK_STREAM, MPTCP)
    s.connect(to)
    s.send(b'x')
    settled(s, 2)
    endpoint(third, 'signal')
    print(of_rule(settled(s, 3)))
    """)


def test_ipv6():
    """the same over IPv6"""
    held(WIDE, """
    s = socket(family, SOCK_STREAM, MPTCP)
    s.connect(to)
    s.send(b'x')
    print(of_rule(settled(s, 2)))
    endpoint(third, 'signal')
    print(of_rule(settled(s, 3)))
    """, socket.AF_INET6)


def test_in_progress():
    """a connection that does not block, and connect() once more to see how it went"""
    held(WIDE, """
    s = socket(family, SOCK_STREAM, MPTCP)
    s.setblocking(False)
    s.connect_ex(to)
    settle(s)
    print(s.connect_ex(to) in (0, errno.EISCONN), s.connect_ex(to) == errno.EISCONN)
    s.send(b'x')
    print(of_rule(settled(s, 2)))
    endpoint(third, 'signal')
    print(of_rule(settled(s, 3)))
    """)


def test_option_is_read():
    """A program that reads IP_LOCAL_PORT_RANGE finds none, and the ports of the rule are kept."""
    held(WIDE, """
    s = socket(family, SOCK_STREAM, MPTCP)
    print(s.getsockopt(IPPROTO_IP, RANGE) == 0)
    s.connect(to)
    print(s.getsockopt(IPPROTO_IP, RANGE) == 0)
    s.send(b'x')
    settled(s, 2)
    endpoint(third, 'signal')
    print(of_rule(settled(s, 3)), s.getsockopt(IPPROTO_IP, RANGE) == 0)
    """)


def test_bound_by_a_rule():
    """a connection from the port that a rule gave by bind() to port 0"""
    held({name: WIDE[name] for name in ("auto", "bind", "straddling")}, """
    s = socket(family, SOCK_STREAM, MPTCP)
    s.bind((address, 0))
    s.connect(to)
    s.send(b'x')
    print(of_rule(settled(s, 2)))
    endpoint(third, 'signal')
    print(of_rule(settled(s, 3)))
    """)


def test_after_a_refusal():
    """a connection from the port that stayed when another was refused"""
    with closed_port() as closed:
        held(WIDE, f"""
    s = socket(family, SOCK_STREAM, MPTCP)
    print(s.connect_ex((address, {closed})) == errno.ECONNREFUSED)
    s.connect(to)
    s.send(b'x')
    print(of_rule(settled(s, 2)))
    """)


def test_outside_is_counted():
    """Subflows that the kernel cannot keep within the set are counted, however the socket goes."""
    for end, more in (("s.close()", 1), ("del s", 1), ("os._exit(0)", 1), ("sys.exit(0)", 1),
                      ("os.dup2(2, s.fileno())", 1), ("os.fork()", 1),
                      ("libc.close_range(3, 99, 0)", 1),
                      ("endpoint(third, 'signal'); settled(s, 3)", 2)):
        for rule in ({"local_ports": OUTSIDE}, {"local_ports": OUTSIDE, "order": "sequential"}):
            need_subflows()
            with Server(socket.AF_INET, "0.0.0.0", protocol=MPTCP) as server:
                o = steered(CLIENT + f"""
    third = '127.0.0.3'
    endpoint('127.0.0.2', 'subflow')
    s = socket(AF_INET, SOCK_STREAM, MPTCP)
    s.connect(('127.0.0.1', port))
    s.send(b'x')
    settled(s, 2)
    {end}
    """, server.port, rules=[rule])
            equal([counters(o)[key] for key in ("matched", "claimed", "outside")], [1, 1, more], end)


def test_nothing_is_left():
    """Nothing is left on the socket where it next connects to what no rule takes."""
    need_subflows()
    with Server(protocol=MPTCP) as server, Server(protocol=MPTCP) as other:
        rules = [{**rule, "match": {"to": [f"*:{server.port}"]}} for rule in WIDE.values()]
        same(CLIENT + f"""
    s = socket(AF_INET, SOCK_STREAM, MPTCP)
    print(s.connect_ex(('127.0.0.1', port)), s.getsockopt(IPPROTO_IP, RANGE))
    print(connect(s, bytes(16)), s.getsockopt(IPPROTO_IP, RANGE))
    print(connect(s, in4({other.port})), s.getsockopt(IPPROTO_IP, RANGE))
    """, server.port, ways=rules)


def test_own_range():
    """A program that has set IP_LOCAL_PORT_RANGE chooses the ports of further subflows, too."""
    for rule in WIDE.values():
        need_subflows()
        with Server(protocol=MPTCP) as server:
            same(CLIENT + """
    endpoint('127.0.0.2', 'subflow')
    own = struct.pack('=I', 45009 << 16 | 45000)
    for bound in False, True:
        s = socket(AF_INET, SOCK_STREAM, MPTCP)
        s.setsockopt(IPPROTO_IP, RANGE, own)
        if bound:
            s.bind(('127.0.0.1', 0))
        s.connect(('127.0.0.1', port))
        s.send(b'x')
        print([45000 <= p <= 45009 for p in settled(s, 2)], s.getsockopt(IPPROTO_IP, RANGE, 4) == own)
        s.close()
    os.system('ip mptcp endpoint flush')
    """, server.port, ways=[rule])


if __name__ == "__main__":
    berthtest.main()
