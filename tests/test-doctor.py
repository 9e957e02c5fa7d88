# SPDX-License-Identifier: MIT
"""berth doctor: the right first finding in prepared namespaces, and counts as ss tells them."""
import contextlib
import json
import os
import re
import resource
import socket
import struct
import subprocess
import tempfile
import threading

import berthtest
from berthtest import (Patient, Server, before_6_8, berth, equal, fresh_namespace, json_lines, kernel,
                       need, port_range, program, started, sysctl, wait_for)

OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def examine(*arguments, **options):
    """(exit status, what doctor --json said)"""
    done = berth("doctor", "--json", *arguments, **options)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def codes(answer):
    return [f["code"] for f in answer["findings"]]


class Abrupt(Server):
    """Keeps nothing of a connection on its side: it resets when the client has gone."""

    def handle(self, connection):
        self.connections.append(connection)


@contextlib.contextmanager
def clients(server, count, address=None, prepare=None):
    """So many connections, closed at the end without TIME_WAIT."""
    opened = []
    try:
        for _ in range(count):
            s = socket.socket()
            opened.append(s)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if prepare:
                prepare(s)
            if address:
                s.bind((address, 0))
            s.connect((server.address, server.port))
        yield opened
    finally:
        for s in opened:
            s.close()


def namespace(low=40000, high=41023):
    fresh_namespace()
    port_range(low, high)


def ss(*filters):
    out = subprocess.run(["ss", "-Htan", *filters], capture_output=True, text=True, check=True)
    return out.stdout.splitlines()


def test_healthy():
    """A healthy machine: no finding, exit 0"""
    fresh_namespace()
    with Server() as server, clients(server, 20):
        status, answer = examine()
        equal((status, codes(answer)), (0, []))
        equal((answer["destinations"][0]["sockets"], answer["range"]["ports"]), (20, 28232))
        text = berth("doctor").stdout
    assert f"127.0.0.1:{server.port} from 127.0.0.1: 20 of 28,232 ports (0 %)" in text, text
    assert "nothing wrong was found" in text and "failed choices of a port" in text, text


def test_nothing():
    """A namespace without a socket"""
    fresh_namespace()
    status, answer = examine()
    equal((status, answer["destinations"], answer["findings"]), (0, [], []))


def test_low_parity_full():
    """Low's parity is used up: each connect() scans it"""
    namespace()
    with Server() as server, clients(server, 520):
        status, answer = examine()
        equal((status, codes(answer)[0]), (0, "low-parity-used-up"))
        to = answer["destinations"][0]
        equal((to["free.low_parity"], to["free.other_parity"]), (0, 504))
        assert 512 < to["next_scan"] < 520, to
        assert "no port of the parity of 40000 is free" in berth("doctor").stdout


def test_nearly_full():
    """99 per cent: over the threshold, exit 1; the threshold can be moved"""
    namespace()
    with Server() as server, clients(server, 1014):
        status, answer = examine()
        equal((status, codes(answer)[0]), (1, "destination-nearly-full"))
        equal(answer["destinations"][0]["used"], 1014)
        policy = answer["findings"][0]["policy"]
        equal(policy["rules"][0]["match"]["to"], f"127.0.0.1:{server.port}")
        equal(examine("--threshold", 100)[0], 0)
        equal(examine(f"127.0.0.1:{server.port}")[0], 1)
        equal(examine("127.0.0.1:9")[1]["destinations"], [])
        equal(examine("127.0.0.1:9")[0], 0)


def test_full():
    """All ports towards a destination"""
    namespace(40000, 40999)
    with Server() as server, clients(server, 1000):
        status, answer = examine()
        equal((status, codes(answer)[0]), (1, "destination-full"))


def test_wide_range():
    """No wider range is proposed where it is wide already"""
    namespace(1024, 65535)
    sysctl("ipv4.ip_local_reserved_ports", "1030-65535")
    with Server() as server, clients(server, 6):
        finding = examine()[1]["findings"][0]
    equal((finding["code"], "policy" in finding, "widen" in finding["remedy"]),
          ("destination-full", False, False))


