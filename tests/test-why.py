# SPDX-License-Identifier: MIT
"""berth log --why, berth run --why, and what berth run says unasked where no port was found: each
kind of reason, by a real situation.
"""
import contextlib
import json
import os
import re
import socket
import subprocess
import tempfile

import berthtest
from berthtest import (Patient, Server, before_6_8, berth, equal, fresh_namespace, json_lines, kernel,
                       pick, port_range, program, running, sysctl, wait_for)

# Makes the calls on its command line, and keeps all sockets until its input ends.
CLIENT = """
kept = []
def tcp(*options, family=AF_INET):
    s = socket(family)
    for option in options:
        s.setsockopt(*option)
    kept.append(s)
    return s
def attempt(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        pass
"""
REUSE = "(SOL_SOCKET, SO_REUSEADDR, 1)"


@contextlib.contextmanager
def observed(code, *options):
    """A program that has made its calls and holds its sockets, and the recording of them."""
    lines = CLIENT + "\n".join(line.strip() for line in code.strip().splitlines())
    command = program(lines + "\nprint('done', flush=True); sys.stdin.read()")
    with running(command, *options) as (process, recording):
        equal(process.stdout.readline(), "done\n", "the program")
        yield recording


def reasons(recording, *calls, **options):
    """(event, reason) of each, in order."""
    events = json_lines(berth("log", "--why", "--json", recording, **options).stdout)
    return [(e, e.get("berth.why")) for e in (pick(events, *calls) if calls else events)]


def check(code, call, *expected, options=()):
    """The reasons of the calls begin with these words."""
    with observed(code, *options) as recording:
        got = [reason for _, reason in reasons(recording, call)]
    equal(len(got), len(expected), f"reasons {got}")
    for reason, words in zip(got, expected):
        assert reason.startswith(words), (reason, words)


LOW = "low's parity: first pass of connect()"
UNSEEN = "; sockets that are bound and not connected are not to be seen on this kernel"
OTHER = "other parity: low's is used up towards this destination"


def test_parities():
    """Low's parity first, then the other: 40000-40007 and 40001-40008"""
    for low in (40000, 40001):
        fresh_namespace()
        port_range(low, low + 7)
        with Server() as server:
            connect = f"for _ in range(8): attempt(tcp().connect, ('127.0.0.1', {server.port}))"
            check(connect, "connect", *[LOW] * 4, *[OTHER] * 4)


def test_all_in_use():
    """All ports are in use: how many, by whom, and what to do"""
    fresh_namespace()
    port_range(40000, 40007)
    with Server() as server:
        connect = f"for _ in range(9): attempt(tcp().connect, ('127.0.0.1', {server.port}))"
        with observed(connect) as recording:
            event, reason = reasons(recording, "connect")[-1]
    equal(event["error.type"], "EADDRNOTAVAIL")
    for words in (f"all 8 ports to 127.0.0.1:{server.port} from 127.0.0.1 are in use",
                  "8 held by python3 (pid ", "another source address",
                  f"berth doctor 127.0.0.1:{server.port}"):
        assert words in reason, (words, reason)


def test_all_were_in_use():
    """What is free again by now is said to have been in use then"""
    fresh_namespace()
    port_range(40000, 40003)
    with Server() as server:
        connect = f"""
            for _ in range(5): attempt(tcp().connect, ('127.0.0.1', {server.port}))
            for s in kept: s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0)); s.close()
        """
        with observed(connect) as recording:
            wait_for(lambda: not subprocess.run(
                ["ss", "-Htn", "dport", f"= {server.port}"], capture_output=True).stdout)
            assert reasons(recording, "connect")[-1][1].startswith(
                f"no port to 127.0.0.1:{server.port} was found then; now 0 of the 4 of 40000-40003 "
                "are in use"), reasons(recording)


def test_time_wait():
    """TIME_WAIT among the ports is counted"""
    fresh_namespace()
    port_range(40000, 40003)
    sysctl("ipv4.tcp_tw_reuse", "0")
    with Patient() as server:
        connect = f"""
            for _ in range(4): s = tcp(); s.connect(('127.0.0.1', {server.port})); s.close()
            attempt(tcp().connect, ('127.0.0.1', {server.port}))"""
        with observed(connect) as recording:
            wait_for(lambda: subprocess.run(  # the server is still to close the last one
                ["ss", "-Htan", "state", "time-wait", "dport", f"= {server.port}"],
                capture_output=True).stdout.count(b"\n") == 4)
            _, reason = reasons(recording, "connect")[-1]
    assert ", 4 in TIME_WAIT" in reason, reason


