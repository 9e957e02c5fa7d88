# SPDX-License-Identifier: MIT
"""Programs that close, cover and reuse descriptors: berth holds none, and writes into none that has
become another file."""
import contextlib
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile

import berthtest
from berthtest import PATIENCE, PROGRAMS, Skip, equal, need, wait_for
from waytest import (EVENTS, STEPS, WAYS, run, same, steps, variables,
                     writes_into_pipes_at_once)

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \d+ \S+ (connect|bind) (tcp|udp) .*\n")


def are_lines(text, count):
    lines = text.splitlines(keepends=True)
    assert all(LINE.fullmatch(line) for line in lines), text
    equal(len(lines), count, "lines")


@contextlib.contextmanager
def sink():
    """A UDP socket, and a function for all that it was sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)

        def received():
            all_of_it = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    all_of_it.append(receiver.recv(65536))
            return all_of_it
        yield receiver.getsockname()[1], received


def each_way(settings):
    """The variables of each way, with these, and where it records."""
    for way in WAYS:
        with tempfile.TemporaryDirectory() as folder:
            yield folder, {**variables(way, folder + "/new"),
                           **{k: v.format(folder) for k, v in settings.items()}}


# --- nothing is held, so nothing is missed ----------------------------------------------------


def test_closefrom():
    """closefrom(3) before the first connection and between them: each event is there"""
    same(steps("closefrom", 3, *STEPS))
    same(steps("connect", 9, "closefrom", 3, *STEPS), EVENTS + 1)


def test_all_closed():
    """all descriptors closed, 0 to 2 with them: each event is there"""
    same(steps("connect", 9, "closefrom", 0, "connect", 9, "bind"), 3)


def test_dup2_over_all():
    """dup2() of a file over all descriptors from 3: each event is there, the file is as it was"""
    with tempfile.TemporaryDirectory() as folder:
        limits = [(resource.RLIMIT_NOFILE, 2000)]
        same(steps("cover", folder + "/a", "files", 4000, *STEPS), limits=limits)
        same(steps("connect", 9, "cover", folder + "/b", "files", 4000, *STEPS), EVENTS + 1,
             limits=limits)
        equal([os.path.getsize(f"{folder}/{f}") for f in "ab"], [0, 0], "bytes in the files")


def test_no_descriptor_is_seen():
    """the descriptors of a program are as without berth, before its first event and after it"""
    code = """
        seen = []
        for i in range(2):
            seen.append(sorted(os.listdir('/proc/self/fd'), key=int))
            s = socket(AF_INET, SOCK_DGRAM)
            s.connect(('127.0.0.1', 9))
            s.close()
        print(seen)"""
    same(berthtest.program(code), 2)


# --- BERTH_LOG ---------------------------------------------------------------------------------


def test_log_is_closed():
    """BERTH_LOG's file, after closefrom(3): no more lines, in no file"""
    for folder, settings in each_way({"BERTH_LOG": "{}/log"}):
        status = run(steps("connect", 9, "closefrom", 3, *STEPS), settings)
        equal((status[0], status[2]), (7, ""), "status and stderr")
        with open(folder + "/log") as f:
            are_lines(f.read(), 1)


def test_log_is_covered():
    """... after dup2() of a file over all descriptors: none in that file"""
    for folder, settings in each_way({"BERTH_LOG": "{}/log"}):
        status = run(steps("connect", 9, "cover", folder + "/own", "files", 4000, *STEPS), settings,
                     limits=[(resource.RLIMIT_NOFILE, 2000)])
        equal((status[0], status[2]), (7, ""), "status and stderr")
        with open(folder + "/log") as f:
            are_lines(f.read(), 1)
        equal(os.path.getsize(folder + "/own"), 0, "bytes in the program's file")


def test_stderr_becomes_a_socket():
    """a daemon that closes 0 to 2 and gets sockets as these, BERTH_LOG=stderr: no byte in them"""
    for _, settings in each_way({"BERTH_LOG": "stderr", "BERTH_RECORD": "/nowhere/at/all"}):
        with sink() as (port, received):
            got = run(steps("connect", 9, "three", port, *STEPS), settings)
            equal(got[:2], (7, ""), "status and stdout")
            lines = [line for line in got[2].splitlines(keepends=True) if LINE.fullmatch(line)]
            equal(len(lines), 1, got[2])
            said = [b"connected\nconnected\nrefused: Connection refused\nconnected\n"
                    b"refused: Connection refused\ndone\n"]  # by puts(), into its descriptor 1
            equal(received(), said, "what the program's peer got")