def test_many_destinations():
    """Many destinations are nearly full: the worst are told as text, and all as JSON"""
    namespace(40000, 40999)
    sysctl("ipv4.ip_local_reserved_ports", "40000-40899")
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server()) for _ in range(12)]
        for server in servers:
            stack.enter_context(clients(server, 1))
        text, found = berth("doctor").stdout, codes(examine()[1])
    equal((found.count("destination-nearly-full"), text.count("(destination-nearly-full)")), (12, 5))
    assert "and 7 more of the same kinds, which --json tells" in text, text


def test_remedies_are_policies():
    """What doctor proposes passes berth check"""
    namespace()
    with Server() as server, clients(server, 1014):
        found = [f["policy"] for f in examine()[1]["findings"] if "policy" in f]
    equal(len(found), 2)
    for policy in found:
        done = berth("check", "/dev/stdin", input=json.dumps(policy))
        equal((done.returncode, done.stderr), (0, ""))


def connected_by(policy, server, count):
    """The local ports of so many connections under it."""
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/policy.json", "w") as f:
            json.dump(policy, f)
        code = """
            kept = [create_connection(('127.0.0.1', int(sys.argv[1]))) for _ in range(int(sys.argv[2]))]
            print(*(s.getsockname()[1] for s in kept))"""
        done = berth("run", "-q", "-P", f.name, "--", *program(code, server.port, count))
    equal((done.returncode, done.stderr), (0, ""), "the program")
    return [int(port) for port in done.stdout.split()]


def test_more_ports():
    """The policy for a full destination leaves out reserved, privileged and listened-on ports"""
    namespace(40000, 40009)
    sysctl("ipv4.ip_local_reserved_ports", "10240-39989,40010-65000,65010,65012-65534")
    with Server() as server, clients(server, 10), socket.socket() as listener:
        listener.bind(("127.0.0.1", 65011))
        listener.listen()
        policy, = (f["policy"] for f in examine()[1]["findings"] if "policy" in f)
        equal(policy["rules"][0]["except"], ["10240-39989", "40010-65000", "65010-65534"])
        got = connected_by(policy, server, 20)
        equal(sorted(got), [*range(39990, 40000), *range(65001, 65010), 65535], "ports")
        sysctl("ipv4.ip_local_reserved_ports", "\n")
        sysctl("ipv4.ip_unprivileged_port_start", "40000")
        policy, = (f["policy"] for f in examine()[1]["findings"] if "policy" in f)
        equal((policy["rules"][0]["local_ports"], policy["rules"][0]["except"]),
              ("40000-65535", ["65011"]))
        sysctl("ipv4.ip_unprivileged_port_start", "1024")
        sysctl("ipv4.ip_local_reserved_ports", "1-39999,40010-65535")
        full, = (f for f in examine()[1]["findings"] if f["code"] == "destination-full")
        equal(("policy" in full, "widen" in full["remedy"]), (False, False), "no port is left")


