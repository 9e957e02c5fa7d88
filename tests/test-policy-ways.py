# SPDX-License-Identifier: MIT
"""The ways a policy gets into a program, and what becomes of one that is no policy."""
import contextlib
import glob
import json
import os
import re
import socket
import subprocess
import tempfile

import berthtest
from berthtest import (BERTH, LIBBERTH, PROGRAMS, Observed, Server, Skip, berth, equal,
                       fresh_namespace, port_range, program, started, wait_for)

BAD = os.path.join(os.environ.get("srcdir", "."), "tests", "policies", "bad")
PORTS = range(40000, 40010)
POLICY = {"version": 1, "rules": [{"name": "own", "local_ports": "40000-40009"}]}

# Connects to port argv[1] of 127.0.0.1; says from where, or why not.
CONNECT = """
    s = socket()
    error = s.connect_ex(('127.0.0.1', int(sys.argv[1])))
    print(errno.errorcode[error] if error else ' '.join(map(str, s.getsockname())))
    """


@contextlib.contextmanager
def folder_with(content=POLICY):
    """A folder with this policy as `policy.json`, and as `image` if it is one."""
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/policy.json", "wb") as f:
            f.write(content if isinstance(content, bytes) else json.dumps(content).encode())
        berth("compile", f"{folder}/policy.json", "-o", f"{folder}/image")
        yield folder


def with_policy(path, **variables):
    """The environment of the way without the command."""
    return {**os.environ, "LD_PRELOAD": LIBBERTH, "BERTH_RECORD": "off",
            "BERTH_POLICY": str(path), **variables}


def run(command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)


def finished(done, stderr=""):
    """The output of a program that had success."""
    equal((done.returncode, done.stderr), (0, stderr), "exit status and stderr")
    return done.stdout


def from_the_set(server, done, stderr=""):
    """What the program says and what the server saw is a port of the set."""
    address, port = finished(done, stderr).split()
    wait_for(lambda: (address, int(port)) in server.peers)
    assert int(port) in PORTS, port


def not_steered(server, done, stderr=""):
    address, port = finished(done, stderr).split()
    wait_for(lambda: (address, int(port)) in server.peers)
    assert int(port) not in PORTS, port


# --- the ways in ---------------------------------------------------------------------------------


def test_run_with_files():
    """berth run -P: JSON and an image, with and without --exec"""
    fresh_namespace()
    with folder_with() as folder, Server() as server:
        for file in "policy.json", "image":
            for way in [], ["--exec"]:
                from_the_set(server, run([BERTH, "run", "-q", *way, "-P", f"{folder}/{file}", "--",
                                          *program(CONNECT, server.port)]))
        equal(len(server.peers), 4, "connections")


def test_preload():
    """LD_PRELOAD and BERTH_POLICY alone: JSON and an image, by absolute and relative paths"""
    fresh_namespace()
    with folder_with() as folder, Server() as server:
        for file in "policy.json", "image":
            for path in f"{folder}/{file}", file, f"./{file}":
                from_the_set(server, run(program(CONNECT, server.port), cwd=folder,
                                         env=with_policy(path)))
        equal(len(server.peers), 6, "connections")


def test_env():
    """berth env -P: the variables that it prints steer"""
    fresh_namespace()
    with folder_with() as folder, Server() as server:
        for file in "policy.json", "image":
            lines = finished(run([BERTH, "env", "-P", file, "--strict", "--record", "off"],
                                 cwd=folder))
            variables = dict(line.split("=", 1) for line in lines.splitlines())
            equal(variables["BERTH_POLICY"], os.path.realpath(f"{folder}/{file}"), "BERTH_POLICY")
            equal(variables["BERTH_STRICT"], "1", "BERTH_STRICT")
            from_the_set(server, run(program(CONNECT, server.port),
                                     env={**os.environ, **variables}))
        done = run([BERTH, "env", "-P", "none.json"], cwd=folder)
        equal((done.returncode, done.stdout), (2, ""), "a policy that is not there")


