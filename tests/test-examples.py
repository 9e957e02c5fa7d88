# SPDX-License-Identifier: MIT
"""The policies of examples/: each is valid, and does what examples/README.md says of it."""
import contextlib
import ctypes
import glob
import json
import os
import re
import socket
import subprocess
import tempfile

import berthtest
from berthtest import (Observed, Server, Skip, berth, equal, need, port_range, program, sysctl,
                       wait_for)

EXAMPLES = os.path.join(os.environ.get("srcdir", "."), "examples")

CONNECTS = """
    keep = []
    for _ in range(int(sys.argv[3])):
        s = socket()
        if len(sys.argv) > 4:
            s.bind((sys.argv[4], 0))
        try:
            s.connect((sys.argv[1], int(sys.argv[2])))
        except OSError as e:
            print(errno.errorcode[e.errno])
        keep.append(s)
"""


def example(name):
    return os.path.join(EXAMPLES, name)


def steered(policy, address, port, count=1, *bind):
    return Observed(program(CONNECTS, address, port, count, *bind), "-P", example(policy))


def moved(policy, text, to, folder):
    """The example with another destination, since a test's server has a port of its own."""
    with open(example(policy), encoding="utf-8") as f:
        changed = f.read().replace(text, to)
    assert to in changed
    path = os.path.join(folder, policy)
    with open(path, "w", encoding="utf-8") as f:
        f.write(changed)
    return path


def ports_of(o):
    return [e["network.local.port"] for e in o.calls("connect")]


def host_address():
    """An address that is this namespace's own and not of 127.0.0.0/8."""
    subprocess.run(["ip", "address", "replace", "192.0.2.1/32", "dev", "lo"], check=True)
    return "192.0.2.1"


def test_valid():
    """berth check finds nothing wrong with any of them"""
    host_address()
    paths = glob.glob(example("*.json"))
    assert len(paths) >= 7, paths
    for path in paths:
        run = berth("check", path)
        equal((run.returncode, run.stderr), (0, ""), path)
        equal(json.load(open(path, encoding="utf-8"))["version"], 1, path)


def test_named():
    """README.md has a section for each of them"""
    with open(example("README.md"), encoding="utf-8") as f:
        sections = [line for line in f if line.startswith("## ")]
    equal(sorted(s.split()[1].rstrip(":") for s in sections),
          sorted(os.path.basename(p) for p in glob.glob(example("*.json"))), "sections")


def test_firewall():
    """firewall: from 40000-40999, and left alone on loopback"""
    with Server(address=host_address()) as server, Server() as near:
        o = steered("firewall.json", server.address, server.port, 50)
        assert all(40000 <= p <= 40999 for p in ports_of(o)), ports_of(o)
        equal(sorted(ports_of(o)), sorted(p for _, p in server.saw(50)), "ports as seen")
        o = steered("firewall.json", near.address, near.port)
        equal([e["berth.chosen_by"] for e in o.events], ["kernel"], "on loopback")


def nft(rules, *options):
    path, = need("nft")
    with tempfile.NamedTemporaryFile("w", suffix=".nft") as f:
        f.write(rules)
        f.flush()
        return subprocess.run([path, *options, "-f", f.name], capture_output=True, text=True)


def read(name):
    with open(example(name), encoding="utf-8") as f:
        return f.read()


