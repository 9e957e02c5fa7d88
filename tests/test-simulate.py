# SPDX-License-Identifier: MIT
"""berth simulate: its words, its numbers, and that the running kernel does the same.

The kernel's secrets are not known, so it is compared by what does not depend on them: in which order
the parities come, where the ports run out, and which ports are left aside.
"""
import collections
import contextlib
import json
import os
import re
import shutil
import socket
import struct
import tempfile

import berthtest
from berthtest import (Server, Skip, berth, equal, fresh_namespace, json_lines, kernel, port_range,
                       sysctl)

IP_LOCAL_PORT_RANGE = 51


def simulate(*arguments, **popen):
    done = berth("simulate", *arguments, **popen)
    equal((done.returncode, done.stderr), (0, ""), "berth simulate")
    return done.stdout


def simulated_ports(algorithm, low, high, count, *arguments):
    lines = simulate("-a", algorithm, "-r", f"{low}-{high}", "-n", count, "--each", *arguments)
    return [int(line.split()[1]) for line in lines.splitlines()]


def refused(*arguments):
    done = berth("simulate", *arguments)
    equal((done.returncode, done.stdout), (2, ""), done.stderr)
    return done.stderr


@contextlib.contextmanager
def connections(server, count, own_range=None):
    """The ports of so many connections in turn, 0 for each that found none."""
    opened, ports = [], []
    for _ in range(count):
        client = socket.socket()
        opened.append(client)
        if own_range:
            option = struct.pack("I", own_range[1] << 16 | own_range[0])
            try:
                client.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, option)
            except OSError as error:
                raise Skip("no IP_LOCAL_PORT_RANGE") from error
        try:
            client.connect((server.address, server.port))
            ports.append(client.getsockname()[1])
        except OSError:
            ports.append(0)
    try:
        yield ports
    finally:
        for client in opened:
            client.close()


def parities(ports, low):
    return [None if not port else (port - low) % 2 for port in ports]


def check_against_kernel(low, high, held=(), reserved=()):
    """The order of parities, the exhaustion, and the ports that were given."""
    fresh_namespace()
    port_range(low, high)
    sysctl("ipv4.ip_local_reserved_ports", ",".join(map(str, reserved)) or "\n")
    count = high - low + 3
    options = []
    if held:
        options += ["--held", ",".join(map(str, held))]
    with contextlib.ExitStack() as stack, Server() as server:
        for port in held:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", port))
            listener.listen()
        with connections(server, count) as real:
            model = simulated_ports("linux-6.8", low, high, count, "--reserved",
                                    ",".join(map(str, reserved)), *options)
    equal(parities(model, low), parities(real, low), f"parities in {low}-{high}")
    equal(sorted(model), sorted(real), "ports")


def need_no_parity():
    if not kernel("range_without_parity"):
        raise Skip("this kernel has no IP_LOCAL_PORT_RANGE without parities (Linux 6.8, 207184853dbd)")


def test_even_ranges():
    """The kernel's parities, and where it ends, in even ranges that begin even and odd"""
    for low in (40000, 40001):
        check_against_kernel(low, low + 7)
        check_against_kernel(low, low + 63)


def test_held_and_reserved():
    """Listeners and reserved ports are left aside by both"""
    check_against_kernel(40000, 40031, held=(40002, 40005, 40007), reserved=(40010, 40011, 40020))


def test_two_ports():
    """A range of two ports, and of one"""
    check_against_kernel(40000, 40001)
    check_against_kernel(40000, 40000)


def test_odd_range():
    """An odd range gives four ports or five in the kernel, and so it does here"""
    model = {sum(1 for p in simulated_ports("linux-6.8", 40000, 40004, 6, "--seed", seed) if p)
             for seed in range(60)}
    equal(model, {4, 5}, "simulated connections")
    real = set()
    for _ in range(40):
        fresh_namespace()
        port_range(40000, 40004)
        with Server() as server, connections(server, 6) as ports:
            real.add(sum(1 for p in ports if p))
    assert real <= {4, 5}, real
    fresh_namespace()
    port_range(40000, 40004)
    with Server() as server, connections(server, 6, (40000, 40004)) as ports:
        found = sum(1 for p in ports if p)
        assert found == 5 or not kernel("range_without_parity") and found == 4, found
    equal(sum(1 for p in simulated_ports("linux-6.8", 1, 65535, 6, "--local-range", "40000-40004")
              if p), 5, "simulated with it")


