# SPDX-License-Identifier: MIT
"""What a rule has to know of a destination: whether it is this machine itself, by which route it is
reached and from which address, and when a port was last given to it."""
import contextlib
import itertools
import json
import os
import socket
import subprocess

import berthtest
from berthtest import (PROGRAMS, Observed, Server, Skip, equal, fresh_namespace, policy, program,
                       sysctl)

WITHOUT_NETLINK = [os.path.join(PROGRAMS, "without_netlink"), "EPERM"]


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise Skip(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextlib.contextmanager
def network():
    """A namespace with 10.9.1.1 and 10.9.1.2, of one network, and fd09::1, on a link behind which
    nobody answers, and which takes what goes to others."""
    fresh_namespace()
    for setting in "all", "default":
        sysctl(f"ipv6.conf.{setting}.accept_dad", "0")
    ip("link", "add", "berth0", "type", "veth", "peer", "name", "berth1")
    ip("addr", "add", "10.9.1.1/24", "brd", "+", "dev", "berth0")
    ip("addr", "add", "10.9.1.2/24", "brd", "+", "dev", "berth0")
    ip("addr", "add", "fd09::1/64", "dev", "berth0", "nodad")
    for name in "berth0", "berth1":
        ip("link", "set", name, "up")
    ip("route", "add", "default", "via", "10.9.1.254")
    ip("route", "add", "224.0.0.0/4", "dev", "berth0")
    yield


# --- this machine itself -------------------------------------------------------------------------

# What became of each call: its kind, the address, and the port, of it and of the rule's only one.
CALLS = """
    import json
    def call(kind, address, port):
        address, _, device = address.partition('%')
        to = (address, port, 0, if_nametoindex(device)) if device else (address, port)
        s = socket(AF_INET6 if ':' in address else AF_INET,
                   SOCK_STREAM if kind == 'tcp' else SOCK_DGRAM)
        s.setblocking(False)
        s.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)
        try:
            error = s.sendto(b'x', to) - 1 if kind == 'sendto' else s.connect_ex(to)
        except OSError as e:
            error = e.errno
        return [kind, address, errno.errorcode.get(error, 'ok'), s.getsockname()[1]]
    print(json.dumps([call(*words) for words in json.loads(sys.argv[1])]))
    """

OTHERS = ("10.9.1.9", "192.0.2.1", "239.1.1.1", "10.9.1.255", "255.255.255.255", "fd09::9",
          "ff02::fb%berth0")
OURS = "127.0.0.1", "10.9.1.1", "10.9.1.2", "fd09::1", "::1", "::ffff:10.9.1.2"
EQUAL = {"range": 40000, "bind": 20000}


def kinds_to(address):
    group = address.startswith(("239.", "ff")) or address.endswith(".255")
    return ("udp", "sendto") if group else ("tcp", "udp", "sendto")


def from_equal_ports(addresses, outcome, before=()):
    """Each kind of call to each address, by range and by bind, from a set of the peer's port."""
    calls = [(kind, address, port) for address in addresses for port in EQUAL.values()
             for kind in kinds_to(address)]
    rules = [{"via": via, "local_ports": [port], "match": {"to": [f"*:{port}"]}}
             for via, port in EQUAL.items()]
    with network():
        for nonlocal_bind in "01":
            sysctl("ipv4.ip_nonlocal_bind", nonlocal_bind)
            sysctl("ipv6.ip_nonlocal_bind", nonlocal_bind)
            with policy(*rules) as file:
                o = Observed([*before, *program(CALLS, json.dumps(calls))], "-P", file)
            equal((o.process.returncode, o.process.stderr), (0, ""), "the program")
            equal(json.loads(o.process.stdout),
                  [[kind, address.partition("%")[0], *outcome(kind, port)]
                   for kind, address, port in calls], f"ip_nonlocal_bind={nonlocal_bind}")


def given(kind, port):
    return ["EINPROGRESS" if kind == "tcp" else "ok", port]


def withheld(kind, _):
    return ["EADDRNOTAVAIL" if kind == "tcp" else "EAGAIN", 0]


def test_port_of_another():
    """the port that the peer has too is given, by range and bind: multicast, broadcast, hosts"""
    from_equal_ports(OTHERS, given)


def test_port_of_another_without_netlink():
    """the same where AF_NETLINK is forbidden"""
    from_equal_ports(OTHERS, given, WITHOUT_NETLINK)


def test_port_of_ours():
    """and not to an address of this machine, also where programs may bind to foreign ones"""
    from_equal_ports(OURS, withheld)
    from_equal_ports([a for a in OURS if not a.endswith(".2")], withheld, WITHOUT_NETLINK)


# --- by which route ------------------------------------------------------------------------------

ROUTED = "10.9.2.1", "10.9.2.2"  # a destination, and the address that a rule's route leaves from

# Rules of ip-rule(8) for a connection to ROUTED's port 9000, and what its socket has set for them.
SELECTORS = (("fwmark 7", ("SOL_SOCKET", "SO_MARK", 7)), ("tos 0x10", ("IPPROTO_IP", "IP_TOS", 16)),
             ("ipproto tcp", None), ("dport 9000", None))


@contextlib.contextmanager
def routed_by(selector):
    """A namespace where what the selector means leaves from 10.9.2.2, and all else from 10.9.2.1."""
    fresh_namespace()
    for address in ROUTED:
        ip("addr", "add", address + "/32", "dev", "lo")
    ip("rule", "add", "pref", "9", "lookup", "local")
    ip("rule", "del", "pref", "0")
    ip("rule", "add", "pref", "5", *selector.split(), "lookup", "7")
    ip("route", "add", "local", ROUTED[0], "dev", "lo", "src", ROUTED[1], "table", "7")
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 9000))
        listener.listen(100)
        yield