def test_hold_remedies():
    """A listener, and a program that names its ports, outside the range: the range is whole again"""
    for code in "listeners-in-range", "explicit-in-range":
        for ports, lost in ((40000, 40001, 40002, 40003), 4), ((41000, 41001, 41002, 41003), 0):
            namespace(40000, 40003)
            with contextlib.ExitStack() as stack, Server() as server:
                for port in ports:
                    s = stack.enter_context(socket.socket())
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    s.bind(("127.0.0.1", port))
                    if code[0] == "l":
                        s.listen()
                    else:
                        s.connect((server.address, server.port))
                found = [f["remedy"] for f in examine()[1]["findings"] if f["code"] == code]
                equal(len(found), lost // 4, found)
                assert all("outside 40000-40003" in remedy for remedy in found), found
                with Server() as other, socket.socket() as s:
                    equal(s.connect_ex((other.address, other.port)) == 0, not lost, "connect()")


def test_itself():
    """A connection to itself is found, and the remedy keeps it away"""
    namespace(40000, 40003)
    for address, family in ("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6):
        def connects():
            with socket.socket(family) as s:
                if s.connect_ex((address, 40002)):
                    return False
                found, = (f for f in examine()[1]["findings"] if f["code"] == "self-connection")
                assert "is connected to itself" in found["figure"], found
                assert "ip_local_reserved_ports=40002" in found["remedy"], found
                return True
        wait_for(connects)
        sysctl("ipv4.ip_local_reserved_ports", "40002")
        equal([connects() for _ in range(60)], [False] * 60, "with the port reserved")
        sysctl("ipv4.ip_local_reserved_ports", "\n")
        equal("self-connection" in codes(examine()[1]), False)


def test_unspecified():
    """A destination of 0.0.0.0 or :: is loopback, as connect() has it"""
    fresh_namespace()
    for family, to, address in ((socket.AF_INET, "0.0.0.0", "127.0.0.1"),
                                (socket.AF_INET6, "[::]", "[::1]")):
        with Server(family) as server, socket.socket(family) as s:
            s.connect((to.strip("[]"), server.port))
            equal([d["to"] for d in examine(f"{to}:{server.port}")[1]["destinations"]],
                  [f"{address}:{server.port}"])


def test_two_ports():
    """A range of two ports"""
    namespace(40000, 40001)
    equal(codes(examine()[1]), ["small-range"])


def test_odd_range():
    """A range with an odd number of ports"""
    namespace(40000, 45000)
    equal(codes(examine()[1]), ["odd-range"])


def test_listener():
    """A listener takes a port of the range from every connect()"""
    fresh_namespace()
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 40002))
        thief.listen()
        status, answer = examine()
    equal((status, codes(answer)), (0, ["listeners-in-range"]))
    equal(answer["lost"], {"reserved": 0, "listener": 1, "bound": 0, "explicit": 0})
    assert "40002" in answer["findings"][0]["figure"]


def test_explicit_binds():
    """Ports that were named in bind(), connected and not"""
    fresh_namespace()
    with contextlib.ExitStack() as stack, Server() as server:
        for port in (40000, 40001, 40003):
            s = stack.enter_context(socket.socket())
            s.bind(("127.0.0.1", port))
            if port < 40002:
                s.connect((server.address, server.port))
        answer = examine()[1]
    bound = ["bound-in-range"] if kernel("bound_sockets_listed") else []
    equal(answer["lost"], {"reserved": 0, "listener": 0, "bound": len(bound), "explicit": 2})
    equal(sorted(codes(answer)), [*bound, "explicit-in-range"])
    equal(answer["destinations"][0]["chosen"]["explicit"], 2)


def test_unlisted():
    """A kernel that does not list sockets that are bound alone: it is said that they are not seen"""
    fresh_namespace()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 40000))
        answer = examine(env=before_6_8())[1]
        text = berth("doctor", env=before_6_8()).stdout
        seen, seen_text = examine()[1], berth("doctor").stdout
    equal((answer["kernel"]["bound_sockets_listed"], answer["lost"]["bound"]), (False, 0))
    assert "bound_sockets" in answer["unseen"], answer
    for words in ("not to be seen: sockets that are bound and neither connected nor listening: this "
                  "kernel does not list them", "nothing wrong was found in what is to be seen"):
        assert words in text, (words, text)
    if kernel("bound_sockets_listed"):
        equal((seen["lost"]["bound"], "bound_sockets" in seen["unseen"]), (1, False))
        assert "nor listening" not in seen_text, seen_text


def test_unlisted_without_namespaces():
    """Whether bound sockets are listed is tried where no namespace can be made, too"""
    fresh_namespace()
    none = "echo 0 > /proc/sys/user/max_net_namespaces && exec \"$0\" \"$@\""
    done = subprocess.run(["unshare", "-U", "-r", "sh", "-c", none, berthtest.BERTH, "doctor",
                           "--json"], capture_output=True, text=True)
    equal(done.returncode, 0, done.stderr)
    answer = json.loads(done.stdout)
    assert "features" in answer["unseen"], answer
    equal(answer["kernel"]["local_port_range"], None)
    equal(answer["kernel"]["bound_sockets_listed"], kernel("bound_sockets_listed"))