def test_no_rules():
    """a policy without rules steers nothing: every command takes it, and so does a strict program"""
    fresh_namespace()
    with folder_with({"version": 1, "rules": []}) as folder, Server() as server:
        for file in "policy.json", "image":
            path = f"{folder}/{file}"
            equal(finished(run([BERTH, "check", path])), "no rules: the kernel chooses every port\n")
            done = run([BERTH, "explain", "-P", path, "10.0.0.1:443"])
            equal((done.returncode, done.stdout), (1, "no rule takes it: the kernel chooses\n"))
            for way in [], ["--exec"]:
                not_steered(server, run([BERTH, "run", "-q", *way, "-P", path, "--",
                                         *program(CONNECT, server.port)]))
            not_steered(server, run(program(CONNECT, server.port),
                                    env=with_policy(path, BERTH_STRICT="1")))
        equal(len(server.peers), 6, "connections")


def test_inherited():
    """BERTH_POLICY in the environment of berth run without -P stays; -P replaces it"""
    fresh_namespace()
    other = {"version": 1, "rules": [{"name": "other", "local_ports": 50000}]}
    with folder_with() as folder, folder_with(other) as second, Server() as server:
        environment = {**os.environ, "BERTH_POLICY": f"{second}/policy.json"}
        command = program(CONNECT, server.port)
        equal(finished(run([BERTH, "run", "-q", "--", *command], env=environment)),
              "127.0.0.1 50000\n", "the environment's")
        from_the_set(server, run([BERTH, "run", "-q", "-P", f"{folder}/image", "--", *command],
                                 env=environment))


def one_rule(command, *options):
    """The (address, port) or errno's name that each line of output has, and the run."""
    o = Observed(command, *options)
    lines = finished(o.process).splitlines()
    return [tuple(line.split()) if " " in line else line for line in lines], o


# Five connections to each of the ports.
CONNECTS = """
    kept = []
    for port in map(int, sys.argv[1:]):
        for i in range(5):
            kept.append(socket())
            error = kept[-1].connect_ex(('127.0.0.1', port))
            name = kept[-1].getsockname()
            print(errno.errorcode[error] if error else f'{name[0]} {name[1]}')
    """


def ports_of(lines):
    return [int(line[1]) for line in lines]


def test_local_ports():
    """-L, --local-ports and --except: all ports of the set and no other"""
    fresh_namespace()
    want = [30001, 40000, 40001, 41005, 60998]
    for option in "-L", "--local-ports":
        with Server() as server:
            got, _ = one_rule(program(CONNECTS, server.port), option,
                              "40000-40002,41005,30001,60998-60999", "--except", "40002,60999")
            equal(sorted(ports_of(got)), want, "ports")
            equal([port for _, port in server.saw(5)], want, "what the server saw")


def test_order_and_mod():
    """--order sequential and --mod 4:1: each fourth port, one after the other"""
    fresh_namespace()
    with Server() as server:
        got, o = one_rule(program(CONNECTS, server.port), "-L", "40000-40099", "--mod", "4:1",
                          "--order", "sequential")
    equal(ports_of(got), [40001, 40005, 40009, 40013, 40017], "ports")
    equal({e["berth.chosen_by"] for e in o.calls("connect")}, {"policy"}, "chosen_by")


def test_each_order():
    """--order: each of the eight gives all of a set of five"""
    fresh_namespace()
    orders = ("kernel", "random", "random-start", "hash", "double-hash", "random-increment",
              "sequential", "least-recent")
    for order in orders:
        with Server() as server:
            got, _ = one_rule(program(CONNECTS, server.port), "-L", "40000-40004",
                              "--order", order)
            equal(sorted(ports_of(got)), [40000, 40001, 40002, 40003, 40004], order)


def test_local_addresses():
    """-A and --local-addresses: each address of the list in turn, alone and with ports"""
    fresh_namespace()
    with Server() as server:
        for option in "-A", "--local-addresses":
            got, _ = one_rule(program(CONNECTS, server.port), option, "127.0.0.7,127.0.1.0/30")
            equal({a for a, _ in got},
                  {"127.0.0.7", *(f"127.0.1.{i}" for i in range(4))}, "addresses")
        got, _ = one_rule(program(CONNECTS, server.port), "-A", "127.0.2.0/24", "-L", "40000")
        equal(set(ports_of(got)), {40000}, "ports")
        equal(len(set(got)), 5, "addresses, each with the port")
        equal(len(set(server.saw(15))), 15, "what the server saw")