def test_policy_route():
    """by bind, a 4-tuple that is taken is seen where a mark, TOS, protocol or port routes it"""
    for selector, option in SELECTORS:
        with routed_by(selector), socket.socket() as held, \
                policy({"local_ports": ["20000-20001"], "order": "sequential"}) as file:
            if option:
                level, name, value = option
                held.setsockopt(getattr(socket, level), getattr(socket, name), value)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("0.0.0.0", 20000))
            held.connect((ROUTED[0], 9000))
            equal(held.getsockname()[0], ROUTED[1], f"source with {selector}")
            o = Observed(program(f"""
                s, option = socket(), {option!r}
                if option:
                    level, name, value = option
                    s.setsockopt(globals()[level], globals()[name], value)
                s.connect(({ROUTED[0]!r}, 9000))
                print(*s.getsockname())
                """), "-P", file)
            equal((o.process.stdout, o.process.stderr), (f"{ROUTED[1]} 20001\n", ""), selector)
            rule, = o.stats[0]["rules"]
            equal((rule["claimed"], rule["stuck"]), (1, 0), selector)


# --- from no address -----------------------------------------------------------------------------

# Ten connects each: what they said, and after the first argument's command ten more.
TEN = """
    def ten():
        address, _, device = sys.argv[2].partition('%')
        to = (address, 8080, 0, if_nametoindex(device) if device else 0)
        said = set()
        for _ in range(10):
            with socket(AF_INET6) as s:
                s.setblocking(False)
                said.add(errno.errorcode.get(s.connect_ex(to), 'ok'))
        return said
    said = ten()
    if sys.argv[1]:
        os.system(sys.argv[1])
        said = ten()
    print(*said)
    """

OFF = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"


def without_ipv6():
    sysctl("ipv6.conf.all.disable_ipv6", "1")


def without_link_local():
    """A link on which there is none but a route."""
    sysctl("ipv6.conf.default.addr_gen_mode", "1")
    ip("link", "add", "berth0", "type", "veth", "peer", "name", "berth1")
    ip("link", "set", "berth0", "up")
    ip("link", "set", "berth1", "up")
    ip("-6", "route", "add", "fe80::/64", "dev", "berth0")


def with_tentative():
    """A link-local address that cannot be used before nobody else is known to have it."""
    without_link_local()
    sysctl("ipv6.conf.berth0.dad_transmits", "1000")
    ip("link", "set", "berth1", "down")
    ip("addr", "add", "fe80::1/64", "dev", "berth0")