def test_own_range():
    """With IP_LOCAL_PORT_RANGE there is no parity, in the kernel and here"""
    need_no_parity()
    fresh_namespace()
    port_range(40000, 40063)
    with Server() as server, connections(server, 20, (40000, 40063)) as real:
        model = simulated_ports("linux-6.8", 40000, 40063, 20, "--local-range", "40000-40063")
        equal(len(set(parities(real, 40000))), 2, "parities of the kernel")
        equal(len(set(parities(model, 40000))), 2, "simulated parities")


def test_steps():
    """From one connection to the next the port grows by 2 to 16, by 1 to 8 with the option"""
    by_two, by_one = set(range(2, 17, 2)), set(range(1, 9))
    model_6_8, model_5_18 = "linux-6.8", "linux-5.18"  # which has the option with parities, as 6.3
    with_option = (model_6_8, by_one) if kernel("range_without_parity") else (model_5_18, by_two)
    for option, (era, steps) in ((None, (model_6_8, by_two)), ((32768, 60999), with_option)):
        fresh_namespace()
        local = ["--local-range", "32768-60999"] if option else []
        model = simulated_ports(era, 32768, 60999, 200, *local)
        with Server() as server, connections(server, 100, option) as real:
            for ports in (model, real):
                seen = [(b - a) % 28232 for a, b in zip(ports, ports[1:])]
                # The kernel draws another hash every ten seconds, and then begins elsewhere.
                assert sum(s not in steps for s in seen) <= 1, (option, seen)


def test_bind():
    """bind() to port 0: the other parity first, the halves with SO_REUSEADDR"""
    for reuse in (False, True):
        fresh_namespace()
        port_range(40000, 40007)
        sockets, real = [], []
        for _ in range(9):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            sockets.append(s)
            try:
                s.bind(("127.0.0.1", 0))
                real.append(s.getsockname()[1])
            except OSError:
                real.append(0)
        model = simulated_ports("linux-bind", 40000, 40007, 9, *["--reuseaddr"] * reuse)
        for s in sockets:
            s.close()
        if reuse:  # that the last ones share ports is beyond the model
            real, model = [[p >= 40004 for p in ports[:8]] for ports in (real, model)]
        else:
            real, model = parities(real, 40000), parities(model, 40000)
        equal(model, real, f"SO_REUSEADDR {reuse}")


def test_udp():
    """UDP: all ports of the range, and then none"""
    fresh_namespace()
    port_range(40000, 40015)
    sockets, real = [], []
    for _ in range(17):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sockets.append(s)
        try:
            s.connect(("127.0.0.1", 9))
            real.append(s.getsockname()[1])
        except OSError:
            real.append(0)
    for s in sockets:
        s.close()
    model = simulated_ports("linux-udp", 40000, 40015, 17)
    equal(sorted(model), sorted(real), "ports")
    equal((model[-1], real[-1]), (0, 0), "the last")


def test_two_destinations():
    """One port to two destinations; a second to the same one fails"""
    fresh_namespace()
    port_range(60100, 60100)
    with Server() as one, Server() as other:
        with connections(one, 2) as first, connections(other, 1) as second:
            equal((first, second), ([60100, 0], [60100]), "the kernel")
    equal(simulated_ports("linux-6.8", 60100, 60100, 3, "--destinations", 2), [60100, 60100, 0])


def test_cliff():
    """Where low's parity is full the scan grows to half the range, as the kernel's does"""
    out = json_lines(simulate("-a", "linux-6.8,linux-3.10", "-r", "32768-60999", "-n", 14000,
                              "--json"))
    assert out[0]["looked_at"]["p99"] < 300, out[0]
    out = json_lines(simulate("-a", "linux-6.8,linux-3.10", "-r", "32768-60999", "-n", 20000,
                              "--json"))
    assert out[0]["looked_at"]["p99"] > 14116, out[0]
    equal(out[1]["looked_at"]["p99"], 1, "of 3.10, which has no parity")


def test_worked_example():
    """The choice that was read off a debugged kernel: hint 32, offset 266836801, port 48968"""
    out = simulate("-a", "linux-4.2", "-n", 1, "-r", "32768-60999", "--hint", 32, "--offset",
                   266836801, "--trace")
    for words in ("the hint is 32", "266836833", "16201", "48968, of low's parity: free",
                  "for the next call it keeps 34"):
        assert words in out, (words, out)


def test_trace():
    """A trace tells each port: reserved, taken or free"""
    out = simulate("-a", "linux-6.8", "-r", "40000-40007", "--reserved", "40002", "-n", 5, "--trace")
    assert "40002, of low's parity: reserved, or held by a bind" in out, out
    assert "the 4-tuple is taken" in out and "of the other parity: free" in out, out
    out = simulate("-a", "linux-6.8", "-r", "40000-40007", "-n", 9, "--trace=9")
    assert "EADDRNOTAVAIL after 8 ports" in out, out