def test_to():
    """--to: connections to there alone, by address, prefix and port; it may be given again"""
    fresh_namespace()
    with Server() as one, Server() as other, Server() as third:
        for to, steered in (
                ([f"127.0.0.1:{one.port}"], {one.port}),
                ([f"127.0.0.0/8:{one.port},{other.port}"], None),
                ([f"127.0.0.0/8:{one.port}", f"*:{other.port}"], {one.port, other.port}),
                (["127.0.0.1"], {one.port, other.port, third.port}),
                (["10.0.0.0/8"], set())):
            options = [word for t in to for word in ("--to", t)]
            if steered is None:
                done = berth("run", "-q", "-L", "40000-40099", *options, "true")
                equal(done.returncode, 125, "a list of ports in --to")
                continue
            got, o = one_rule(program(CONNECTS, one.port, other.port, third.port),
                              "-L", "20000-20099", *options)
            found = {e["network.peer.port"] for e in o.events
                     if e["network.local.port"] in range(20000, 20100)}
            equal(found, steered, f"steered by {to}")
            equal(len(got), 15, "connections")


def test_many_to():
    """--to, however often it is given: the last of 65, and of 1,000, steers as the first does"""
    fresh_namespace()
    for count in 65, 1000:
        with Server() as server:
            others = [f"--to=10.{i // 250}.0.{i % 250}:80" for i in range(count - 1)]
            got, _ = one_rule(program(CONNECTS, server.port), "-L", "40000-40009", *others, "--to",
                              f"127.0.0.1:{server.port}")
            assert set(ports_of(got)) <= set(range(40000, 40010)), (count, got)


def test_lists_given_twice():
    """-L, -A and --except, given twice: both lists count"""
    fresh_namespace()
    with Server() as server:
        got, _ = one_rule(program(CONNECTS, server.port), "-L", "40000-40003", "-L", "40010-40012",
                          "--except", "40000", "--except", "40011", "-A", "127.0.0.7", "-A",
                          "127.0.0.8", "--order", "sequential")
    equal({port for port in ports_of(got)}, {40001, 40002, 40003, 40010, 40012}, "ports")
    equal({a for a, _ in got}, {"127.0.0.7", "127.0.0.8"}, "addresses")


def test_via():
    """--via: range, bind and auto, as the events tell"""
    fresh_namespace()
    for via, first, want in (("range", 40000, "range"), ("bind", 40010, "bind"),
                             ("auto", 40020, "range"), ("auto", 20000, "bind")):
        with Server() as server:
            _, o = one_rule(program(CONNECTS, server.port), "-L", f"{first}-{first + 4}",
                            "--via", via)
            equal([e["berth.via"] for e in o.events], 5 * [want], via)
            equal([port for _, port in server.saw(5)], list(range(first, first + 5)), "peers")


def test_tries_and_exhausted():
    """--tries and --exhausted: fail ends with EADDRNOTAVAIL, kernel with the kernel's port"""
    fresh_namespace()
    with Server() as server, socket.socket() as holder:
        holder.bind(("127.0.0.1", 40000))
        listening = ["-L", "40000-40001", "--order", "sequential"]
        got, o = one_rule(program(CONNECTS, server.port), *listening, "--exhausted", "fail")
        equal((got[0], got[1:]), (("127.0.0.1", "40001"), 4 * ["EADDRNOTAVAIL"]), "calls")
        rule, = [r for s in o.stats for r in s["rules"]]
        equal((rule["claimed"], rule["exhausted"], rule["kernel"]), (1, 4, 0), "counters")
        got, o = one_rule(program(CONNECTS, server.port), "-L", "40000", "--tries", "1")
        equal(got, 5 * ["EADDRNOTAVAIL"], "calls with one try")
        equal({e["berth.tries"] for e in o.events}, {1}, "tries")
        got, o = one_rule(program(CONNECTS, server.port), "-L", "40000", "--exhausted", "kernel")
        assert not {40000} & set(ports_of(got)), got
        rule, = [r for s in o.stats for r in s["rules"]]
        equal([rule[k] for k in ("matched", "claimed", "exhausted", "kernel", "outside")],
              [5, 0, 5, 5, 5], "counters")


def test_wrong_options():
    """a wrong rule of options, and one beside -P: exit 125, the command does not start"""
    with folder_with() as folder:
        touch = ["touch", f"{folder}/started"]
        for options in (["-L", "40000-39999"], ["-L", "70000"], ["--mod", "3:3"],
                        ["--order", "best"], ["--via", "magic"], ["--tries", "0"],
                        ["--exhausted", "maybe"], ["-A", "here"], ["--to", "10.0.0.1/33"],
                        ["-L", "1-2", "--except", "1-2"],
                        ["-P", f"{folder}/image", "-L", "40000"]):
            done = berth("run", *options, "--", *touch)
            equal((done.returncode, done.stdout), (125, ""), f"{options}")
            assert done.stderr, options
            assert not os.path.exists(f"{folder}/started"), options