def test_kinds():
    """Late, automatic and explicit ports are told apart, as far as the kernel does"""
    fresh_namespace()
    late = lambda s: s.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    with Server() as server, clients(server, 3, "127.0.0.1", late), clients(server, 4), \
            clients(server, 2, "127.0.0.1"):
        chosen = examine()[1]["destinations"][0]["chosen"]
    equal(chosen, {"explicit": 0, "late": 3, "automatic": 6, "unknown": 0})


def test_closed():
    """Of a socket that was closed it is not known who named its port, in FIN_WAIT_2 either"""
    fresh_namespace()
    with Server() as server, socket.socket() as s:
        s.bind(("127.0.0.1", 40000))
        s.connect((server.address, server.port))
        wait_for(lambda: server.connections)
        s.close()  # the server does not
        wait_for(lambda: ss("state", "fin-wait-2"))
        to = examine()[1]["destinations"][0]
    equal(to["network.connection.state"], {"fin_wait_2": 1})
    equal(to["chosen"], {"explicit": 0, "late": 0, "automatic": 0, "unknown": 1})


def test_bind_to_port_0():
    """Programs that bind to port 0, at the limit"""
    for connect in (False, True) if kernel("bound_sockets_listed") else (True,):
        namespace(40000, 40299)
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(Server()) for _ in range(3)]
            for i in range(290):
                s = stack.enter_context(socket.socket())
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                s.bind(("127.0.0.1", 0))
                if connect:
                    s.connect((servers[i % 3].address, servers[i % 3].port))
            answer = examine()[1]
        equal(codes(answer)[0], "bind-to-port-0")
        equal(answer["findings"][0]["policy"], {"version": 1, "late_bind": ["PROGRAM"]})


def test_not_bind_to_port_0():
    """A full destination is not taken for bind(0) because of few sockets elsewhere, or bound ones"""
    namespace(40000, 40063)
    with Server() as server, contextlib.ExitStack() as stack:
        # A port of its own, by a listener that is gone: no connection shares it.
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 40021))
            listener.listen()
            there = stack.enter_context(socket.create_connection(("127.0.0.1", 40021)))
            stack.enter_context(listener.accept()[0])
        bound = stack.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))
        used = {40021, there.getsockname()[1], bound.getsockname()[1]}
        stack.enter_context(clients(server, 64 - len(used)))
        equal((len(used), codes(examine()[1])[0]), (3, "destination-nearly-full"))


def time_waits(server, count):
    """Connections of which this side has closed first."""
    for _ in range(count):
        with socket.create_connection((server.address, server.port)):
            pass
    wait_for(lambda: len(ss("state", "time-wait")) == count)


def test_time_wait():
    """Mostly TIME_WAIT: what tcp_tw_reuse would give back, and the rate that can last"""
    namespace(40000, 41199)
    sysctl("ipv4.tcp_tw_reuse", "0")
    with Patient() as server:
        time_waits(server, 400)
        status, answer = examine()
        text = berth("doctor").stdout
    to = answer["destinations"][0]
    equal((status, codes(answer)[0]), (0, "time-wait"))
    equal(to["network.connection.state"], {"time_wait": 400})
    equal(to["chosen"]["unknown"], 400)
    equal(to["lasting_rate"], 20.0)
    assert "400 in TIME_WAIT" in text and "at most 20 new connections/s can last" in text, text