NO_SOURCE = ((without_ipv6, "::1"), (without_ipv6, "::"), (without_link_local, "fe80::9%berth0"),
             (with_tentative, "fe80::9%berth0"))

# Of each, none can be offered by a window, and the whole set would be.
WHOLE = ({"local_ports": "33000-60000", "rest": 60}, {"local_ports": "2000-30000", "via": "bind"},
         {"local_ports": "33000-60000", "order": "least-recent"})


def test_no_source():
    """where no address can be the source, one port is offered; none is exhausted or stuck"""
    for (prepare, address), rule in itertools.product(NO_SOURCE, WHOLE):
        fresh_namespace()
        prepare()
        bare = subprocess.run(program(TEN, "", address), capture_output=True, text=True)
        with policy(rule) as file:
            o = Observed(program(TEN, "", address), "-P", file)
        what = f"{prepare.__name__}, {address}, {rule}"
        equal((bare.stdout, o.process.stdout), 2 * ("EADDRNOTAVAIL\n",), what)
        counts, = o.stats[0]["rules"]
        equal([counts[k] for k in ("matched", "tries", "claimed", "exhausted", "stuck")],
              [10, 10, 0, 0, 0], what)


def test_no_source_any_more():
    """likewise where there was one a moment ago: 16 ports are offered at most"""
    for rule in WHOLE:
        fresh_namespace()
        rule = {**rule, "order": "sequential"}
        first = int(rule["local_ports"].split("-")[0])
        with policy(rule) as file, socket.socket() as held:
            held.bind(("127.0.0.1", first))
            o = Observed(program(TEN, OFF, "::1"), "-P", file)
        equal(o.process.stdout, "EADDRNOTAVAIL\n", str(rule))
        counts, = o.stats[0]["rules"]
        equal([counts[k] for k in ("matched", "claimed", "exhausted", "stuck")], [20, 10, 0, 0],
              str(rule))
        assert counts["tries"] <= 11 + 10 * 16, (rule, counts)


def test_lost_address():
    """a socket whose address the machine has lost: it keeps that one, and fails as without berth"""
    for family, address, peer in ((socket.AF_INET, "10.9.3.1", "10.9.3.9"),
                                  (socket.AF_INET6, "fd09:3::1", "fd09:3::9")):
        fresh_namespace()
        code = f"""
            s = socket({int(family)})
            s.setsockopt(IPPROTO_IP, 24, 1)
            os.system('ip addr add {address}/24 dev lo nodad')
            s.bind(({address!r}, 0))
            os.system('ip addr del {address}/24 dev lo')
            print(errno.errorcode.get(s.connect_ex(({peer!r}, 80))), s.getsockname()[0])
            """
        bare = subprocess.run(program(code), capture_output=True, text=True)
        for rule in WHOLE:
            with policy(rule) as file:
                o = Observed(program(code), "-P", file)
            equal(o.process.stdout, bare.stdout, f"{address} with {rule}")
            counts, = o.stats[0]["rules"]
            equal((counts["exhausted"], counts["stuck"]), (0, 0), f"{address} with {rule}")
        print(f"# {address}: {bare.stdout}", end="")


# --- when it was given last ----------------------------------------------------------------------

ONE_PORT = {"range": 40000, "bind": 20000}

REFUSED = "ECONNREFUSED"
NONE_LEFT = "EADDRNOTAVAIL"

# What each connect said to a port where nobody listens: (address that it is bound to, peer).
SAID = """
    for bound, peer in eval(sys.argv[1]):
        with socket(AF_INET6 if ':' in peer else AF_INET) as s:
            if bound:
                s.setsockopt(IPPROTO_IP, 24, 1)
                s.bind((bound, 0))
            print(errno.errorcode[s.connect_ex((peer, 1))], end=' ')
    """


def said_with_rest(ways, **rule):
    for via, port in ONE_PORT.items():
        with policy({"via": via, "local_ports": [port], "rest": 600, **rule}) as file:
            o = Observed(program(SAID, ways), "-P", file)
        equal(o.process.stderr, "", "stderr")
        yield o.process.stdout.split()