def own_json(name):
    """A program with another json_object_get(): it works and is steered, both ways."""
    fresh_namespace()
    path = os.path.join(PROGRAMS, name)
    if not os.access(path, os.X_OK):
        raise Skip(name + " was not built: json-c is missing")
    with folder_with() as folder, Server() as server:
        command = [path, str(server.port)]
        equal(finished(run(command)).split()[:3], ["42", "42", "1"], "without berth")
        for file in "policy.json", "image":
            for done in (run(command, env=with_policy(f"{folder}/{file}")),
                         run([BERTH, "run", "-q", "-P", f"{folder}/{file}", "--", *command])):
                *same, port = finished(done).split()
                equal(same, ["42", "42", "1"], f"its json_object_get(), {file}")
                assert int(port) in PORTS, port
        equal(len(server.saw(5)), 5, "connections")


def test_own_json():
    """a program that exports its own json_object_get(): it keeps it, the policy is read"""
    own_json("own_json")


def test_json_c():
    """a program linked to json-c: it keeps its json_object_get(), the policy is read"""
    own_json("json_c")


def test_nothing_stays_loaded():
    """no jansson and no berth-policy.so is left in a program whose policy is JSON"""
    with folder_with() as folder:
        maps = finished(run(["cat", "/proc/self/maps"],
                            env=with_policy(f"{folder}/policy.json")))
    assert "libberth.so" in maps, maps
    equal([line for line in maps.splitlines() if "jansson" in line or "berth-policy" in line], [],
          "mappings")


def test_verbose():
    """BERTH_VERBOSE=1: one line with the version, the policy, its rules and the mechanism"""
    version = finished(berth("--version")).split()[-1]
    two = {"version": 1, "rules": [
        {"name": "own", "local_ports": 1025},
        {"name": "not its own", "match": {"program": "nothing-has-this-name"}}]}
    with folder_with(two) as folder:
        for file in "policy.json", "image":
            path = f"{folder}/{file}"
            done = run(["/bin/true"], env=with_policy(path, BERTH_VERBOSE="1"))
            equal((done.returncode, done.stdout), (0, ""), "true")
            line, = done.stderr.splitlines()
            assert line.startswith(f"berth {version}: true: "), line
            assert re.search(f"; policy {path}, 1 of 2 rules are for this program, by "
                             "(range and )?bind$", line), line
        done = run(["/bin/true"], env={**os.environ, "LD_PRELOAD": LIBBERTH,
                                       "BERTH_VERBOSE": "1", "BERTH_RECORD": "off"})
        assert done.stderr.endswith("; no policy: observing only\n"), done.stderr
        done = run(["/bin/true"], env=with_policy("/nowhere/policy", BERTH_VERBOSE="1"))
        warning, line = done.stderr.splitlines()
        equal(warning, "berth: BERTH_POLICY: /nowhere/policy: open: ENOENT", "the warning")
        assert line.endswith("; no policy: observing only"), line
        done = run(["/bin/true"], env=with_policy("/nowhere/policy", BERTH_VERBOSE="1",
                                                  BERTH_STRICT="1"))
        assert done.stderr.endswith("; policy not loaded: calls are refused\n"), done.stderr


def test_verbose_is_text():
    """... in which no name moves a terminal's cursor, and which ends where names are long"""
    with folder_with({"version": 1, "rules": []}) as folder:
        odd = f"{folder}/\x1b[2J" + 200 * "x"
        os.mkdir(odd, 0o700)
        os.rename(f"{folder}/policy.json", f"{odd}/policy")
        for places in ({"BERTH_RECORD": odd}, {"BERTH_RECORD": "", "XDG_RUNTIME_DIR": odd},
                       {"BERTH_RECORD": odd + 3 * ("/" + 200 * "y")}):
            done = run(["/bin/true"], env=with_policy(f"{odd}/policy", BERTH_VERBOSE="1", **places))
            assert done.stderr.endswith("\n") and "?[2J" in done.stderr, done.stderr
            equal([c for c in done.stderr if not c.isprintable() and c != "\n"], [], "controls")