def test_tw_reuse():
    """TIME_WAIT that tcp_tw_reuse gives back, on loopback by default, makes no destination full"""
    namespace(40000, 40063)
    with Patient() as server:
        sysctl("ipv4.tcp_tw_reuse", "0")
        time_waits(server, 64)
        sysctl("ipv4.tcp_tw_reuse", "2")
        given_back = lambda: examine()[1]["destinations"][0]["time_wait.given_back_at_most"]
        wait_for(lambda: given_back() == 64)
        status, answer = examine()
        to = answer["destinations"][0]
        equal((status, to["used"], to["next_scan"]), (0, 64, 1))
        assert "destination-full" not in codes(answer), codes(answer)
        text = berth("doctor").stdout
        assert "of which tcp_tw_reuse may give back 64" in text, text
        assert "and more where tcp_tw_reuse gives them back" in text, text
        for name, otherwise in (("tcp_tw_reuse", "2"), ("tcp_timestamps", "1")):
            sysctl(f"ipv4.{name}", "0")
            status, answer = examine()
            equal((status, codes(answer)[0]), (1, "destination-full"), name)
            sysctl(f"ipv4.{name}", otherwise)
        socket.create_connection((server.address, server.port)).close()


def test_one_port():
    """A range of one port: a call looks at it"""
    namespace(40000, 40000)
    with Server() as server, clients(server, 1):
        status, answer = examine()
    equal((status, answer["destinations"][0]["next_scan"]), (1, 1))


def test_ipv6_off():
    """IPv6 switched off"""
    fresh_namespace()
    sysctl("ipv6.conf.all.disable_ipv6", "1")
    equal(codes(examine()[1]), ["ipv6-off"])
    sysctl("ipv6.conf.lo.disable_ipv6", "0")  # for all but loopback
    equal(codes(examine()[1]), [])
    sysctl("ipv6.conf.all.disable_ipv6", "0")
    sysctl("ipv6.conf.lo.disable_ipv6", "1")  # no other interface has an address
    equal(codes(examine()[1]), ["ipv6-off"])


def test_reserved():
    """Reserved ports inside the range"""
    namespace()
    sysctl("ipv4.ip_local_reserved_ports", "8080,40000-40299")
    answer = examine()[1]
    equal(codes(answer), ["reserved-ports"])
    equal((answer["lost"]["reserved"], answer["findings"][0]["severity"]), (300, "warning"))


def test_ipv6_destination():
    """IPv6 connections are counted by themselves"""
    fresh_namespace()
    with Server(socket.AF_INET6) as server, contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(socket.create_connection(("::1", server.port)))
        to = examine()[1]["destinations"][0]
        equal((to["to"], to["from"], to["sockets"]), (f"[::1]:{server.port}", "::1", 5))
        equal(examine(f"[::1]:{server.port}")[1]["destinations"][0]["sockets"], 5)


def test_as_ss():
    """The counts by state are those of ss"""
    need("ss")
    namespace()
    sysctl("ipv4.tcp_tw_reuse", "0")
    with Patient() as server:
        time_waits(server, 50)
        with contextlib.ExitStack() as stack:
            for _ in range(30):
                stack.enter_context(socket.create_connection((server.address, server.port)))
            states = examine(f"127.0.0.1:{server.port}")[1]["destinations"][0][
                "network.connection.state"]
            for name, of_ss in (("time_wait", "time-wait"), ("established", "established")):
                equal(states.get(name, 0), len(ss("state", of_ss, "dport", f"= {server.port}")), name)


def test_rate():
    """-i: the rate of new connections"""
    fresh_namespace()
    stop = threading.Event()

    def connect(server, opened):
        while not stop.is_set():
            opened.append(socket.create_connection((server.address, server.port)))
            stop.wait(0.005)
    with Server() as server:
        opened = []
        thread = threading.Thread(target=connect, args=(server, opened))
        thread.start()
        try:
            wait_for(lambda: len(opened) > 3)
            answer = examine("-i", "0.5")[1]["destinations"][0]
        finally:
            stop.set()
            thread.join()
            for s in opened:
                s.close()
    assert 1 <= answer["rate_at_least"] <= 400, answer