def test_tuple_taken():
    """A bound socket, and the same connection twice"""
    fresh_namespace()
    with Server() as server:
        with observed(f"""
                a = tcp({REUSE}); a.bind(('127.0.0.1', 20000))
                a.connect(('127.0.0.1', {server.port}))
                b = tcp({REUSE}); b.bind(('127.0.0.1', 20000))
                attempt(b.connect, ('127.0.0.1', {server.port}))""") as recording:
            got = [reason for _, reason in reasons(recording, "connect")]
    equal(got[0], "the program named the port in bind()")
    assert got[1].startswith(
        f"the 4-tuple 127.0.0.1:20000 > 127.0.0.1:{server.port} is taken by a connection of "
        "python3 (pid "), got[1]


def test_binds():
    """bind(): of an address that is not here, of a port that is held, of port 0 without a port left"""
    fresh_namespace()
    port_range(40000, 40001)
    with observed("""
            attempt(tcp().bind, ('10.9.9.9', 0))
            tcp().bind(('127.0.0.1', 20000)); kept[-1].listen()
            attempt(tcp().bind, ('127.0.0.1', 20000))
            for _ in range(3): attempt(tcp().bind, ('127.0.0.1', 0))""") as recording:
        got = [reason for _, reason in reasons(recording, "bind")]
    equal(got[0], "10.9.9.9 is not an address of this namespace")
    equal(got[1], "the program named the port in bind()")
    assert got[2].startswith("port 20000 is held by a listener of python3 (pid "), got[2]
    equal(got[3], "bind(0): the parity other than low's first")
    equal(got[5], "no port of 40000-40001 was free for bind(0); of 2, " +
          ("2 have a socket now, or are reserved" if kernel("bound_sockets_listed") else
           "0 have a socket now, or are reserved" + UNSEEN))


def test_unlisted():
    """A kernel that does not list sockets that are bound alone: it is said where one may hold a port"""
    fresh_namespace()
    port_range(40000, 40001)
    with tempfile.TemporaryDirectory() as folder, Server() as server, socket.socket() as holder:
        holder.bind(("127.0.0.1", 49155))
        options = with_policy(folder, [{"name": "one", "local_ports": "49155-49156", "via": "bind",
                                        "match": {"to": f"127.0.0.1:{server.port}"},
                                        "order": "sequential"}])
        code = f"""
            attempt(tcp().bind, ('127.0.0.1', 49155))
            for _ in range(3): attempt(tcp().bind, ('127.0.0.1', 0))
            attempt(tcp().connect, ('127.0.0.1', {server.port}))"""
        with observed(code, *options) as recording:
            told = [reason for _, reason in reasons(recording, env=before_6_8())]
            seen = [reason for _, reason in reasons(recording)]
    equal(told[0], "port 49155 was held, by a socket that is closed now, or bound and not connected, "
          "which is not to be seen on this kernel")
    equal(told[3], "no port of 40000-40001 was free for bind(0); of 2, 0 have a socket now, or are "
          "reserved" + UNSEEN)
    equal(told[4], "policy one, 2nd candidate: 49155 was held" + UNSEEN)
    if kernel("bound_sockets_listed"):
        assert seen[0].startswith("port 49155 is held by a bound socket of python3 (pid "), seen
        assert not any("not to be seen" in reason for reason in seen), seen


def test_bound_before():
    """connect() on a socket that bind(0) gave its port, and on one whose choice was put off"""
    fresh_namespace()
    port_range(40000, 40007)
    with Server() as server:
        with observed(f"""
                a = tcp(); a.bind(('127.0.0.1', 0)); a.connect(('127.0.0.1', {server.port}))
                b = tcp((IPPROTO_IP, 24, 1)); b.bind(('127.0.0.1', 0))
                b.connect(('127.0.0.1', {server.port}))
                for _ in range(6): attempt(tcp().bind, ('127.0.0.1', 0))""") as recording:
            got = [reason for _, reason in reasons(recording, "bind", "connect")]
    equal(got[:4], ["bind(0): the parity other than low's first", "as bind(0) had chosen it",
                    "put off until connect(): IP_BIND_ADDRESS_NO_PORT", LOW])
    equal(got[7:9], ["bind(0): low's parity, as the other is used up or SO_REUSEADDR is set"] * 2)


