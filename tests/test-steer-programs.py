# SPDX-License-Identifier: MIT
"""Programs that know nothing of berth, steered: every connection that the server saw came from
the policy's set, none is missing, and the program says what it says without berth."""
import contextlib
import errno
import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections import namedtuple

import berthtest
from berthtest import (LIBBERTH, NGINX, PROGRAMS, Observed, Server, Skip, equal, fresh_namespace,
                       locals_of, log_of, need, pick, program, running, started, stats_of, wait_for)

INSIDE = range(32768, 61000)  # the machine's ip_local_port_range in these tests
VIAS = "range", "bind", "auto"


def ports_by(via, count):
    """So many ports that this way can claim; auto's lie on both sides of the range's edge."""
    first = {"range": 40000, "bind": 20000, "auto": INSIDE[0] - count // 2}[via]
    return range(first, first + count)


@contextlib.contextmanager
def policy(via, ports, **keys):
    """The file of a policy with one rule."""
    rule = {"name": "own", "local_ports": f"{ports[0]}-{ports[-1]}", "via": via, **keys}
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/policy.json", "w") as f:
            json.dump({"version": 1, "rules": [rule]}, f)
        yield f"{folder}/policy.json"


def all_from(ports, seen):
    equal([peer for peer in seen if peer[1] not in ports], [], "peers outside of the set")


def all_steered(via, ports, events, stats):
    """Each connect that the events and the counters tell of was given a port of the set."""
    for event in events:
        port = event["network.local.port"]
        assert "error.type" not in event and port in ports, event
        way = via if via != "auto" else "range" if port in INSIDE else "bind"
        told = event["berth.chosen_by"], event["berth.rule"], event["berth.via"]
        equal(told, ("policy", "own", way), str(port))
    rows = [rule for s in stats for rule in s["rules"]]
    equal(sum(rule["claimed"] for rule in rows), len(events), "claimed")
    for rule in rows:
        equal(rule["claimed"], rule["matched"], f"claimed of {rule}")
        lost = {k: rule[k] for k in ("exhausted", "kernel", "outside", "stuck") if rule[k]}
        equal(lost, {}, "lost")


def outcome(done, numbers=True):
    """What a finished program showed; without its numbers where they are times."""
    texts = done.stdout, done.stderr
    if not numbers:
        texts = tuple(re.sub(r" +", " ", re.sub(r"[0-9][0-9.]*[a-zKM]*", "N", text))
                      for text in texts)
    return done.returncode, *texts


def bare(command):
    return subprocess.run(command, capture_output=True, text=True)


def by_each_via(check):
    """Makes three tests of check(via)."""
    name, line = check.__name__.removeprefix("by_"), check.__doc__
    for via in VIAS:
        def test(via=via):
            fresh_namespace()
            berthtest.port_range(INSIDE[0], INSIDE[-1])
            check(via)
        test.__doc__ = f"{line}, via {via}"
        setattr(sys.modules[__name__], f"test_{name}_{via}", test)
    return check


# --- nginx, as a server and as a proxy -------------------------------------------------------

Nginx = namedtuple("Nginx", "command pid log errors port")


@contextlib.contextmanager
def configured(location, worker="root root"):
    """An nginx on both loopback addresses whose access log is who connected, a line a request."""
    need("nginx")
    port = next(Server.unused_ports)
    with tempfile.TemporaryDirectory() as folder:
        errors = f"{folder}/error.log"
        nginx = Nginx([NGINX, "-c", f"{folder}/nginx.conf", "-e", errors],
                      f"{folder}/nginx.pid", f"{folder}/access.log", errors, port)
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in (
            "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(f"{folder}/nginx.conf", "w") as f:
            f.write(f"""
                user {worker}; worker_processes 2; daemon off; pid {nginx.pid};
                error_log {errors} warn;
                events {{ }}
                http {{
                    {temporary}
                    log_format who "$connection $remote_addr $remote_port";
                    access_log {nginx.log} who;
                    keepalive_requests 100;
                    server {{
                        listen 127.0.0.1:{port}; listen [::1]:{port};
                        location / {{ {location} }}
                    }}
                }}""")
        yield nginx


@contextlib.contextmanager
def serving():
    with configured("return 200 ok;") as nginx, started(nginx.command) as server:
        wait_for(lambda: os.path.exists(nginx.pid))
        yield nginx, server


def stop(server):
    """Lets it write its log to the end."""
    server.send_signal(signal.SIGQUIT)
    server.wait()


def logged(nginx):
    """The sorted (address, port) of the connections in the access log."""
    with open(nginx.log) as f:
        connections = {tuple(line.split()) for line in f}
    return sorted((address, int(port)) for _, address, port in connections)


def curl(via, host, *options):
    need("curl")
    ports = ports_by(via, 100)
    with serving() as (nginx, server), policy(via, ports) as file:
        command = ["curl", "-sS", *options, "-H", "Connection: close", "-w", " %{http_code}\n",
                   f"http://{host}:{nginx.port}/[1-100]"]
        o = Observed(command, "-P", file)
        wait_for(lambda: len(logged(nginx)) >= 100)
        seen = logged(nginx)
        plain = bare(command)
        stop(server)
    equal(outcome(o.process), outcome(plain), "curl")
    equal(locals_of(o.calls("connect")), seen, "ports")
    all_from(ports, seen)
    all_steered(via, ports, o.calls("connect"), o.stats)


@by_each_via
def by_curl_ipv4(via):
    """curl over IPv4: nginx saw 100 connections from the set"""
    curl(via, "127.0.0.1")


@by_each_via
def by_curl_ipv6(via):
    """curl over IPv6: nginx saw 100 connections from the set"""
    curl(via, "[::1]")


class Upstream(Server):
    """An HTTP server that answers ok."""

    def handle(self, connection):
        with connection:
            while b"\r\n\r\n" not in connection.recv(65536):
                pass
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")


def worker_of_nginx():
    """The user whom its workers become, where that can be."""
    try:
        uid = pwd.getpwnam("www-data").pw_uid
    except KeyError:
        raise Skip("there is no user www-data")
    with open("/proc/self/uid_map") as f:
        if int(f.read().split()[2]) <= uid or os.geteuid() != 0:
            raise Skip("not root: nginx cannot become www-data")
    return uid


@by_each_via
def by_nginx_proxy(via):
    """nginx, a proxy whose workers are www-data: upstream saw 300 connections from the set"""
    need("curl")
    uid, ports = worker_of_nginx(), ports_by(via, 400)  # some are in TIME_WAIT
    with Upstream() as upstream, policy(via, ports) as file, \
            configured(f"proxy_pass http://127.0.0.1:{upstream.port};", "www-data") as nginx, \
            running(nginx.command, "-P", file) as (process, recording):
        wait_for(lambda: os.path.exists(nginx.pid))
        done = bare(["curl", "-sS", "-w", " %{http_code}\n",
                     f"http://127.0.0.1:{nginx.port}/[1-300]"])
        process.terminate()
        equal(process.wait(), 0, "nginx's exit status")
        seen, events, stats = upstream.saw(300), log_of(recording), stats_of(recording)
        with open(nginx.errors) as f:
            equal(f.read(), "", "nginx's errors")
    equal(outcome(done), (0, 300 * "ok 200\n", ""), "curl")
    connects = pick(events, "connect")
    equal(locals_of(connects), seen, "ports")
    all_from(ports, seen)
    all_steered(via, ports, connects, stats)
    rows = {row["process.pid"]: row for row in stats}
    equal({rows[e["process.pid"]]["process.user.id"] for e in connects}, {uid}, "who connected")


@by_each_via
def by_wrk(via):
    """wrk -c 100 against nginx: all connections come from the set"""
    need("wrk")
    ports = ports_by(via, 400)
    command = ["wrk", "-c", "100", "-t", "2", "-d", "1"]
    with serving() as (nginx, server):
        plain = bare([*command, f"http://127.0.0.1:{nginx.port}/"])
    with serving() as (nginx, server), policy(via, ports) as file:
        o = Observed([*command, f"http://127.0.0.1:{nginx.port}/"], "-P", file)
        stop(server)
        seen = logged(nginx)
    equal(outcome(o.process, numbers=False), outcome(plain, numbers=False), "wrk")
    assert "errors" not in o.process.stdout, o.process.stdout
    connects = o.calls("connect")
    all_from(ports, seen)
    assert len(seen) >= 100, len(seen)
    left = list(map(tuple, locals_of(connects)))
    for peer in seen:  # it may end between connect and its first request
        left.remove(peer)
    assert len(left) <= 100, left
    all_steered(via, ports, connects, o.stats)


# --- clients of a server of ours -------------------------------------------------------------

MANY = """
    import asyncio
    async def one(i):
        reader, writer = await asyncio.open_connection(sys.argv[2], int(sys.argv[1]))
        return writer
    async def main():
        writers = await asyncio.gather(*map(one, range(200)))
        print(len(set(w.get_extra_info('sockname')[1] for w in writers)))
        for w in writers:
            w.close()
            await w.wait_closed()
    asyncio.run(main())"""


def asyncio(via, family):
    ports = ports_by(via, 200)
    with Server(family=family) as server, policy(via, ports) as file:
        command = program(MANY, server.port, server.address)
        o = Observed(command, "-P", file)
        seen = server.saw(200)
        equal([port for _, port in seen], list(ports), "ports")
        plain = bare(command)
    equal(outcome(o.process), outcome(plain), "the program")
    connects = o.calls("connect", berth__result="in_progress")
    equal(locals_of(connects), seen, "ports")
    all_steered(via, ports, o.calls("connect"), o.stats)


@by_each_via
def by_asyncio_ipv4(via):
    """python asyncio: 200 parallel connections take all of a set of 200"""
    asyncio(via, socket.AF_INET)


@by_each_via
def by_asyncio_ipv6(via):
    """python asyncio over IPv6: 200 parallel connections take all of a set of 200"""
    asyncio(via, socket.AF_INET6)


# --- redis -----------------------------------------------------------------------------------


def accepted(log):
    """The sorted (address, port) of those that redis-server says it accepted."""
    with open(log) as f:
        return sorted((address, int(port)) for address, port in
                      re.findall(r" Accepted ([0-9.]+):(\d+)\n", f.read()))


@contextlib.contextmanager
def redis():
    """A redis-server: its port, and its log of who connected."""
    need("redis-server", "redis-benchmark")
    port = next(Server.unused_ports)
    with tempfile.TemporaryDirectory() as folder:
        log = f"{folder}/redis.log"
        command = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "",
                   "--dir", folder, "--logfile", log, "--loglevel", "verbose"]
        with started(command):
            wait_for(lambda: os.path.exists(log) and "eady to accept" in open(log).read())
            yield port, log


@by_each_via
def by_redis(via):
    """redis-benchmark -c 50 -n 20000: redis-server accepted each connection from the set"""
    ports = ports_by(via, 60)
    with redis() as (port, log), policy(via, ports) as file:
        command = ["redis-benchmark", "-p", str(port), "-h", "127.0.0.1", "-c", "50",
                   "-n", "20000", "-t", "get", "--csv"]
        o = Observed(command, "-P", file)
        connects = o.calls("connect")
        wait_for(lambda: len(accepted(log)) >= len(connects))
        seen = accepted(log)
        plain = bare(command)
        wait_for(lambda: len(accepted(log)) >= 2 * len(connects))
        equal(len(accepted(log)), 2 * len(connects), "connections, as many as without berth")
    equal(outcome(o.process, numbers=False), outcome(plain, numbers=False), "redis-benchmark")
    equal(locals_of(connects), seen, "ports")
    assert len(seen) >= 50, seen
    all_from(ports, seen)
    all_steered(via, ports, connects, o.stats)


# --- where netlink is forbidden ----------------------------------------------------------------

# Five connections to each of two destinations, from five ports, and one more to each.
FIVE = """
    for port in map(int, sys.argv[1:]):
        for i in range(6):
            s = socket()
            kept = globals().setdefault('kept', [])
            kept.append(s)
            print(errno.errorcode.get(s.connect_ex(('127.0.0.1', port)), 'ok'))
    """


def without_netlink(via, error):
    ports = ports_by(via, 5)
    with Server() as one, Server() as other, policy(via, ports) as file:
        filtered = [os.path.join(PROGRAMS, "without_netlink"), error]
        probe = bare([*filtered, *program("socket(AF_NETLINK, SOCK_RAW)")])
        assert f"Errno {getattr(errno, error)}]" in probe.stderr, probe.stderr
        o = Observed([*filtered, *program(FIVE, one.port, other.port)], "-P", file)
        equal(outcome(o.process), (0, 2 * (5 * "ok\n" + "EADDRNOTAVAIL\n"), ""), "the program")
        for server in one, other:
            equal([port for _, port in server.saw(5)], list(ports), "ports")


@by_each_via
def by_netlink_forbidden(via):
    """a seccomp filter forbids AF_NETLINK by EPERM: steered all the same, ports shared"""
    without_netlink(via, "EPERM")


@by_each_via
def by_netlink_unknown(via):
    """RestrictAddressFamilies= forbids AF_NETLINK by EAFNOSUPPORT: steered all the same"""
    without_netlink(via, "EAFNOSUPPORT")


@by_each_via
def by_netlink_forbidden_to_all(via):
    """four processes that share nothing, AF_NETLINK forbidden: each finds a port that is free"""
    ports = ports_by(via, 4)
    code = """
        s = socket(AddressFamily(int(sys.argv[2])))
        error = s.connect_ex((sys.argv[1], int(sys.argv[3])))
        print(errno.errorcode.get(error, 'ok'), flush=True)
        sys.stdin.read()
        """
    with policy(via, ports) as file:
        environment = {**os.environ, "LD_PRELOAD": LIBBERTH, "BERTH_RECORD": "off",
                       "BERTH_POLICY": file}
        for family in 2 * (socket.AF_INET, socket.AF_INET6):
            with Server(family) as server, contextlib.ExitStack() as stack:
                command = [os.path.join(PROGRAMS, "without_netlink"), "EPERM",
                           *program(code, server.address, int(family), server.port)]
                for _ in ports:
                    child = stack.enter_context(started(command, env=environment))
                    equal(child.stdout.readline(), "ok\n", "connect")
                equal([port for _, port in server.saw(4)], list(ports), "ports")


# --- what the program can read back --------------------------------------------------------------

# Each step's name, and what the program finds afterwards.
READ_BACK = """
    import json
    libc = ctypes.CDLL(None, use_errno=True)
    said, kept = [], []

    def option(s, level, number, size=4):
        try:
            return s.getsockopt(level, number, size).hex()
        except OSError as e:
            return errno.errorcode[e.errno]

    def name(ask):
        try:
            return ask()[0:2]
        except OSError as e:
            return errno.errorcode[e.errno]

    def tell(what, s):
        said.append([what, {
            'IP_LOCAL_PORT_RANGE': option(s, IPPROTO_IP, 51),
            'IP_BIND_ADDRESS_NO_PORT': option(s, IPPROTO_IP, 24),
            'SO_REUSEADDR': option(s, SOL_SOCKET, SO_REUSEADDR),
            'SO_REUSEPORT': option(s, SOL_SOCKET, SO_REUSEPORT),
            'SO_BINDTODEVICE': option(s, SOL_SOCKET, SO_BINDTODEVICE, 16),
            'SO_ERROR': option(s, SOL_SOCKET, SO_ERROR),
            'O_NONBLOCK': s.getblocking(), 'flags': option_flags(s),
            'getsockname': name(s.getsockname), 'getpeername': name(s.getpeername)}])

    def option_flags(s):
        import fcntl
        return fcntl.fcntl(s, fcntl.F_GETFL), fcntl.fcntl(s, fcntl.F_GETFD)

    def address(family, to):
        number, port = struct.pack('=H', family), struct.pack('!H', to[1])
        if family == AF_INET:
            return number + port + inet_aton(to[0]) + bytes(8)
        return number + port + bytes(4) + inet_pton(family, to[0]) + bytes(4)

    def call(what, s, function, *arguments):
        '''By ctypes, which shows errno after a call that succeeded.'''
        ctypes.set_errno(77)
        result = function(s.fileno(), *arguments)
        said.append([what + ': result and errno', [result, ctypes.get_errno()]])

    def start(what, family, kind, port):
        host = {AF_INET: '127.0.0.1', AF_INET6: '::1'}[family]
        s = socket(family, kind)
        kept.append(s)
        return what + ' ' + family.name, s, address(family, (host, port))

    def connected(what, family, kind, port, blocks=True, bind=None):
        what, s, to = start(what, family, kind, port)
        s.setblocking(blocks)
        if bind:
            s.setsockopt(IPPROTO_IP, 24, 1)
            s.bind((bind, 0))
        call(what, s, libc.connect, to, len(to))
        if not blocks:
            select.select([], [s], [])
        tell(what, s)
        if kind == SOCK_STREAM:
            call(what + ' again', s, libc.connect, to, len(to))
            tell(what + ' again', s)

    def sent(what, family, port):
        what, s, to = start(what, family, SOCK_DGRAM, port)
        call(what, s, libc.sendto, b'?', 1, 0, to, len(to))
        tell(what, s)

    def refused(what, family, port):
        what, s, to = start(what, family, SOCK_STREAM, port)
        call(what, s, libc.connect, to, len(to))
        tell(what, s)

    tcp, udp, closed = map(int, sys.argv[1:4])
    for family, host in (AF_INET, '127.0.0.5'), (AF_INET6, '::1'):
        connected('tcp', family, SOCK_STREAM, tcp)
        connected('tcp non-blocking', family, SOCK_STREAM, tcp, blocks=False)
        connected('tcp bound to an address', family, SOCK_STREAM, tcp, bind=host)
        refused('tcp refused', family, closed)
        connected('udp', family, SOCK_DGRAM, udp)
        sent('udp sendto', family, udp)
    print(json.dumps(said))
    """


def told(command, *options):
    """What READ_BACK says, by name."""
    o = Observed(command, *options)
    equal((o.process.returncode, o.process.stderr), (0, ""), "the program")
    return dict(json.loads(o.process.stdout)), o


def differences(plain, steered):
    """{(step, what): (without berth, with it)}, the local port aside."""
    equal(list(plain), list(steered), "steps")
    found = {}
    for step, was in plain.items():
        now = steered[step]
        if isinstance(was, list):
            was, now = {"call": was}, {"call": now}
        for what in was:
            a, b = was[what], now[what]
            if what == "getsockname":
                a, b = (a[0], bool(a[1])), (b[0], bool(b[1]))
            if a != b:
                found[step, what] = a, b
    return found


@by_each_via
def by_read_back(via):
    """what the program reads back: the port alone differs, and SO_REUSEADDR after a bind"""
    with Server(family=socket.AF_INET6, address="::") as server, \
            socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp, \
            socket.socket(socket.AF_INET6) as closed, policy(via, ports_by(via, 100)) as file:
        udp.bind(("::", next(Server.unused_ports)))
        closed.bind(("::", next(Server.unused_ports)))
        command = program(READ_BACK, server.port, udp.getsockname()[1], closed.getsockname()[1])
        plain = dict(json.loads(bare(command).stdout))
        observed, _ = told(command)
        steered, o = told(command, "-P", file)
    equal(differences(plain, observed), {}, "differences without a policy")
    connects = [e for e in o.events if e["berth.call"] != "bind"]
    equal(len(connects), 12, "events")
    equal({e["berth.chosen_by"] for e in connects}, {"policy"}, "chosen_by")
    by_bind = {e["network.local.port"] for e in connects if e.get("berth.via") == "bind"}
    may = {(step, "SO_REUSEADDR"): ("00000000", "01000000") for step, was in steered.items()
           if step.startswith("tcp") and isinstance(was, dict)
           and (was["getsockname"][1] in by_bind or ("refused" in step and by_bind))}
    if via == "bind":
        equal(differences(plain, steered), may, "differences")
    else:
        wrong = differences(plain, steered).items() - may.items()
        equal(wrong, set(), "differences")


if __name__ == "__main__":
    berthtest.main()
