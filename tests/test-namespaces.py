# SPDX-License-Identifier: MIT
"""Programs that move from one network namespace into another, with threads and children: a row names
one that all of its events are of, or none."""
import os
import subprocess
import tempfile

import berthtest
from berthtest import LIBBERTH, Observed, Skip, equal, program, stats_of

PRELUDE = """
import threading
libc = ctypes.CDLL(None, use_errno=True)
NEWNET, NEWNS = 0x40000000, 0x20000
CLONE, UNSHARE = {'x86_64': (56, 272), 'aarch64': (220, 97)}[os.uname().machine]
def inode(of='thread-self'):
    return os.stat(f'/proc/{of}/ns/net').st_ino
def move(flags=NEWNET):
    assert libc.unshare(flags) == 0
def bind():
    with socket() as s:
        s.bind(('', 0))
def in_thread(*calls):
    t = threading.Thread(target=lambda: [call() for call in calls])
    t.start()
    t.join()
def forked(*calls):
    pid = os.fork()
    if pid == 0:
        for call in calls: call()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
def say(want, pid=None):
    print(pid or os.getpid(), want, flush=True)
"""


def script(code):
    command = program(PRELUDE)
    command[-1] += program(code)[-1]
    return command


def by_itself(code):
    """Without `berth run`: what it said, and the rows."""
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, LD_PRELOAD=LIBBERTH, BERTH_RECORD=folder)
        run = subprocess.run(script(code), capture_output=True, text=True, env=environment)
        return run, stats_of(folder)


def under_berth_run(code):
    o = Observed(script(code))
    return o.process, o.stats


def judge(code, may_not_know=False):
    """Each process that binds says its pid and the namespace that its row is to name."""
    if os.geteuid():
        raise Skip("needs root")
    for way in under_berth_run, by_itself:
        run, rows = way(code)
        equal((run.returncode, run.stderr), (0, ""), "exit status and stderr")
        want = sorted(tuple(map(int, line.split())) for line in run.stdout.splitlines())
        got = sorted((r["process.pid"], r["berth.net_namespace"]) for r in rows)
        if may_not_know:
            equal([pid for pid, _ in got], [pid for pid, _ in want], way.__name__)
            want = [(pid, net and want_net) for (pid, net), (_, want_net) in zip(got, want)]
        equal(got, want, way.__name__)


def test_before_the_first_event():
    """a process that moves, and then binds for the first time: the new one"""
    judge("move(); bind(); say(inode())")


def test_after_an_event():
    """... that has had an event: none, since its events are of two"""
    judge("bind(); move(); bind(); say(0)")


def test_to_and_fro():
    """... and that comes back: none"""
    judge("""
        home = os.open('/proc/self/ns/net', os.O_RDONLY)
        bind(); move(); bind(); assert libc.setns(home, NEWNET) == 0; bind(); say(0)
    """)


def test_other_namespaces():
    """a process that moves into another mount namespace: its network namespace, as before"""
    judge("""
        bind(); move(NEWNS); bind()
        home = os.open('/proc/self/ns/net', os.O_RDONLY)
        assert libc.setns(home, NEWNET) == 0
        bind(); say(inode())
    """)


def test_fails():
    """an unshare() that fails: its network namespace, as before"""
    judge("bind(); assert libc.unshare(NEWNET | 1) == -1; bind(); say(inode())")


def test_thread_moves():
    """a thread moves, and binds first, last, or in between: none"""
    judge("in_thread(move, bind); bind(); say(0)")
    judge("bind(); in_thread(move, bind); say(0)")
    judge("in_thread(bind, move, bind); say(0)")


def test_main_thread_moves():
    """the main thread moves from among others: none"""
    judge("""
        go = threading.Event()
        t = threading.Thread(target=lambda: (go.wait(), bind()))
        t.start(); move(); bind(); go.set(); t.join(); say(0)
    """)


def test_threads_afterwards():
    """a process that moves, and then starts threads: the new one"""
    judge("move(); in_thread(bind); bind(); say(inode())")


def test_children():
    """children that are forked before and after, by a thread, and of a child: each its own"""
    judge("""
        bind(); forked(bind, lambda: say(inode())); move(); bind(); say(0)
        forked(bind, lambda: say(inode()), lambda: forked(bind, lambda: say(inode())))
        in_thread(move, lambda: forked(bind, lambda: say(inode())))
        forked(move, bind, lambda: say(inode()))
    """)


def test_cloned():
    """a child of clone(2) by itself, and its own: none, or the one that it is in"""
    judge("""
        here = inode()
        bind(); say(here)
        def cloned(flags, *calls):
            pid = libc.syscall(CLONE, flags | signal.SIGCHLD, 0, 0, 0, 0)
            if pid == 0:
                for call in calls: call()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        cloned(NEWNET, bind, lambda: say(inode()))
        cloned(NEWNET, lambda: forked(bind, lambda: say(inode())))
    """, may_not_know=True)


if __name__ == "__main__":
    berthtest.main()