def test_closed():
    """What a socket holds that was closed by its process is said"""
    fresh_namespace()
    with Server() as server:
        code = f"""
            attempt(tcp().bind, ('127.0.0.1', 8080))
            attempt(kept[0].connect, ('127.0.0.1', {server.port}))
            kept[0].close()
            attempt(tcp().bind, ('127.0.0.1', 8080))
        """
        with observed(code) as recording:
            reason = reasons(recording, "bind")[-1][1]
    assert re.match(r"port 8080 is held by a connection that its process has closed \(fin_wait_[12]\)",
                    reason), reason


def test_odd_name():
    """A program whose name moves a cursor, and is not UTF-8, is named all the same"""
    fresh_namespace()
    code = """
        open("/proc/self/comm", "wb").write(bytes([27]) + b"[2J" + bytes([255]) + b" x")
        attempt(tcp().bind, ("127.0.0.1", 8080)); attempt(kept[0].listen)
        attempt(tcp().bind, ("127.0.0.1", 8080))
    """
    with observed(code) as recording:
        reason = reasons(recording, "bind")[-1][1]
    assert "port 8080 is held by a listener of ?[2J??x (pid " in reason, reason


def test_listen_and_udp():
    """listen() on a socket without a port, and a datagram"""
    fresh_namespace()
    with observed("""
            tcp().listen()
            kept.append(socket(AF_INET, SOCK_DGRAM)); kept[-1].sendto(b'x', ('127.0.0.1', 9))
            """) as recording:
        got = [reason for _, reason in reasons(recording, "listen", "sendto")]
    equal(got, ["listen() on a socket without a port: as bind(0)",
                "UDP: a random port, of either parity; with SO_REUSEADDR perhaps another socket's"])


def test_no_ipv6():
    """IPv6 switched off is not a lack of ports"""
    fresh_namespace()
    sysctl("ipv6.conf.all.disable_ipv6", "1")
    check("attempt(tcp(family=AF_INET6).connect, ('::1', 9))", "connect",
          "no local address for ::1 (disable_ipv6=1): no port was searched")