def test_seeds():
    """The same seed gives the same ports, another seed others"""
    ports = [simulated_ports("linux-6.8", 32768, 60999, 50, "--seed", seed) for seed in (1, 1, 2)]
    equal(ports[0], ports[1])
    assert ports[0] != ports[2]


def test_what_if():
    """More addresses, tcp_tw_reuse and a wider range each end the failures"""
    base = ["-a", "linux-6.8", "-n", 60000, "--rate", 1000, "--lifetime", 1, "-r", "32768-60999"]

    def failures(*more):
        return json_lines(simulate(*base, "--tw-reuse", 0, "--json", *more))[0]["failed"]
    assert failures() > 0
    equal(failures("--sources", 4), 0)
    equal(failures("-r", "1024-65535"), 0)
    equal(failures("--close", "server"), 0)
    out = json_lines(simulate(*base, "--tw-reuse", 1, "--tw-reuse-delay", 1000, "--json"))[0]
    equal(out["failed"], 0)
    equal(json_lines(simulate(*base, "--tw-reuse", 2, "--loopback", "--json"))[0]["failed"], 0)


def test_orders_of_policies():
    """RFC 6056's algorithms by number and by name are a policy's orders"""
    for number, name in enumerate(("random-start", "random", "hash", "double-hash",
                                   "random-increment"), 1):
        by_number = simulated_ports(f"rfc6056-{number}", 40000, 40099, 101)
        equal(by_number, simulated_ports(name, 40000, 40099, 101), name)
        equal(sorted(by_number)[1:], list(range(40000, 40100)), name)


def test_this_machine():
    """Without options the range, the reserved ports and tcp_tw_reuse are this machine's"""
    fresh_namespace()
    port_range(50000, 50009)
    sysctl("ipv4.ip_local_reserved_ports", "50003")
    out = simulate("-a", "linux-6.8", "-n", 12)
    assert out.startswith("ports 50000-50009: 10, 1 of them reserved or held"), out
    assert " 9        3 " in out, out


def test_errors():
    """How a call fails is each algorithm's own"""
    for algorithm, error in (("linux-6.8", "EADDRNOTAVAIL"), ("linux-bind", "EADDRINUSE"),
                             ("linux-udp", "EAGAIN")):
        workload = ["-a", algorithm, "-n", 9, "-r", "40000-40007", "--reserved", ""]
        assert f" {error} for the first time at connection 9" in simulate(*workload)
        assert f"{error} after 8 ports" in simulate(*workload, "--trace")


def test_trace_start():
    """--trace tells how the sum becomes the first port"""
    sums = ["-n", 1, "-r", "40000-40007", "--reserved", "", "--hint", 0, "--trace"]
    for algorithm, offset, words in (
            ("linux-3.10", 5, "modulo 8 ports: 5\n  so from port 40000 + 6 on: one further"),
            ("linux-4.2", 5, "modulo 8 ports: 5\n  so from port 40000 + 4 on: the lowest bit"),
            ("linux-6.8", 5 << 32, "modulo 8 ports: 5\n  so from port 40000 + 4 on: the lowest bit"),
            ("linux-6.8", 4 << 32, "modulo 8 ports: 4\n  so from port 40000 + 4 on\n")):
        out = simulate(*sums, "-a", algorithm, "--offset", offset)
        assert words in out, out
    assert "around all 65536 ports" in simulate(*sums, "-a", "linux-udp")


def test_list():
    """-a list names each algorithm, its rule, its kernels and its source"""
    out = simulate("-a", "list")
    for words in ("linux-3.10", "linux-7.1", "7da62262ec96", "rfc6056-5", "least-recent"):
        assert words in out, words


