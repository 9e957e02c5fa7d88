# SPDX-License-Identifier: MIT
"""What berth costs where there is much of something: counted, in bytes mapped, in instructions and in
requests to the kernel, and so the same each time."""
import contextlib
import json
import os
import re
import subprocess
import tempfile

import berthtest
from berthtest import (BERTH, LIBBERTH, TRACED, Server, Skip, equal, need, port_range,
                       program)

RULES = 400
RESERVED = range(32769, 60999, 2)  # 14,115 ports, none beside another

# A rule that has what the machine gives, or part of it; each kind makes sets in another way.
KINDS = {
    "the machine's ports": lambda i: {"order": "random", "via": "range"},
    "all but one each": lambda i: {"local_ports": "32768-60999", "except": str(32768 + 2 * i),
                                   "via": "range"},
    "by both means": lambda i: {"local_ports": f"{20000 + i}-60999"},
    "shards": lambda i: {"mod": {"of": 4 * RULES, "is": i}},
    "tables": lambda i: {"order": "double-hash"},
}


def reserve(ports):
    """The kernel takes a page of the list with each write, and reads on from a comma."""
    texts = [str(port) for port in ports] or [""]
    fd = os.open("/proc/sys/net/ipv4/ip_local_reserved_ports", os.O_WRONLY)
    for i in range(0, len(texts), 500):
        more = i + 500 < len(texts)
        os.write(fd, (",".join(texts[i:i + 500]) + ("," if more else "\n")).encode())
    os.close(fd)


@contextlib.contextmanager
def image(kind, rules):
    with tempfile.TemporaryDirectory() as folder:
        source, compiled = folder + "/policy.json", folder + "/policy.img"
        with open(source, "w") as f:
            json.dump({"version": 1, "rules": [
                {"name": f"r{i}", "match": {"to": f"10.{i >> 8}.{i & 255}.1"}, **KINDS[kind](i)}
                for i in range(rules)]}, f)
        subprocess.run([BERTH, "compile", source, "-o", compiled], check=True)
        yield compiled


def bytes_mapped(policy):
    """What a program's start maps, with this policy."""
    with tempfile.NamedTemporaryFile("r") as f:
        subprocess.run(["strace", "-q", "-e", "trace=mmap", "-o", f.name, "-E",
                        f"LD_PRELOAD={LIBBERTH}", "-E", f"BERTH_POLICY={policy}", "-E",
                        "BERTH_RECORD=off", "/bin/true"], check=True)
        return sum(int(size) for size in re.findall(r"mmap\([^,]+, (\d+),", f.read()))


def instructions(*command, **variables):
    if "ASAN_OPTIONS" in os.environ:
        raise Skip("valgrind runs no program that AddressSanitizer is in")
    run = subprocess.run([*need("valgrind"), "--tool=callgrind", "--callgrind-out-file=/dev/null",
                          *command], capture_output=True, text=True, check=True,
                         env={**os.environ, **variables})
    return int(re.search(r"Collected : (\d+)", run.stderr)[1])


def count_with(count, ports):
    reserve(ports)
    return count()


def hold(what, kind, count, each):
    """Many rules and many reserved ports together cost no more than either alone, and `each` more
    for each rule."""
    with image("the machine's ports", 1) as one, image(kind, RULES) as many:
        alone = count_with(lambda: count(one), RESERVED)
        rules = count_with(lambda: count(many), [])
        both = count_with(lambda: count(many), RESERVED)
    print(f"# {kind}: {what}: {RULES} rules {rules}, {len(RESERVED)} reserved ports {alone}, "
          f"both {both}")
    assert both <= rules + alone + RULES * each, f"{kind}: {both} {what}"


def test_start_maps():
    """a start maps no more for each rule where many ports are reserved"""
    need("strace")
    for kind in KINDS:
        hold("bytes mapped", kind, bytes_mapped, 1024)


def test_start_instructions():
    """nor does it take more instructions"""
    for kind in KINDS:
        hold("instructions", kind, lambda policy: instructions(
            "/bin/true", LD_PRELOAD=LIBBERTH, BERTH_POLICY=policy, BERTH_RECORD="off"), 3000)


def test_start_is_linear():
    """four times as many rules take four times as many instructions, with tables of their own too"""
    reserve([])
    for kind in ("all but one each", "tables"):
        costs = []
        for rules in (1, RULES, 4 * RULES):
            with image(kind, rules) as policy:
                costs.append(instructions("/bin/true", LD_PRELOAD=LIBBERTH, BERTH_POLICY=policy,
                                          BERTH_RECORD="off"))
        one, few, many = costs
        print(f"# {kind}: instructions with 1, {RULES}, {4 * RULES} rules: {costs}")
        assert many - one < 5 * (few - one), f"{kind}: {costs}"


def test_check_instructions():
    """`berth check` goes over the ports once, not once for each rule"""
    for kind in ("the machine's ports", "by both means", "shards"):
        hold("instructions", kind, lambda policy: instructions(BERTH, "check", policy), 3000)


FAILING = """
    sockets = [socket() for _ in range(20)]
    for peer in 2 * [('127.0.0.1', int(port)) for port in sys.argv[3:]]:
        for s in sockets:
            s.connect_ex(peer)  # those that found a port keep it
    for i in range(int(sys.argv[1])):
        select.select([], [], [], float(sys.argv[2]))
        with socket() as s:
            assert s.connect_ex(('127.0.0.1', int(sys.argv[3 + i % 2]))) == errno.EADDRNOTAVAIL
"""


def dumps(*options, calls, pause=0, inject=()):
    """How many lists of sockets a `berth run` asks the kernel for, whose COMMAND's connects find no
    port, in turn to two destinations; and how many lines it prints of them. With what strace
    injects."""
    strace, = need("strace")
    with Server() as one, Server() as two, tempfile.TemporaryDirectory() as folder:
        trace, lines = folder + "/trace", folder + "/lines"
        run = [BERTH, "run", "-o", lines, *options, "--", 
               *program(FAILING, calls, pause, one.port, two.port)]
        done = subprocess.run([strace, "-f", "-qq", "-o", trace, "-e", "trace=sendto,sendmsg", *inject,
                               *run],
                              capture_output=True, text=True, env=TRACED)
        equal((done.returncode, done.stderr), (0, ""), "status and stderr")
        with open(trace, errors="replace") as f:
            asked = sum("SOCK_DIAG_BY_FAMILY" in line and "NLM_F_DUMP" in line for line in f)
        with open(lines) as f:
            return asked, sum("EADDRNOTAVAIL" in line for line in f)


def test_dumps():
    """`berth run` does not list all sockets for each call that failed, nor for each destination"""
    port_range(40000, 40009)
    for options in [], ["--why"]:
        asked, lines = dumps(*options, calls=3000)
        print(f"# {options}: {asked} lists of sockets, {lines} lines")
        assert lines >= 3000, lines
        assert 0 < asked < lines / 10, asked  # once a second at most


def test_slow_dumps():
    """where a list takes more than a second, as of 200,000 sockets, it serves for many lines"""
    port_range(40000, 40009)
    slow = "-e", "inject=sendto,sendmsg:delay_enter=300000"
    once, _ = dumps(calls=1, inject=slow)
    asked, lines = dumps(calls=50, pause=0.1, inject=slow)
    print(f"# {once} lists of sockets for one line, {asked} for {lines}")
    assert lines >= 50, lines
    assert 0 < once <= asked <= 2 * once, asked


if __name__ == "__main__":
    berthtest.main()