def with_policy(folder, rules):
    path = os.path.join(folder, "policy.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"version": 1, "rules": rules}, f)
    return ("-P", path)


def test_policy():
    """A policy's candidates, who held the one that was refused, and the exhausted set"""
    fresh_namespace()
    with tempfile.TemporaryDirectory() as folder, Server() as server, socket.socket() as holder:
        holder.bind(("127.0.0.1", 49155))
        holder.listen()
        options = with_policy(folder, [{"name": "shard-3", "local_ports": "49155-49157",
                                        "order": "sequential"}])
        connect = f"for _ in range(3): attempt(tcp().connect, ('127.0.0.1', {server.port}))"
        with observed(connect, *options) as recording:
            got = reasons(recording, "connect")
    equal(got[0][1], f"policy shard-3, 2nd candidate: 49155 was held by a listener of python3 "
          f"(pid {os.getpid()})")
    equal(got[0][0]["berth.refused"], "49155")
    equal(got[1][1], "policy shard-3, 1st candidate")
    assert got[2][1].startswith("the port set of rule shard-3 is exhausted: "), got[2][1]


def test_no_candidate():
    """A rule whose addresses are not here, or whose set is empty, refused no candidate"""
    fresh_namespace()
    with tempfile.TemporaryDirectory() as folder, Server() as server:
        connect = f"attempt(tcp().connect, ('127.0.0.1', {server.port}))"
        for rule in {"local_addresses": ["10.9.9.9"]}, {"local_ports": str(server.port)}:
            options = with_policy(folder, [{"name": "one", **rule}])
            check(connect, "connect", "rule one had no port to offer: ", options=options)


def test_offers_counted():
    """A port in TIME_WAIT may be offered twice: what is counted are offers"""
    fresh_namespace()
    sysctl("ipv4.tcp_tw_reuse", "0")
    with Patient() as server:
        connect = f"""
            for _ in range(4): s = tcp(); s.connect(('127.0.0.1', {server.port})); s.close()"""
        with observed(connect) as recording:
            ports = [e["network.local.port"] for e, _ in reasons(recording, "connect")]
            wait_for(lambda: subprocess.run(
                ["ss", "-Htan", "state", "time-wait", "dport", f"= {server.port}"],
                capture_output=True).stdout.count(b"\n") == 4)
            check(f"attempt(tcp().connect, ('127.0.0.1', {server.port}))", "connect",
                  "the port set of rule options is exhausted: 5 offers were refused",
                  options=["--via", "bind", "-L", ",".join(map(str, ports))])


def test_privileged():
    """Ports below ip_unprivileged_port_start: that the program may not have had the right is said"""
    fresh_namespace()
    may_not = ("or the program may not have it: ports below 1024 "
               "(net.ipv4.ip_unprivileged_port_start) need CAP_NET_BIND_SERVICE")
    drop = "ctypes.CDLL(None).prctl(24, 10, 0, 0, 0); os.setgroups([]); os.setuid(65534)"
    with Server() as server:
        connect = f"attempt(tcp().connect, ('127.0.0.1', {server.port}))"
        for ports, order in ("600-603", "sequential"), ("600", "random"), ("600,20000", "sequential"):
            with observed(f"{drop}\n{connect}", "-L", ports, "--order", order) as recording:
                (_, reason), = reasons(recording, "connect")
            assert reason.endswith("; " + may_not), reason
        check(connect, "connect", "policy options, 1st candidate", options=["-L", "600-603"])
        sysctl("ipv4.ip_unprivileged_port_start", "0")
        with observed(f"{drop}\n{connect}", "-L", "600-603") as recording:
            (_, reason), = reasons(recording, "connect")
            assert reason.startswith("policy options, ") and may_not not in reason, reason


def test_taken_by_binds():
    """Ports that bind() to port 0 chose are taken towards all destinations: said at another one's"""
    fresh_namespace()
    port_range(40000, 40009)
    with Server() as one, Server() as two:
        bound = f"""
            for _ in range(10): s = tcp(); s.bind(('127.0.0.1', 0)); s.connect(('127.0.0.1', {one.port}))
            attempt(tcp().connect, ('127.0.0.1', {two.port}))"""
        peer = f"127.0.0.1:{two.port}"
        with observed(bound) as recording:
            got = [reason for e, reason in reasons(recording, "connect") if e["network.peer.port"] == two.port]
    equal(got, [f"no port to {peer} was found then; now 0 of the 10 of 40000-40009 are in use, 10 have "
                "a socket or are reserved: a port that bind() to port 0 chose is taken towards every "
                f"destination (`berth doctor {peer}`)"])


def test_udp_holders():
    """A UDP port that another UDP socket has: that one is named, whatever TCP's has the number"""
    fresh_namespace()
    holders = """
            first = socket(AF_INET, SOCK_DGRAM); kept.append(first)
            first.bind(('127.0.0.1', 41060))
            listener = tcp(); listener.bind(('127.0.0.1', 41060)); listener.listen()
            """
    connect = "second = socket(AF_INET, SOCK_DGRAM); kept.append(second)\n" \
              "attempt(second.connect, ('127.0.0.1', 9))\n" \
              "attempt(second.bind, ('127.0.0.1', 41060))"
    for via in [], ["--via", "bind"]:
        with observed(holders + connect, "-L", "41060", *via) as recording:
            (udp, reason), = reasons(recording, "connect")
            bind = [r for e, r in reasons(recording, "bind") if e["berth.result"] == "failed"]
        held = "port 41060 is held by a UDP socket of "
        assert reason.startswith("the port set of rule options is exhausted: 1 offer was refused, the "
                                 "last because " + held), reason
        assert bind[0].startswith(held), bind


def test_none_to_offer():
    """All ports at rest, or the destination's own: what may be is said, and explain tells the latter"""
    fresh_namespace()
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        connect = f"attempt(tcp().connect, ('127.0.0.1', {server.port}))"
        for rule in {"local_ports": "46000", "rest": 60}, {"local_ports": str(server.port)}:
            options = with_policy(folder, [{"name": "one", **rule}])
            used = "rest" in rule
            code = f"s = tcp(); s.connect(('127.0.0.1', {server.port})); s.close()\n" if used else ""
            with observed(code + connect, *options) as recording:
                *_, (event, reason) = reasons(recording, "connect")
            assert "or all its ports rest, or are the destination's own" in reason, reason
            answer = berth("explain", *options, f"127.0.0.1:{server.port}").stdout
            equal("none: the only port is the destination's own" in answer, not used, answer)
            assert "the set is empty here" not in answer, answer


def test_to_itself():
    """A connection that is its own peer: said, with what keeps it away"""
    fresh_namespace()
    port_range(40000, 40003)
    said = "connected to itself: nobody listened on port 40002, and the kernel chose that very port "
    with observed("for _ in range(300): attempt(tcp().connect, ('127.0.0.1', 40002))") as recording:
        got = [reason for e, reason in reasons(recording, "connect")
               if e["berth.result"] == "ok"]
    assert got and all(reason.startswith(said) for reason in got), got


def test_unspecified_peer():
    """connect() to 0.0.0.0 and ::, which goes to loopback"""
    fresh_namespace()
    port_range(40000, 40003)
    for family, to, there in (("AF_INET", "0.0.0.0", "127.0.0.1"), ("AF_INET6", "::", "[::1]")):
        with Server(getattr(socket, family)) as server:
            connect = f"for _ in range(5): attempt(tcp(family={family}).connect, ('{to}', {server.port}))"
            check(connect, "connect", LOW, LOW, OTHER, OTHER, f"all 4 ports to {there}:{server.port} ")


def test_bound_twice():
    """A second bind() of a socket chooses nothing"""
    fresh_namespace()
    check("s = tcp(); s.bind(('127.0.0.1', 0)); attempt(s.bind, ('127.0.0.1', 0))", "bind",
          "bind(0): ", "the socket had this port before: the call chose none")


def test_widened():
    """What the range was at the time of an event is not claimed"""
    fresh_namespace()
    port_range(40000, 40003)
    with Server() as server:
        connect = f"for _ in range(5): attempt(tcp().connect, ('127.0.0.1', {server.port}))"
        with observed(connect) as recording:
            port_range(32768, 60999)
            _, reason = reasons(recording, "connect")[-1]
    assert reason.startswith(f"no port to 127.0.0.1:{server.port} was found then; now 4 of the 28232 "
                             "of 32768-60999 are in use"), reason


def test_odd_range():
    """An odd number of ports: it is said that one was left out"""
    fresh_namespace()
    port_range(40000, 40004)
    with Server() as server:
        until = f"""
            reset = lambda s: s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0)) or s.close()
            fill = lambda: [tcp().connect_ex(('127.0.0.1', {server.port})) for _ in range(5)]
            while not any(fill()): [reset(s) for s in kept]; kept.clear()"""
        with observed(until) as recording:
            reason = reasons(recording, "connect")[-1][1]
    equal(reason.split(", and of an odd number of ports each connect() leaves one of low's parity out")[0],
          f"no port to 127.0.0.1:{server.port} was found then; now 4 of the 5 of 40000-40004 are in use")
    assert "leaves one of low's parity out" in reason, reason


def test_falls_back():
    """A rule that leaves an exhausted set to the kernel"""
    fresh_namespace()
    with tempfile.TemporaryDirectory() as folder, Server() as server:
        options = with_policy(folder, [{"name": "one", "local_ports": "45001",
                                        "exhausted": "kernel"}])
        connect = f"for _ in range(2): attempt(tcp().connect, ('127.0.0.1', {server.port}))"
        with observed(connect, *options) as recording:
            got = [reason for _, reason in reasons(recording, "connect")]
    equal(got[0], "policy one, 1st candidate")
    assert got[1].startswith("the port set of rule one was exhausted, and it leaves that to the "
                             "kernel; low's parity"), got[1]


def test_unasked():
    """berth run tells it unasked where no port was found, and only there"""
    fresh_namespace()
    port_range(40000, 40001)
    with Server() as server:
        done = berth("run", "--", *program(CLIENT + f"""
for _ in range(3): attempt(tcp().connect, ('127.0.0.1', {server.port}))
import time; time.sleep(0.3)"""))
    lines = done.stderr.splitlines()
    equal(len(lines), 3, done.stderr)
    assert lines[0].endswith("us") and lines[1].endswith("us"), lines
    assert ": all 2 ports to " in lines[2], lines[2]


def test_run_why():
    """berth run --why tells it of all, as text and as JSON"""
    fresh_namespace()
    with Server() as server:
        code = CLIENT + f"tcp().connect(('127.0.0.1', {server.port}))"
        text = berth("run", "--why", "--", *program(code)).stderr
        assert text.endswith(f"us: {LOW}\n"), text
        out = json_lines(berth("run", "--why", "--json", "--", *program(code)).stderr)
        equal(out[0]["berth.why"], LOW)


def test_other_namespace():
    """An event of another network namespace is not judged by this one"""
    fresh_namespace()
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        recording = os.path.join(folder, "r")
        code = CLIENT + f"attempt(tcp().connect, ('127.0.0.1', {server.port}))"
        berth("run", "-q", "--record", recording, "--", "unshare", "-n", *program(code))
        out = [r for e, r in reasons(recording, "connect")
               if e["process.executable.name"].startswith("python")]
    equal(out, ["of another network namespace: not judged here"])


if __name__ == "__main__":
    berthtest.main()