def test_bad_input():
    """What cannot be is refused, with the place and the nearest name"""
    for arguments, words in (
            (["-r", "5-1"], "-r: '5-1'"),
            (["-r", "0-10"], "0 is no port"),
            (["-r", "1-70000"], "no port above 65535"),
            (["-r", "x"], "-r: 'x'"),
            (["-a", "linux-6.9"], "the nearest is 'linux-6.8'"),
            (["-a", "linux-6.14"], "the nearest is 'linux-6.8'"),
            (["-a", "linux-2.6"], "the nearest is 'linux-3.10'"),
            (["-a", "linux-99.0"], "the nearest is 'linux-7.1'"),
            (["-a", "linux"], "unknown algorithm 'linux'; `-a list` lists them"),
            (["-a", "reno"], "unknown algorithm 'reno'; `-a list` lists them"),
            (["-a", "rfc6056-6"], "unknown algorithm 'rfc6056-6'"),
            (["-n", "0"], "-n: '0' is not a whole number from 1"),
            (["--rate", "-1"], "--rate: '-1'"),
            (["--rate", "nan"], "--rate: 'nan'"),
            (["--lifetime", "x"], "--lifetime: 'x'"),
            (["--close", "both"], "--close: 'both' is not client or server"),
            (["--tw-reuse", "3"], "--tw-reuse: '3'"),
            (["--udp-slots", "3"], "--udp-slots: '3' is not a power of two"),
            (["--held", "1,,2"], "--held: ''"),
            (["--seed", "-1"], "--seed: '-1'"),
            (["--sources", "4000", "--destinations", "4000"], "at most 4096"),
            (["-a", "linux-4.6", "--local-range", "1-2"], "linux-4.6 knows no IP_LOCAL_PORT_RANGE"),
            (["-n", "3", "--trace=4"], "there are only 3 connections"),
            (["--trace", "--each"], "one of them"),
            (["x"], "'x': takes no operands")):
        assert words in refused(*arguments), (arguments, refused(*arguments))


def test_picture():
    """--svg draws the picture by gnuplot; without gnuplot, or into nowhere, it says so"""
    with tempfile.TemporaryDirectory() as folder:
        picture = os.path.join(folder, "a'picture.svg")
        done = berth("simulate", "-n", 100, "-a", "linux-6.8", "--svg", picture,
                     env={**os.environ, "PATH": folder})
        equal(done.returncode, 2)
        assert "gnuplot is not installed" in done.stderr, done.stderr
        if not shutil.which("gnuplot"):
            raise Skip("gnuplot is not installed")
        simulate("-n", 100, "-a", "linux-6.8,random", "--svg", picture)
        with open(picture, encoding="utf-8") as f:
            svg = f.read()
        assert svg.startswith("<?xml") and "linux-6.8" in svg and "random" in svg
        done = berth("simulate", "-n", 100, "--svg", os.path.join(folder, "no", "where.svg"))
        equal(done.returncode, 2)
        assert "could not draw" in done.stderr, done.stderr


def drawn(*arguments):
    """The points that gnuplot is to draw: (connection, port, ports taken, ports looked at), a port 0
    for a failure."""
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/gnuplot", "w") as f:
            f.write(f"#!/bin/sh\ncat >'{folder}/points'\n")
        os.chmod(f.name, 0o755)
        simulate(*arguments, "--svg", folder + "/picture",
                 env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
        with open(folder + "/points") as f:
            data, = re.findall(r"^\$data0 << END\n(.*?)^END$", f.read(), re.S | re.M)
    return [tuple(int(n) for n in line.split()[:4]) for line in data.splitlines()]


def test_picture_of_all_turns():
    """--svg shows what takes turns in its proportion, however many connections: parities, and more"""
    for count in 1000, 2000, 5000, 8000, 20000, 28000:
        points = drawn("-a", "sequential", "-r", "32768-60999", "-n", count)
        for turns in 2, 3, 4, 5, 7, 8, 10:
            equal(sum(not port for _, port, _, _ in points), 0, "failures")
            parts = collections.Counter(port % turns for _, port, _, _ in points)
            for turn in range(turns):
                assert abs(parts[turn] - len(points) / turns) < 75, (count, turns, parts)
        assert 800 <= len(points) <= 1000, len(points)
        assert points[-1][0] > count - 2 * max(1, count // 1000), points[-1]


def test_picture_of_few_failures():
    """--svg shows a failure, though it is one of thousands"""
    for count in 20001, 20002, 20003:
        workload = "-a", "sequential", "-r", "40000-59999", "-n", count
        counted, = json_lines(simulate(*workload, "--json"))
        failures = [at for at, port, _, _ in drawn(*workload) if not port]
        equal(failures[:1], [counted["first_failure"]], "failures")
    equal([at for at, port, _, _ in drawn("-a", "linux-6.8", "-r", "40000-40009", "-n", 25)
           if not port], list(range(11, 26)), "all of a few")


def test_json():
    """A JSON object for each algorithm, or for each connection"""
    out = json_lines(simulate("-n", 9, "-r", "40000-40007", "-a", "linux-6.8", "--json"))
    equal((out[0]["ok"], out[0]["failed"], out[0]["first_failure"]), (8, 1, 9))
    equal(out[0]["parity"], {"low": 4, "other": 4})
    out = json_lines(simulate("-n", 9, "-r", "40000-40007", "-a", "linux-6.8", "--json", "--each"))
    equal([o["connection"] for o in out], list(range(1, 10)))
    equal(json.dumps(out[-1]["port"]), "0")


if __name__ == "__main__":
    berthtest.main()