def test_stderr_is_a_socket():
    """a socket as stderr from the start, as systemd's journal is: it gets the lines, 2 anew none"""
    for _, settings in each_way({"BERTH_LOG": "stderr"}):
        ours, theirs = socket.socketpair()
        with ours, sink() as (port, received):
            with theirs:
                got = run(steps("connect", 9, "bind", "error", port, *STEPS), settings,
                          stderr=theirs)
            equal(got[0], 7, "status")
            text = b""
            while more := ours.recv(65536):
                text += more
            are_lines(text.decode(), 2)
            equal(received(), [], "what the program's peer got")


# Descriptor 2 becomes what was inherited, or what comes of that, before the first event.
BECOMES = """
    how, fd = sys.argv[1], int(sys.argv[2])
    if how == 'accept':  # into the number itself
        os.close(2)
        fd = socket(fileno=fd)._accept()[0]
        os.set_inheritable(2, True)
    elif how == 'receive':
        a, b = socketpair()
        send_fds(a, [b'x'], [fd])
        os.dup2(recv_fds(b, 1, 1)[1][0], 2)
    else:
        os.dup2(fd, 2)
    for _ in range(2):
        socket(AF_INET, SOCK_DGRAM).connect(('127.0.0.1', 9))
"""


def connected(kind):
    """Two sockets that are."""
    if kind == "unix":
        return socket.socketpair()
    with socket.socket(type=kind) as listener:
        listener.bind(("127.0.0.1", 0))
        theirs = socket.socket(type=kind)
        if kind == socket.SOCK_DGRAM:
            ours = socket.socket(type=kind)
            theirs.bind(("127.0.0.1", 0))
            ours.connect(theirs.getsockname())
            return ours, theirs
        listener.listen()
        theirs.connect(listener.getsockname())
        return listener.accept()[0], theirs


def what_gets(kind, how, settings):
    """What the program's peer, or its file, gets where descriptor 2 becomes that."""
    with contextlib.ExitStack() as stack:
        if kind == "file":
            ours = stack.enter_context(tempfile.TemporaryFile("wb", buffering=0))
        elif kind == "pipe":
            theirs, ours = (stack.enter_context(os.fdopen(fd, mode, buffering=0))
                            for fd, mode in zip(os.pipe(), ("rb", "wb")))
        elif how == "accept":
            ours = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            theirs = stack.enter_context(socket.create_connection(ours.getsockname()))
        else:
            ours, theirs = map(stack.enter_context, connected(kind))
        done = run(berthtest.program(BECOMES, how, ours.fileno()), settings,
                   pass_fds=[ours.fileno()])
        equal(done[0], 0, f"{kind}, {how}: {done}")
        if kind == "file":
            return os.pread(ours.fileno(), 4096, 0)
        os.set_blocking(theirs.fileno(), False)
        try:
            return os.read(theirs.fileno(), 4096)
        except BlockingIOError:
            return b""


def test_stderr_becomes_something_else():
    """what the program makes of 2 before its first event gets no complaint and no line"""
    ways = [(kind, how) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, "unix", "pipe", "file")
            for how in ("dup2", "receive")] + [(socket.SOCK_STREAM, "accept")]
    for variable in {"BERTH_RECORD": "/nowhere/at/all"}, {"BERTH_LOG": "stderr"}, \
            {"BERTH_RECORD": "/nowhere/at/all", "BERTH_LOG": "stderr", "BERTH_VERBOSE": "1"}:
        for way in "observed", "bind":
            for kind, how in ways:
                settings = {**variables(way, "off"), **variable}
                equal(what_gets(kind, how, settings), b"", f"{kind}, {how}, {way}, {variable}")


# Each is a line on the standard error at the start, or at the first event.
COMPLAINTS = ({"BERTH_RECORD": "/nowhere/at/all"}, {"BERTH_EVENTS": "many"}, {"BERTH_VERBOSE": "1"},
              {"BERTH_LOG": "/nowhere/at/all"}, {"BERTH_LOG_ONLY": "some"}, {"BERTH_LOG": "stderr"},
              {"BERTH_RECORD": "//nowhere/at/all"}, {"BERTH_POLICY": "/nowhere/at/all"},
              {"BERTH_POLICY": "/nowhere/at/all", "BERTH_STRICT": "1"})
SERVES = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect_ex(('127.0.0.1', 9))"