def test_nft():
    """firewall.nft: what it lets out is the policy's set, and no other port passes"""
    rules = read("firewall.nft")
    without_cgroup = [line for line in rules.replace(
        'socket cgroupv2 level 2 "system.slice/backup.service" ', "").splitlines()
        if "oifname" not in line]
    loaded = nft("\n".join(without_cgroup) + "\n")
    if "Operation not supported" in loaded.stderr:
        raise Skip("no nf_tables here")
    equal(loaded.returncode, 0, loaded.stderr)
    try:
        with Server(address=host_address()) as server:
            # The server's own segments leave from its port: they are the other half of the flow.
            subprocess.run(["nft", "insert", "rule", "inet", "backup", "output", "tcp", "sport",
                            str(server.port), "accept"], check=True)
            o = steered("firewall.json", server.address, server.port, 5)
            equal((o.process.stdout, len(server.saw(5))), ("", 5), "within the set")
            o = Observed(program(CONNECTS, server.address, server.port, 1), "-L", "50000")
            equal(o.process.stdout, "ECONNREFUSED\n", "from another port")
            with socket.socket(type=socket.SOCK_DGRAM) as resolver:
                resolver.bind((server.address, 53))
                resolver.settimeout(10)
                Observed(program("socket(type=SOCK_DGRAM).sendto(b'?', (sys.argv[1], 53))",
                                 server.address), "-L", "50000")
                equal(resolver.recv(9), b"?", "a question to a name server, as libc's own")
    finally:
        subprocess.run(["nft", "flush", "ruleset"], check=True)


def test_nft_cgroup():
    """firewall.nft as it is: nft finds it sound where the service's cgroup exists"""
    need("nft")
    script = ("mount -t tmpfs none /sys/fs/cgroup && "
              "mkdir -p /sys/fs/cgroup/system.slice/backup.service && exec nft -c -f \"$0\"")
    run = subprocess.run(["unshare", "-m", "sh", "-c", script, example("firewall.nft")],
                         capture_output=True, text=True)
    if run.returncode and ("mount:" in run.stderr or "not supported" in run.stderr):
        raise Skip("no mount namespace, or no nf_tables")
    equal((run.returncode, run.stderr), (0, ""), "nft -c")


CGROUPS = "/sys/fs/cgroup"
# Its own cgroup by the path in argv[1]; a datagram that no rule steers, from a port of no policy.
IN_CGROUP = """
    with open(sys.argv[1] + "/cgroup.procs", "w") as f:
        f.write(str(os.getpid()))
    if sys.argv[3:]:
        os.execvp(sys.argv[3], sys.argv[3:])
    s = socket(type=SOCK_DGRAM)
    s.bind(("127.0.0.1", 30000))
    s.connect(("127.0.0.1", int(sys.argv[2])))
    try:
        s.send(b"x")
        print("sent")
    except OSError as e:
        print(errno.errorcode[e.errno])
"""


@contextlib.contextmanager
def service_cgroup():
    """The path of a cgroup as systemd makes one for a service, and what makes it anew."""
    fresh_mounts()
    if subprocess.run(["mount", "-t", "cgroup2", "none", CGROUPS], capture_output=True).returncode:
        raise Skip("no cgroup2 to mount")
    folder = f"{CGROUPS}/berthtest-{os.getpid()}.slice"
    path = folder + "/backup.service"

    def restart():
        wait_for(lambda: "populated 0" in open(path + "/cgroup.events").read())
        os.rmdir(path)
        os.mkdir(path)

    try:
        os.makedirs(path)
    except OSError as e:
        raise Skip(f"no cgroup can be made: {e}") from e
    try:
        yield path, restart
    finally:
        wait_for(lambda: "populated 0" in open(path + "/cgroup.events").read())
        os.rmdir(path)
        os.rmdir(folder)


def fresh_mounts():
    """Mounts of this process alone."""
    if os.geteuid() or ctypes.CDLL(None).unshare(0x20000):
        raise Skip("needs root, and a mount namespace")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def test_unit_restarts():
    """firewall.service: the rule that it loads at each start holds after a restart too"""
    need("nft")
    start, = re.findall(r"^ExecStartPre=\+(.*)$", read("firewall.service"), re.M)
    with service_cgroup() as (path, restart), tempfile.TemporaryDirectory() as folder:
        rules = f"{folder}/firewall.nft"
        with open(rules, "w") as f:
            f.write(read("firewall.nft").replace("system.slice/backup.service",
                                                 os.path.relpath(path, CGROUPS))
                    .replace('oifname "lo" accept', ""))
        load = start.replace("/etc/berth/firewall.nft", rules).split()

        def inside(*command):
            return subprocess.run(program(IN_CGROUP, path, 9, *command), capture_output=True,
                                  text=True)

        loaded = inside(*load)
        if "not supported" in loaded.stderr or "Could not process" in loaded.stderr:
            raise Skip("no nf_tables with cgroups here")
        try:
            equal((loaded.returncode, loaded.stderr), (0, ""), "the first start")
            equal(inside().stdout, "EPERM\n", "a port outside of the set")
            for _ in range(3):
                restart()
                equal(inside().stdout, "sent\n", "nft knows the old cgroup alone")
                equal((inside(*load).returncode, inside().stdout), (0, "EPERM\n"), "a restart")
        finally:
            subprocess.run(["nft", "delete", "table", "inet", "backup"], check=True)


