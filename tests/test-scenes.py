# SPDX-License-Identifier: MIT
"""The scenes that berth grew from, each against the running kernel."""
import errno
import re
import socket
import subprocess

import berthtest
from berthtest import (BERTH, Observed, Server, equal, log_of, need, port_range, program, running)


def ports(events):
    return [e["network.local.port"] for e in events]


def outcomes(events):
    return [e.get("error.type", e["berth.result"]) for e in events]


# --- a server that forgets its port ----------------------------------------------------------


def listening_port(pid):
    """What ss says."""
    text = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    line, = [line for line in text.splitlines() if f"pid={pid}," in line]
    return int(line.split()[3].rpartition(":")[2])


def forgetful(code):
    """The events, ports and the port that ss says of a server that runs this and never tells."""
    need("ss")
    code += "\nprint(os.getpid(), flush=True)\nsys.stdin.read()"
    with running(program(code)) as (process, recording):
        told = listening_port(process.stdout.readline().strip())
        return log_of(recording), told


def test_bound_to_port_0():
    """a server that binds port 0, listens and forgets: bind tells the port that ss shows"""
    events, told = forgetful("s = socket(); s.bind(('127.0.0.1', 0)); s.listen()")
    equal([e["berth.call"] for e in events], ["bind"], "calls")
    equal(ports(events), [told], "port")
    equal((events[0]["berth.asked.port"], events[0]["berth.chosen_by"]), (0, "kernel"), "asked")


def test_listens_unbound():
    """a server that listens without bind: listen tells the port that ss shows"""
    events, told = forgetful("s = socket(); s.listen()")
    equal([e["berth.call"] for e in events], ["listen"], "calls")
    equal(ports(events), [told], "port")
    equal(events[0]["berth.chosen_by"], "kernel", "chosen_by")


# --- ranges that are too small ---------------------------------------------------------------


def test_one_port_one_destination():
    """range 50001-50001: the second connection to one destination is EADDRNOTAVAIL, port 0"""
    with Server() as server:
        port_range(50001, 50001)
        o = Observed(program("""
            to = '127.0.0.1', int(sys.argv[1])
            a, b = socket(), socket()
            a.connect(to)
            print(b.connect_ex(to))""", server.port))
    equal(o.process.stdout, f"{errno.EADDRNOTAVAIL}\n", "what the program saw")
    equal(outcomes(o.events), ["ok", "EADDRNOTAVAIL"], "outcomes")
    equal(ports(o.events), [50001, 0], "local ports")
    equal([e["berth.chosen_by"] for e in o.events], ["kernel", "kernel"], "chosen_by")


def report(command):
    """All that a program says, but for how long it took."""
    process = subprocess.run(command, capture_output=True, text=True)
    return process.returncode, *(re.sub(r"after \d+ ms", "after a while", said)
                                 for said in (process.stdout, process.stderr))


def same_report(command):
    """Runs it with and without berth while 50001, the only port there is, is taken."""
    with Server() as server:
        port_range(50001, 50001)
        command = [word.replace("PORT", str(server.port)) for word in command]
        with socket.create_connection((server.address, server.port)):
            alone = report(command)
            observed = report([BERTH, "run", "-q", "--", *command])
            lines = report([BERTH, "run", "--", *command])
    equal(observed, alone, "the report under berth")
    equal(lines[:2], alone[:2], "exit status and stdout while berth prints lines")
    assert alone[0] != 0, alone
    assert f"0.0.0.0:0 > 127.0.0.1:{server.port} EADDRNOTAVAIL kernel" in lines[2], lines[2]


def test_curl_reports_the_same():
    """range 50001-50001, taken: curl says under berth exactly what it says without"""
    need("curl")
    same_report(["curl", "-sS", "-4", "-w", "%{exitcode} %{errormsg} %{local_port}",
                 "http://127.0.0.1:PORT/"])


def test_nc_reports_the_same():
    """range 50001-50001, taken: nc says under berth exactly what it says without"""
    need("nc")
    same_report(["nc", "-v", "-4", "-n", "-z", "127.0.0.1", "PORT"])


def test_one_port_two_destinations():
    """range 60100-60100: two clients to two server ports both get 60100"""
    with Server() as a, Server() as b:
        port_range(60100, 60100)
        o = Observed(["/bin/sh", "-c", f"nc -z 127.0.0.1 {a.port}; nc -z 127.0.0.1 {b.port}"])
        equal(ports(o.calls("connect")), [60100, 60100], "local ports")
        equal([e["network.peer.port"] for e in o.events], [a.port, b.port], "destinations")


# --- parity ----------------------------------------------------------------------------------


def test_connect_takes_even_ports_first():
    """range 40000-40007: connections take the four even ports, the four odd, EADDRNOTAVAIL"""
    with Server() as server:
        port_range(40000, 40007)
        o = Observed(program("""
            kept = [socket() for _ in range(9)]
            for s in kept:
                s.connect_ex(('127.0.0.1', int(sys.argv[1])))""", server.port))
    equal(outcomes(o.events), 8 * ["ok"] + ["EADDRNOTAVAIL"], "outcomes")
    equal(sorted(ports(o.events[:4])), [40000, 40002, 40004, 40006], "the first four")
    equal(sorted(ports(o.events[4:8])), [40001, 40003, 40005, 40007], "the next four")
    equal(ports(o.events[8:]), [0], "the ninth")


def test_bind_takes_odd_ports_first():
    """range 40010-40017: bind(0) takes the four odd ports, the four even, EADDRINUSE"""
    port_range(40010, 40017)
    o = Observed(program("""
        kept = [socket() for _ in range(9)]
        for s in kept:
            try:
                s.bind(('127.0.0.1', 0))
            except OSError:
                pass"""))
    equal(outcomes(o.events), 8 * ["ok"] + ["EADDRINUSE"], "outcomes")
    equal(sorted(ports(o.events[:4])), [40011, 40013, 40015, 40017], "the first four")
    equal(sorted(ports(o.events[4:8])), [40010, 40012, 40014, 40016], "the next four")
    equal(ports(o.events[8:]), [0], "the ninth")


if __name__ == "__main__":
    berthtest.main()
