# SPDX-License-Identifier: MIT
"""The default range of ports, filled towards one loopback destination by the kernel's own choice,
and a program that makes single connects there. For bench/fill and bench/cliff."""
import os
import resource
import socket
import subprocess
import sys

FILLS = os.path.join(os.environ.get("BENCH_PROGRAMS", "bench"), "fills")
TURN = 50  # connects of a variant before the next one's turn

LOW, HIGH = 32768, 60999
PORTS = HIGH - LOW + 1
SERVER = 8001


class Holder:
    """A process that fills ports and keeps both ends, as many as it may have descriptors for."""

    ROOM = (min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 20000) - 100) // 2

    def __init__(self, listener):
        self.held = 0
        self.ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            # Also the ends of the variants' pipes: they are to see their end.
            low, high = sorted((listener.fileno(), theirs.fileno()))
            for first, end in ((3, low), (low + 1, high), (high + 1, 1024)):
                os.closerange(first, end)
            self.serve(listener, theirs)
            os._exit(0)
        theirs.close()

    @staticmethod
    def serve(listener, pipe):
        kept = []
        while request := pipe.recv(16):
            for _ in range(int(request)):
                kept.append(socket.create_connection(("127.0.0.1", SERVER)))
                kept.append(listener.accept()[0])
            pipe.send(b"done")

    def add(self, count):
        self.ours.send(str(count).encode())
        if self.ours.recv(16) != b"done":
            sys.exit(f"{sys.argv[0]}: could not fill the ports")
        self.held += count

    def end(self):
        self.ours.close()
        os.waitpid(self.pid, 0)


class Fill:
    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", SERVER))
        self.listener.listen(1 << 20)
        self.holders = []

    def reach(self, percent):
        missing = int(PORTS * percent / 100) - sum(h.held for h in self.holders)
        while missing > 0:
            if not self.holders or self.holders[-1].held == Holder.ROOM:
                self.holders.append(Holder(self.listener))
            more = min(missing, Holder.ROOM - self.holders[-1].held)
            self.holders[-1].add(more)
            missing -= more

    def drain(self):
        """Of what was measured: it was reset long ago."""
        self.listener.setblocking(False)
        try:
            while True:
                self.listener.accept()[0].close()
        except BlockingIOError:
            self.listener.setblocking(True)

    def end(self):
        for holder in self.holders:
            holder.end()


class Variant:
    """bench/fills in an environment of its own."""

    def __init__(self, name, environment):
        self.name = name
        self.process = subprocess.Popen([FILLS, str(SERVER)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **environment})

    def turn(self):
        """What each connect() took in us; below 0 where it failed with EADDRNOTAVAIL."""
        self.process.stdin.write(f"{TURN}\n")
        self.process.stdin.flush()
        took = self.process.stdout.readline().split()
        if len(took) != TURN:
            sys.exit(f"{sys.argv[0]}: {self.name}: ended early")
        return [int(t) / 1000 for t in took]

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def enter_namespace():
    """Starts the program anew in a network namespace of its own, with the default range."""
    if os.environ.get("BENCH_NETNS") != "filling":
        os.environ["BENCH_NETNS"] = "filling"
        how = "-n" if os.geteuid() == 0 else "-rn"
        os.execvp("unshare", ["unshare", how, sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, value in (("net/core/somaxconn", 1 << 20), ("net/ipv4/tcp_max_syn_backlog", 1 << 20),
                        ("net/ipv4/ip_local_port_range", f"{LOW} {HIGH}")):
        with open("/proc/sys/" + name, "w", encoding="ascii") as f:
            f.write(str(value))