def test_switches():
    """a BERTH_STRICT or BERTH_VERBOSE that is neither 1 nor 0 is a line, and not heeded"""
    for name in "BERTH_STRICT", "BERTH_VERBOSE":
        for value in "yes", "2", "true", "1 ":
            done = run(["/bin/true"], env={**os.environ, "LD_PRELOAD": LIBBERTH, name: value})
            shown = value.replace(" ", "?")
            equal(done.stderr, f"berth: {name}: {shown}: neither 1 nor 0\n", "stderr")


# --- bad policies --------------------------------------------------------------------------------


def bad_policies():
    found = sorted(glob.glob(f"{BAD}/*.json"))
    assert found, BAD
    for path in found:
        with open(path[:-len(".json")] + ".expected", encoding="utf-8") as f:
            yield path, f.read().splitlines()


def test_bad_run():
    """berth run -P of each bad policy: 125, all mistakes, and the command does not start"""
    with tempfile.TemporaryDirectory() as folder:
        for path, mistakes in bad_policies():
            for way in [], ["--exec"]:
                done = berth("run", *way, "-P", path, "--", "touch", f"{folder}/started")
                equal((done.returncode, done.stdout), (125, ""), path)
                equal(done.stderr.splitlines(), [f"{path}:{line}" for line in mistakes], path)
                assert not os.path.exists(f"{folder}/started"), path


def test_bad_preload():
    """each bad policy preloaded: one line, the first mistake, and the program is observed only"""
    fresh_namespace()
    port_range(50000, 60999)  # in which the kernel does not come to the set by chance
    with Server() as server:
        for path, mistakes in bad_policies():
            done = run(program(CONNECT, server.port), env=with_policy(path))
            lines = done.stderr.splitlines()
            equal(len(lines), 1, f"lines of {path}: {lines}")
            start = f"berth: BERTH_POLICY: {path}"
            assert lines[0].startswith(start[:len("berth: BERTH_POLICY: ") + 60]), lines
            place = re.match(r"\d+:\d+: (?!a policy|more than)", mistakes[0])
            shown = place[0] + "no JSON" if place else mistakes[0].strip()[:20]
            assert shown in lines[0], (lines, mistakes)
            not_steered(server, done, done.stderr)


# What BERTH_STRICT refuses, and what it does not.
STRICT = """
    to = '127.0.0.1', int(sys.argv[1])
    to6 = '::1', int(sys.argv[1])
    folder = sys.argv[2]

    def tell(what, family, kind, do, protocol=0):
        with socket(family, kind, protocol) as s:
            try:
                do(s)
                said = 'ok'
            except OSError as e:
                said = errno.errorcode[e.errno]
        print(f'{what}: {said}')

    def connect_bound(s):
        s.bind(('127.0.0.1', 30001))
        s.connect(to)

    def send_connected(s):
        s.bind(('127.0.0.1', 30002))
        s.sendto(b'?', to)

    def unix(s):
        s.bind(folder + '/socket')
        s.listen()
        with socket(AF_UNIX) as other:
            other.connect(folder + '/socket')

    def listens(s):
        s.bind(('127.0.0.1', 30003))
        s.listen()

    tell('connect', AF_INET, SOCK_STREAM, lambda s: s.connect(to))
    tell('connect IPv6', AF_INET6, SOCK_STREAM, lambda s: s.connect(to6))
    tell('connect UDP', AF_INET, SOCK_DGRAM, lambda s: s.connect(to))
    tell('connect bound to a port', AF_INET, SOCK_STREAM, connect_bound)
    tell('bind to port 0', AF_INET, SOCK_STREAM, lambda s: s.bind(('127.0.0.1', 0)))
    tell('bind to port 0 IPv6', AF_INET6, SOCK_STREAM, lambda s: s.bind(('::1', 0)))
    tell('bind to port 0 UDP', AF_INET, SOCK_DGRAM, lambda s: s.bind(('127.0.0.1', 0)))
    tell('bind to a port', AF_INET, SOCK_STREAM, lambda s: s.bind(('127.0.0.1', 30000)))
    tell('bind to a port UDP', AF_INET, SOCK_DGRAM, lambda s: s.bind(('127.0.0.1', 30000)))
    tell('bind and listen', AF_INET, SOCK_STREAM, listens)
    tell('listen', AF_INET, SOCK_STREAM, lambda s: s.listen())
    tell('sendto', AF_INET, SOCK_DGRAM, lambda s: s.sendto(b'?', to))
    tell('sendto IPv6', AF_INET6, SOCK_DGRAM, lambda s: s.sendto(b'?', to6))
    tell('sendmsg', AF_INET, SOCK_DGRAM, lambda s: s.sendmsg([b'?'], [], 0, to))
    tell('MSG_FASTOPEN', AF_INET, SOCK_STREAM, lambda s: s.sendto(b'?', MSG_FASTOPEN, to))
    tell('sendto bound to a port', AF_INET, SOCK_DGRAM, send_connected)
    tell('AF_UNIX', AF_UNIX, SOCK_STREAM, unix)
    tell('connect of raw ICMP', AF_INET, SOCK_RAW, lambda s: s.connect(to), IPPROTO_ICMP)
    """