def test_names():
    """a rule's name has no blank, which the line of an event would show as `?`"""
    texts = [example(os.path.basename(p)) for p in glob.glob(example("*.json"))]
    texts.append(os.path.join(EXAMPLES, "..", "man", "berth-policy.5"))
    for path in texts:
        with open(path, encoding="utf-8") as f:
            equal(re.findall(r'"name": "[^"]* [^"]*"', f.read()), [], path)


def test_shards():
    """shards: every port is of shard 3"""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        path = moved("shards.json", "*:19042", f"*:{server.port}", folder)
        o = Observed(program(CONNECTS, server.address, server.port, 100), "-P", path)
        equal({p % 8 for p in ports_of(o)}, {3}, "port % 8")
        equal(len(set(ports_of(o))), 100, "ports")


def test_replay():
    """replay: from that port, as a policy and as an option"""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        path = moved("replay.json", "127.0.0.1:8080", f"127.0.0.1:{server.port}", folder)
        command = program(CONNECTS, server.address, server.port, 1)
        equal(ports_of(Observed(command, "-P", path)), [43211], "port")
    with Server() as server:
        command = program(CONNECTS, server.address, server.port, 1)
        equal(ports_of(Observed(command, "-L", "43211")), [43211], "port")


def test_many_addresses():
    """many-addresses: 16 times the range of ports to one destination"""
    port_range(40000, 40019)
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        path = moved("many-addresses.json", "127.0.0.1:8080", f"127.0.0.1:{server.port}", folder)
        o = Observed(program(CONNECTS, server.address, server.port, 321), "-P", path)
        equal(o.process.stdout, "EADDRNOTAVAIL\n", "the last one")
        seen = server.saw(320)
        equal(len(set(seen)), 320, "4-tuples")
        equal(len({address for address, _ in seen}), 16, "addresses")


def test_listeners():
    """listeners: none of the ports that are left out"""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        path = moved("listeners.json", "1024-65535", "8070-8099", folder)
        o = Observed(program(CONNECTS, server.address, server.port, 21), "-P", path)
        got = set(ports_of(o)) - {0}
        equal(got, set(range(8070, 8100)) - set(range(8080, 8090)), "ports")


def test_nat():
    """nat: no port again to the same destination, and the kernel's choice where none is left"""
    with Server(keep=False) as server, tempfile.TemporaryDirectory() as folder:
        path = moved("nat.json", "32768-60999", "40000-40009", folder)
        o = Observed(program("""
            for _ in range(12):
                create_connection((sys.argv[1], int(sys.argv[2]))).close()
            """, server.address, server.port), "-P", path)
        equal(sorted(ports_of(o)[:10]), list(range(40000, 40010)), "each once")
        equal([e["berth.chosen_by"] for e in o.events[10:]], ["kernel", "kernel"], "then")
        equal(o.stats[0]["rules"][0]["kernel"], 2, "counted")


def test_late_bind():
    """late-bind: the whole range to each destination, for a program that binds to port 0"""
    port_range(40000, 40009)
    sysctl("ipv4.tcp_tw_reuse", "1")
    with Server() as one, Server() as other:
        for server in one, other:
            o = steered("late-bind.json", server.address, server.port, 10, "127.0.0.1")
            equal((o.process.stdout, len(server.saw(10))), ("", 10), "connections")


if __name__ == "__main__":
    berthtest.main()