def test_connection_as_stderr():
    """a program with its connection as 0 to 2, as of inetd: its peer gets no line; on a pipe it would"""
    for variable in COMPLAINTS:
        settings = {**variables("observed", "off"), **variable}
        command = [sys.executable, "-c", SERVES]
        equal(len(run(command, settings)[2].splitlines()), 1, f"lines on a pipe, {variable}")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            theirs = socket.create_connection(listener.getsockname())
            ours = listener.accept()[0]
            with theirs, ours:
                equal(run(command, settings, stdin=ours, stderr=ours)[0], 0, f"{variable}")
                ours.shutdown(socket.SHUT_WR)
                equal(theirs.recv(4096), b"", f"what the peer got, {variable}")


def test_no_stderr_at_start():
    """2 closed at the start: what the program opens as 2 gets no complaint and no line"""
    shell = """exec 2>&-; exec "$@" """
    code = "os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_TRUNC);" \
        "os.set_inheritable(2, True);" + SERVES
    for variable in COMPLAINTS:
        settings = {**variables("observed", "off"), **variable}
        with tempfile.TemporaryDirectory() as folder:
            command = berthtest.program(code, folder + "/own")
            equal(run(["sh", "-c", shell, "sh", *command], settings)[0], 0, f"{variable}")
            equal(os.path.getsize(folder + "/own"), 0, f"bytes in the program's file, {variable}")


@contextlib.contextmanager
def ext4():
    """A folder on a file system that uses the inodes of files that are gone again."""
    mkfs, _ = need("mkfs.ext4", "losetup")
    with tempfile.TemporaryDirectory() as folder:
        image, path = folder + "/image", folder + "/ext4"
        with open(image, "wb") as f:
            f.truncate(16 << 20)
        subprocess.run([mkfs, "-q", image], check=True)
        os.mkdir(path)
        mounted = subprocess.run(["mount", "-o", "loop", image, path], capture_output=True,
                                 text=True)
        if mounted.returncode:
            raise Skip("no ext4 from a file: " + mounted.stderr.strip())
        try:
            yield path
        finally:
            subprocess.run(["umount", "-l", path], check=True)


def wait_for_another_time(path):
    """Until what is made on the file's system is of another time than it: its clock has ticks."""
    with open(path + "-time", "wb"):
        pass

    def later():
        os.utime(path + "-time")
        return os.stat(path + "-time").st_ctime_ns - os.stat(path).st_ctime_ns > 20_000_000
    wait_for(later)


def test_inode_is_used_again():
    """a new file with the number and the inode of the stderr that is gone: no line in it"""
    with ext4() as place:
        for way, (_, settings) in zip(WAYS, each_way({"BERTH_LOG": "stderr"})):
            old, new = f"{place}/old-{way}", f"{place}/new-{way}"
            with open(old, "wb") as stderr:
                inode = os.fstat(stderr.fileno()).st_ino
                wait_for_another_time(old)
                shell = 'rm "$0"; exec "$@"'
                process = subprocess.Popen(["sh", "-c", shell, old,
                                            *steps("wait", "reborn", new, *STEPS)],
                                           stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                           stderr=stderr, env={**os.environ, **settings})
            process.communicate(b"\n", timeout=PATIENCE)
            s = os.stat(new)
            equal((process.returncode, s.st_size), (7, 0), "status, and bytes in the new file")
            if s.st_ino != inode:
                raise Skip("the inode is not used again here")


def test_swapped_while_it_writes():
    """threads that make 2 another file, and open and close theirs, while lines are written"""
    for folder, settings in each_way({"BERTH_LOG": "stderr"}):
        status, _, said = run([f"{PROGRAMS}/swaps", folder + "/own", 5000], settings)
        equal(status, 0, "status")
        assert all(LINE.fullmatch(line) for line in said.splitlines(keepends=True)), "torn lines"
        equal(os.path.getsize(folder + "/own"), 0, "bytes in the program's file")
    for folder, settings in each_way({"BERTH_LOG": "{}/log"}):
        status, _, said = run([f"{PROGRAMS}/swaps", folder + "/own", 5000], settings)
        equal((status, said), (0, ""), "status and stderr")
        with open(folder + "/log") as f:
            are_lines(f.read(), 5000)


def test_no_duplicate_to_be_had():
    """RLIMIT_NOFILE of 0 in mid-run: lines are written all the same, if not into a pipe before 6.4"""
    for _, settings in each_way({"BERTH_LOG": "stderr"}):
        status, _, said = run(steps("connect", 9, "socket", "files", 0, "connect", 9), settings)
        equal(status, 0, "status")
        are_lines(said, 2 if writes_into_pipes_at_once() else 1)


if __name__ == "__main__":
    berthtest.main()