REFUSED = """
connect: EPERM
connect IPv6: EPERM
connect UDP: EPERM
connect bound to a port: ok
bind to port 0: EPERM
bind to port 0 IPv6: EPERM
bind to port 0 UDP: EPERM
bind to a port: ok
bind to a port UDP: ok
bind and listen: ok
listen: ok
sendto: EPERM
sendto IPv6: EPERM
sendmsg: EPERM
MSG_FASTOPEN: EPERM
sendto bound to a port: ok
AF_UNIX: ok
connect of raw ICMP: ok
"""


def test_strict():
    """BERTH_STRICT=1 without a policy that loads: what it could steer is EPERM, the rest goes on"""
    for content in b"{", None:
        fresh_namespace()
        with Server(family=socket.AF_INET6, address="::") as server, \
                folder_with(content or POLICY) as folder:
            path = f"{folder}/policy.json" if content else f"{folder}/none"
            done = run(program(STRICT, server.port, folder),
                       env=with_policy(path, BERTH_STRICT="1"))
        lines = done.stderr.splitlines()
        equal((done.returncode, len(lines)), (0, 1), lines)
        equal(done.stdout.splitlines(), REFUSED.strip().splitlines(), "calls")


def test_strict_with_a_policy():
    """BERTH_STRICT=1 with a policy that loads refuses nothing; 0 never does"""
    fresh_namespace()
    with folder_with() as folder, Server() as server:
        from_the_set(server, run(program(CONNECT, server.port),
                                 env=with_policy(f"{folder}/image", BERTH_STRICT="1")))
        port_range(50000, 60999)
        done = run(program(CONNECT, server.port),
                   env=with_policy(f"{folder}/none", BERTH_STRICT="0"))
        not_steered(server, done, f"berth: BERTH_POLICY: {folder}/none: open: ENOENT\n")


# --- bad images ----------------------------------------------------------------------------------


def refused(path, what):
    """The shim says one line, and the program goes on."""
    done = run(["/bin/echo", "goes on"], env=with_policy(path))
    equal((done.returncode, done.stdout), (0, "goes on\n"), what)
    lines = done.stderr.splitlines()
    equal(len(lines), 1, f"lines of {what}: {lines}")
    start = "berth: BERTH_POLICY: "
    assert lines[0].startswith(start) and lines[0].count(": ") >= 3, lines
    return lines[0]


def write(path, content):
    with open(path, "wb") as f:
        f.write(content)


def image_of(folder):
    with open(f"{folder}/image", "rb") as f:
        return f.read()


EVERYTHING = {"version": 1, "rules": [
    {"name": "a", "match": {"transport": "tcp", "to": ["10.0.0.0/8:9042", "[fd00::]/8"],
                            "program": ["java", "cqlsh*"]},
     "local_addresses": ["10.1.0.5", "10.1.0.16/28"], "local_ports": ["49152-65535", 40001],
     "except": ["50000-50010"], "mod": {"of": 8, "is": 3}, "tries": 64, "rest": 120},
    {"name": "b", "local_ports": 40000}], "late_bind": ["envoy", "nginx"]}


def test_image_cut():
    """an image cut off after each of its bytes, or with bytes behind it: refused"""
    with folder_with(EVERYTHING) as folder:
        image = image_of(folder)
        for size in [*range(0, len(image), 3), len(image) - 1]:
            write(f"{folder}/cut", image[:size])
            refused(f"{folder}/cut", f"{size} bytes")
        write(f"{folder}/more", image + bytes(8))
        refused(f"{folder}/more", "8 bytes more")