def test_other_namespace():
    """-p: the namespace of another process, and whether libberth.so is loaded there"""
    fresh_namespace()
    code = """
        kept = [socket() for _ in range(7)]
        server = socket(); server.bind(("127.0.0.1", 8080)); server.listen()
        for s in kept: s.connect(("127.0.0.1", 8080))
        print("there", flush=True)
        sys.stdin.read()
    """
    up = "ip link set lo up && exec \"$0\" \"$@\""
    for wrapper, loaded in (([], "is not loaded"), ([berthtest.BERTH, "run", "-q", "--"], "is loaded")):
        with started(["unshare", "-n", "sh", "-c", up, *wrapper, *program(code)]) as process:
            equal(process.stdout.readline(), "there\n")
            pid = process.pid
            if wrapper:  # its child
                with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
                    pid = int(f.read().split()[0])
            answer = examine("-p", pid)[1]
            equal(answer["destinations"][0]["sockets"], 7)
            assert loaded in answer["process"]["library"], answer["process"]
    equal(examine()[1]["destinations"], [])


def test_map():
    """--map draws low's parity left and the other right"""
    namespace(40000, 40063)
    with Server() as server, socket.socket() as thief:
        thief.bind(("127.0.0.1", 40003))
        thief.listen()
        with clients(server, 32):
            out = berth("doctor", "--map").stdout
    row = [line for line in out.splitlines() if line.startswith("40000 ")][0]
    equal(row.split(), ["40000", "e" * 32, ".l" + "." * 30])


def test_unprivileged():
    """Another user sees as much, but for the namespace of others"""
    if os.geteuid():
        raise berthtest.Skip("not root")
    need("setpriv")
    namespace()
    with Server() as server, clients(server, 5):
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        done = subprocess.run([*as_nobody, berthtest.BERTH, "doctor", "--json"], text=True,
                              capture_output=True)
        if "cannot execute" in done.stderr or done.returncode == 126:
            raise berthtest.Skip("the build tree is closed to others")
        equal((done.returncode, json.loads(done.stdout)["destinations"][0]["sockets"]), (0, 5))
        done = subprocess.run([*as_nobody, berthtest.BERTH, "doctor", "-p", "1"], text=True,
                              capture_output=True)
        equal(done.returncode, 2)
        assert "the network namespace of process 1:" in done.stderr, done.stderr


def test_no_netlink():
    """Where sock_diag is refused it says so"""
    blind = os.path.join(berthtest.PROGRAMS, "without_netlink")
    if not os.path.exists(blind):
        raise berthtest.Skip("without_netlink is not built")
    done = subprocess.run([blind, "EPERM", berthtest.BERTH, "doctor"], capture_output=True, text=True)
    equal((done.returncode, done.stdout), (2, ""), done.stderr)
    assert re.match(r"berth: doctor: sock_diag\(7\): .*: the sockets of this namespace cannot be "
                    "seen", done.stderr), done.stderr


def test_bad_input():
    """What cannot be is refused"""
    for arguments, words in ((["-p", "x"], "'x' is not a process id"),
                             (["-p", "4194303"], "the network namespace of process 4194303"),
                             (["-i", "0"], "-i: '0'"),
                             (["--threshold", "101"], "--threshold: '101'"),
                             (["--treshold", "80"], "the nearest is --threshold"),
                             (["10.0.0.1:443", "x"], "'x': one destination"),
                             (["10.0.0.1:x"], "'10.0.0.1:x'")):
        done = berth("doctor", *arguments)
        equal((done.returncode, done.stdout), (2, ""), done.stderr)
        assert words in done.stderr, (words, done.stderr)


def test_no_proc():
    """A namespace without /proc: the range is Linux's own, and it is said that it was not read"""
    if os.geteuid():
        raise berthtest.Skip("not root")
    fresh_namespace()
    hide = "mount -t tmpfs none /proc/sys && exec \"$0\" \"$@\""
    done = subprocess.run(["unshare", "-m", "sh", "-c", hide, berthtest.BERTH, "doctor"],
                          capture_output=True, text=True)
    equal(done.returncode, 0, done.stderr)
    assert "ip_local_port_range cannot be read" in done.stdout, done.stdout


if __name__ == "__main__":
    berthtest.main()
