# SPDX-License-Identifier: MIT
"""Programs that know nothing of berth: each port that it logs is the one that the server saw, all
of them compared, none sampled."""
import contextlib
import os
import pwd
import re
import signal
import socket
import subprocess
import tempfile
from collections import namedtuple

import berthtest
from berthtest import (NGINX, Observed, Server, Skip, equal, locals_of, log_of, need, pick, program,
                       running, started, stats_of, wait_for)

# --- nginx, as a server and as a proxy -------------------------------------------------------

Nginx = namedtuple("Nginx", "command pid log port")


def user_id(name):
    """Of a user that a program can become here."""
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:
        raise Skip("there is no user " + name)
    with open("/proc/self/uid_map") as f:
        if int(f.read().split()[2]) <= uid or os.geteuid() != 0:
            raise Skip("not root: nginx cannot become " + name)
    return uid


@contextlib.contextmanager
def configured(location, worker="root root"):
    """An nginx on both loopback addresses whose access log is who connected."""
    need("nginx")
    port = next(Server.unused_ports)
    with tempfile.TemporaryDirectory() as folder:
        nginx = Nginx([NGINX, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"],
                      f"{folder}/nginx.pid", f"{folder}/access.log", port)
        temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in (
            "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(f"{folder}/nginx.conf", "w") as f:
            f.write(f"""
                user {worker}; worker_processes 1; daemon off; pid {nginx.pid};
                events {{ }}
                http {{
                    {temporary}
                    log_format who "$remote_addr $remote_port";
                    access_log {nginx.log} who;
                    server {{
                        listen 127.0.0.1:{port}; listen [::1]:{port};
                        location / {{ {location} }}
                    }}
                }}""")
        yield nginx


def logged(nginx):
    """The sorted (address, port) of the access log."""
    with open(nginx.log) as f:
        return sorted((address, int(port)) for address, port in map(str.split, f))


def curl_against_nginx(host, *options):
    need("curl")
    with configured("return 200 ok;") as nginx, started(nginx.command) as server:
        wait_for(lambda: os.path.exists(nginx.pid))
        o = Observed(["curl", "-sS", *options, "-H", "Connection: close", "-o", "/dev/null",
                      f"http://{host}:{nginx.port}/[1-30]"])
        server.send_signal(signal.SIGQUIT)
        server.wait()
        equal(o.process.returncode, 0, o.process.stderr)
        equal(locals_of(o.calls("connect")), logged(nginx), "ports")
        equal(len(o.events), 30, "events")


def test_curl_ipv4():
    """curl over IPv4: 30 connections, each port as in nginx's access log"""
    curl_against_nginx("127.0.0.1")


def test_curl_ipv6():
    """curl over IPv6: 30 connections, each port as in nginx's access log"""
    curl_against_nginx("[::1]")


def test_curl_parallel():
    """curl -Z: 30 connections at once, each port as in nginx's access log"""
    curl_against_nginx("127.0.0.1", "-Z", "--parallel-immediate")


class Upstream(Server):
    """An HTTP server that answers ok."""

    def handle(self, connection):
        with connection:
            while b"\r\n\r\n" not in connection.recv(65536):
                pass
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_nginx_proxy():
    """nginx, a proxy: upstream connections are its worker's, the worker's uid, ports as seen"""
    need("curl")
    uid = user_id("www-data")
    with Upstream() as upstream, \
            configured(f"proxy_pass http://127.0.0.1:{upstream.port};", "www-data") as nginx, \
            running(nginx.command) as (process, recording):
        wait_for(lambda: os.path.exists(nginx.pid))
        subprocess.run(["curl", "-sS", "-o", "/dev/null",
                        f"http://127.0.0.1:{nginx.port}/[1-30]"], check=True)
        with open(nginx.pid) as f:
            master = int(f.read())
        process.terminate()
        equal(process.wait(), 0, "nginx's exit status")
        seen, events, stats = upstream.saw(30), log_of(recording), stats_of(recording)
    connects = pick(events, "connect")
    equal(locals_of(connects), seen, "ports")
    equal({e["process.pid"] for e in pick(events, "bind")}, {master}, "who bound")
    worker, = {e["process.pid"] for e in connects}
    rows = {row["process.pid"]: row for row in stats}
    equal(rows[worker]["process.user.id"], uid, "the worker's uid")
    equal(rows[worker]["process.parent_pid"], master, "the worker's parent")
    equal(rows[worker]["calls"]["connect"], 30, "the worker's connects")
    equal(rows[master]["process.user.id"], 0, "the master's uid")
    equal(rows[master]["calls"]["connect"], 0, "the master's connects")


# --- clients of a server of ours -------------------------------------------------------------


def nc(family, option):
    need("nc")
    with Server(family=family, keep=False) as server:
        loop = 'for i in 1 2 3 4 5 6 7 8 9 10; do echo $i | nc "$@"; done'
        o = Observed(["sh", "-c", loop, "sh", option, "-N", server.address, str(server.port)])
        equal(locals_of(o.calls("connect")), server.saw(10), "ports")
    equal(len({e["process.pid"] for e in o.events}), 10, "processes")


def test_nc_ipv4():
    """nc -4: ten processes, each port as the server saw it"""
    nc(socket.AF_INET, "-4")


def test_nc_ipv6():
    """nc -6: ten processes, each port as the server saw it"""
    nc(socket.AF_INET6, "-6")


def test_asyncio():
    """python asyncio: 200 connections at once, each in_progress with the port the server saw"""
    with Server() as server:
        o = Observed(program("""
            import asyncio
            async def main():
                await asyncio.gather(*(asyncio.open_connection('127.0.0.1', int(sys.argv[1]))
                                       for _ in range(200)))
            asyncio.run(main())""", server.port))
        equal(locals_of(o.calls("connect", berth__result="in_progress")), server.saw(200), "ports")
    equal(len(o.events), 200, "events")


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


def benchmark(*options):
    with redis() as (port, log):
        o = Observed(["redis-benchmark", "-p", str(port), "-h", "127.0.0.1", "-c", "50",
                      "-n", "20000", "-t", "get", "-q", *options])
        equal(o.process.returncode, 0, "redis-benchmark's exit status")
        connects = o.calls("connect")
        wait_for(lambda: len(accepted(log)) >= len(connects))
        equal(locals_of(connects), accepted(log), "ports")
    assert len(connects) >= 50, connects


def test_redis_benchmark():
    """redis-benchmark -c 50 -n 20000: each port as in redis-server's log"""
    benchmark()


def test_redis_benchmark_threads():
    """redis-benchmark --threads 2: each port as in redis-server's log"""
    benchmark("--threads", "2")


# --- datagrams -------------------------------------------------------------------------------

# The ways to send on an unbound socket.
SENDMMSG = """
    class iovec(ctypes.Structure):
        _fields_ = [('base', ctypes.c_char_p), ('size', ctypes.c_size_t)]
    class mmsghdr(ctypes.Structure):
        _fields_ = [('name', ctypes.c_char_p), ('name_size', ctypes.c_uint32),
                    ('iov', ctypes.POINTER(iovec)), ('iov_count', ctypes.c_size_t),
                    ('control', ctypes.c_void_p), ('control_size', ctypes.c_size_t),
                    ('flags', ctypes.c_size_t), ('sent', ctypes.c_size_t)]
    def sendmmsg(s, to):
        family = struct.pack('=H', s.family)
        port, address = struct.pack('!H', to[1]), inet_pton(s.family, to[0])
        name = (family + port + address + bytes(8) if s.family == AF_INET else
                family + port + bytes(4) + address + bytes(4))
        data = ctypes.pointer(iovec(b'?', 1))
        two = (mmsghdr * 2)(*2 * [mmsghdr(name, len(name), data, 1)])
        assert ctypes.CDLL(None).sendmmsg(s.fileno(), two, 2, 0) == 2
    """
SENDTO = """
    def sendto(s, to):
        s.sendto(b'?', to)
    """
SENDMSG = """
    def sendmsg(s, to):
        s.sendmsg([b'?'], [], 0, to)
    """


def datagrams(code, call, each=1):
    """Ten sockets of both families send by this call; `each` datagrams a socket arrive."""
    ask_all = """
    family, call = AddressFamily(int(sys.argv[1])), globals()[sys.argv[4]]
    for s in [socket(family, SOCK_DGRAM) for _ in range(10)]:
        call(s, (sys.argv[2], int(sys.argv[3])))
    """
    for family, address in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
        with socket.socket(family, socket.SOCK_DGRAM) as server:
            server.bind((address, 0))
            server.settimeout(berthtest.DEADLINE)
            port = server.getsockname()[1]
            o = Observed(program(code + ask_all, int(family), address, port, call))
            equal(o.process.stderr, "", "stderr")
            seen = [server.recvfrom(16)[1][:2] for _ in range(10 * each)]
        equal(sorted(e["network.local.port"] for e in o.calls(call) for _ in range(each)),
              sorted(port for _, port in seen), "ports")
        equal({e["network.peer.address"] for e in o.events}, {address}, "destinations")
        equal((len(o.events), o.total("calls", "send")), (10, 10), "events and count")


def test_sendto():
    """UDP by sendto() on an unbound socket, IPv4 and IPv6: each port as the server saw it"""
    datagrams(SENDTO, "sendto")


def test_sendmsg():
    """UDP by sendmsg() on an unbound socket, IPv4 and IPv6: each port as the server saw it"""
    datagrams(SENDMSG, "sendmsg")


def test_sendmmsg():
    """UDP by sendmmsg() on an unbound socket, IPv4 and IPv6: each port as the server saw it"""
    datagrams(SENDMMSG, "sendmmsg", each=2)


if __name__ == "__main__":
    berthtest.main()