def test_image_flipped():
    """one bit flipped in each byte of an image: refused"""
    with folder_with(EVERYTHING) as folder:
        image = image_of(folder)
        for i in range(len(image)):
            flipped = bytearray(image)
            flipped[i] ^= 1 << i % 8
            write(f"{folder}/flipped", flipped)
            refused(f"{folder}/flipped", f"bit {i % 8} of byte {i}")


def test_image_version():
    """an image of another version: refused, by the shim and by berth, which name the reason"""
    with folder_with() as folder:
        image = image_of(folder)
        equal(image[:8], b"berthpo1", "the magic")
        write(f"{folder}/next", b"berthpo2" + image[8:])
        assert "version" in refused(f"{folder}/next", "version 2")
        done = berth("run", "-P", f"{folder}/next", "--", "touch", f"{folder}/started")
        equal((done.returncode, done.stdout), (125, ""), "berth run")
        assert "version" in done.stderr and not os.path.exists(f"{folder}/started"), done.stderr


def test_no_policy_files():
    """noise of 100 MB, a FIFO, a folder, a device, a missing file: refused, and not waited for"""
    with folder_with() as folder:
        noise = os.urandom(1 << 20)
        for name, start in ("noise", b""), ("image-like", b"berthpo1"), ("json-like", b'{"'):
            with open(f"{folder}/{name}", "wb") as f:
                f.write(start)
                for _ in range(100):
                    f.write(noise)
            line = refused(f"{folder}/{name}", name)
            assert "larger than a policy may be" in line, line
            os.unlink(f"{folder}/{name}")
        for size in 1000, 1 << 20:
            write(f"{folder}/little", noise[:size])
            refused(f"{folder}/little", f"noise of {size} bytes")
            write(f"{folder}/little", b"berthpo1" + noise[:size])
            refused(f"{folder}/little", f"noise of {size} bytes with a magic")
        os.mkfifo(f"{folder}/fifo")
        os.symlink("loop", f"{folder}/loop")
        for name, why in (("fifo", "not a regular file"), ("", "not a regular file"),
                          ("none", "open: ENOENT"), ("none/none", "open: ENOENT"),
                          ("image/none", "open: ENOTDIR"), ("loop", "open: ELOOP")):
            line = refused(f"{folder}/{name}", name)
            assert line.endswith(": " + why), line
        for device in "/dev/zero", "/dev/null":
            assert refused(device, device).endswith(": not a regular file"), device


# --- a file that is replaced ---------------------------------------------------------------------

# Connects at each line of input.
AGAIN = """
    kept = []
    for line in sys.stdin:
        kept.append(socket())
        kept[-1].connect(('127.0.0.1', int(sys.argv[1])))
        print(kept[-1].getsockname()[1], flush=True)
    """


def test_replaced_in_place():
    """a policy's file overwritten and cut under a running program: it keeps what it read"""
    fresh_namespace()
    other = {"version": 1, "rules": [{"name": "other", "local_ports": "50000-50009"}]}
    for file in "policy.json", "image":
        with folder_with() as folder, folder_with(other) as second, Server() as server, \
                started(program(AGAIN, server.port), env=with_policy(f"{folder}/{file}")) as child:

            def port():
                child.stdin.write("\n")
                child.stdin.flush()
                return int(child.stdout.readline())

            assert port() in PORTS
            subprocess.run(["cp", f"{second}/{file}", f"{folder}/{file}"], check=True)
            assert port() in PORTS
            os.truncate(f"{folder}/{file}", 0)
            assert port() in PORTS
            write(f"{folder}/{file}", os.urandom(100000))
            assert port() in PORTS
            os.unlink(f"{folder}/{file}")
            assert port() in PORTS
            child.stdin.close()
            equal((child.wait(), child.stderr.read()), (0, ""), "the program")


def test_read_at_start():
    """a policy's file replaced while berth run goes on: what starts later has the old one"""
    fresh_namespace()
    other = {"version": 1, "rules": [{"name": "other", "local_ports": "50000-50009"}]}
    with folder_with() as folder, folder_with(other) as second, Server() as server:
        inner = program(CONNECT, server.port)
        outer = program("""
            import shutil, subprocess
            shutil.copyfile(sys.argv[2], sys.argv[1])
            subprocess.run(sys.argv[3:], check=True)""",
                        f"{folder}/image", f"{second}/image", *inner)
        from_the_set(server, run([BERTH, "run", "-q", "-P", f"{folder}/image", "--", *outer]))


if __name__ == "__main__":
    berthtest.main()