def test_rest_whoever_is_bound():
    """a port rests towards a destination for sockets bound, unbound, and by its other names"""
    names = [(bound, peer) for bound in ("", "127.0.0.1") for peer in ("127.0.0.1", "0.0.0.0")]
    names += [("", "::ffff:127.0.0.1"), ("::ffff:127.0.0.1", "::")]
    six = [("", "::1"), ("", "::"), ("::1", "::1"), ("::1", "::")]
    for all_names in names, six:
        for first in range(len(all_names)):
            ways = all_names[first:] + all_names[:first]
            for said in said_with_rest(ways):
                equal(said, [REFUSED] + (len(ways) - 1) * [NONE_LEFT], str(ways))


def test_rest_of_each_source():
    """of two source addresses each has its own rest; an unbound socket heeds both"""
    two = [("127.0.0.2", "127.0.0.1"), ("127.0.0.3", "127.0.0.1")]
    for said in said_with_rest([*two, *two, ("", "127.0.0.1")]):
        equal(said, 2 * [REFUSED] + 3 * [NONE_LEFT])
    ways = 3 * [("", "127.0.0.1")]
    for said in said_with_rest(ways, local_addresses=["127.0.0.2", "127.0.0.3"]):
        equal(said, 2 * [REFUSED] + [NONE_LEFT])


def test_rest_of_the_refused():
    """a port that the kernel refused, or a call that ended before it had one, begins no rest"""
    for via, port in ONE_PORT.items():
        fresh_namespace()
        with policy({"via": via, "local_ports": [port], "rest": 600}) as file:
            o = Observed(program(f"""
                held, n = socket(), []
                held.bind(('127.0.0.1', {port}))
                for to in ('127.0.0.1', '192.0.2.1', '127.0.0.1'):
                    with socket() as s:
                        print(errno.errorcode[s.connect_ex((to, 1))], end=' ')
                    held.close()
                """), "-P", file)
        equal(o.process.stdout.split(), [NONE_LEFT, "ENETUNREACH", REFUSED], via)


# A child is killed in its connect; what the parent's said then.
KILLED = """
    def connect():
        with socket() as s:
            return s.connect_ex((sys.argv[1], 80))
    def sent():
        with open('/proc/net/tcp') as f:
            return any(line.split()[3] == '02' for line in f.readlines()[1:])
    child = os.fork()
    if not child:
        connect()
    while not sent():
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    s = socket()
    s.setblocking(False)
    print(errno.errorcode[s.connect_ex((sys.argv[1], 80))])
    """


def after_a_kill(said, **rule):
    for via, port in ONE_PORT.items():
        with network():
            ip("neigh", "replace", "10.9.1.9", "lladdr", "02:00:00:00:00:01", "dev", "berth0")
            with policy({"via": via, "local_ports": [port], **rule}) as file:
                o = Observed(program(KILLED, "10.9.1.9"), "-P", file)
        equal((o.process.stdout, o.process.stderr), (said + "\n", ""), via)


def test_rest_after_a_kill():
    """a port rests that a program was given which was killed while it connected"""
    after_a_kill(NONE_LEFT, rest=600)


def test_free_after_a_kill():
    """without `rest` it is free then, at once"""
    after_a_kill("EINPROGRESS")


def test_free_after_a_kill_among_others():
    """and at once where others share it: nobody waits for a thread that has ended"""
    with network(), socket.socket() as listener, socket.socket() as held:
        listener.bind(("10.9.1.1", 80))
        listener.listen()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("0.0.0.0", ONE_PORT["bind"]))
        held.connect(("10.9.1.1", 80))
        ip("neigh", "replace", "10.9.1.9", "lladdr", "02:00:00:00:00:01", "dev", "berth0")
        with policy({"via": "bind", "local_ports": [ONE_PORT["bind"]]}) as file:
            o = Observed(program(KILLED, "10.9.1.9"), "-P", file)
    equal((o.process.stdout, o.process.stderr), ("EINPROGRESS\n", ""))


if __name__ == "__main__":
    berthtest.main()
