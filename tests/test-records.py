# SPDX-License-Identifier: MIT
"""What the records say is whole, and what they do not say is said: no event is lost in silence."""
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import berthtest
from berthtest import (BERTH, LIBBERTH, PATIENCE, PROGRAMS, Observed, Server, Skip, berth, equal,
                       fresh_namespace, json_lines, log_of, need, program, started, stats_of,
                       wait_for)
from placetest import recordings, room

# connect() of an AF_INET6 socket to an AF_INET address, which the kernel refuses by EINVAL; the stack
# below is not what it was the time before.
OTHER_FAMILY = """
    l = create_server(('127.0.0.1', 0))
    to = struct.pack('=HH4s8x', AF_INET, htons(l.getsockname()[1]), inet_aton('127.0.0.1'))
    libc = ctypes.CDLL(None, use_errno=True)
    for kind in SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM, SOCK_STREAM:
        s = socket(AF_INET6, kind)
        libc.connect(s.fileno(), to, 16)
        create_connection(l.getsockname()).close()
"""


def test_other_family():
    """a socket of another family than its peer's address: the event is there, under any rule"""
    for options in ([], ["-L", "40000-40999"], ["-L", "40000-40999", "--via", "range"],
                    ["-L", "20000-20999"], ["-L", "20000-20999", "-A", "127.0.0.0/28"],
                    ["-A", "127.0.0.0/28"], ["-L", "20000-20999", "--exhausted", "kernel"]):
        o = Observed(program(OTHER_FAMILY), *options)
        equal(o.process.returncode, 0, options)
        equal(len(o.calls("connect", berth__result="failed", error__type="EINVAL")), 3, options)
        equal((len(o.calls("connect")), o.total("events", "written"), o.total("events", "torn")),
              (8, 9, 0), options)
        for event in o.events:
            equal(event.get("berth.via", "none") == "none", "berth.tries" not in event, event)


# --- a directory that is full --------------------------------------------------------------------

FORKS = "socket(AF_INET, SOCK_DGRAM).connect(('127.0.0.1', 9)); os.fork() or os._exit(0); os.wait()"
LIMIT = 4  # recordings of 512 KiB, of a file system of 8 MiB


def fill(place, programs, code=FORKS, **variables):
    """Programs that each make a recording of their own, as far as there is room."""
    for _ in range(programs):
        done = subprocess.run(program(code), text=True, capture_output=True, check=True, env={
            **os.environ, "LD_PRELOAD": LIBBERTH, "XDG_RUNTIME_DIR": place, **variables})
        equal(done.stderr, "", "what the program said")


def read(command, *arguments, place):
    done = berth(command, *arguments, env={**os.environ, "XDG_RUNTIME_DIR": place})
    equal(done.returncode, 0, done.stderr)
    return done.stdout, done.stderr


def test_readers_delete_nothing():
    """stats and log without operands show a full directory whole, and again"""
    with room("size=8m") as place:
        fill(place, LIMIT)
        for command in "stats", "log", "stats", "log":
            shown, said = read(command, place=place)
            equal((shown.count("python3 "), said), (LIMIT, ""), command)
        equal(len(recordings(place + "/berth")), LIMIT, "recordings")


def test_unrecorded():
    """processes that found no room are counted, and stats and log say how many"""
    with room("size=8m") as place:
        fill(place, LIMIT + 3)
        for command, of in ("stats", []), ("log", []), ("stats", [f"{place}/berth"]), \
                ("log", [f"{place}/berth"]):
            shown, said = read(command, *of, place=place)
            equal((shown.count("python3 "), said), (LIMIT, f"berth: {command}: {place}/berth: 3 "
                  "processes were not recorded: the directory held as much as it may, 2 MiB; "
                  f"`berth stats --tidy {place}/berth` makes room\n"), command)


def test_unrecorded_threads():
    """a process whose threads all find no room counts once"""
    with room("size=8m") as place:
        fill(place, LIMIT)
        fill(place, 2, """
            import threading
            def connect():
                socket(AF_INET, SOCK_DGRAM).connect(('127.0.0.1', 9))
            threads = [threading.Thread(target=connect) for _ in range(20)]
            [t.start() for t in threads]; [t.join() for t in threads]""")
        equal(os.stat(f"{place}/berth/unrecorded").st_size, 2, "counted")


def test_unrecorded_harmless():
    """the count raises no SIGXFSZ, follows no link, waits for no FIFO and keeps no descriptor"""
    check = FORKS + "; import subprocess; assert len(os.listdir('/proc/self/fd')) == 4"
    for stand in "", "link", "fifo", "folder":
        with room("size=8m") as place:
            fill(place, LIMIT)
            path = f"{place}/berth/unrecorded"
            if stand == "link":
                os.symlink(f"{place}/victim", path)
            elif stand == "fifo":
                os.mkfifo(path)
            elif stand == "folder":
                os.mkdir(path)
            limit = f"import resource; resource.setrlimit({resource.RLIMIT_FSIZE}, (0, 0)); "
            fill(place, 1, check if stand else limit + check)
            assert not os.path.exists(f"{place}/victim"), "a link was followed"
            equal(os.path.exists(path) and os.stat(path).st_size if not stand else 0, 0, "size")


def test_tidy():
    """stats --tidy shows all, then deletes what is not in use, and says how much"""
    with room("size=8m") as place:
        running = program(FORKS + "; print('', flush=True); sys.stdin.read()")
        environment = {**os.environ, "LD_PRELOAD": LIBBERTH, "XDG_RUNTIME_DIR": place}
        with berthtest.started(running, env=environment) as process:
            process.stdout.readline()
            fill(place, LIMIT + 1)
            shown, said = read("stats", "--tidy", place=place)
            equal(shown.count("python3 "), LIMIT, "shown")
            assert said.endswith(f"berth: stats: deleted {LIMIT - 1} recordings; 1 stay, which are in "
                                 "use or could not be read\n"), said
            equal(len(os.listdir(place + "/berth")), 1, "what is left")
            equal([row["process.pid"] for row in stats_of(place + "/berth")], [process.pid], "pid")
            fill(place, 1)
        equal(len(log_of(place + "/berth")), 2, "events")


def test_tidy_needs_output():
    """stats --tidy deletes nothing that it could not print"""
    with room("size=8m") as place:
        fill(place, 2)
        with open("/dev/full", "w") as full:
            done = berth("stats", "--tidy", place + "/berth", capture_output=False, stdout=full)
        equal((done.returncode, len(recordings(place + "/berth"))), (2, 2), "status, recordings")


def test_tidy_leaves_what_begins():
    """a recording of which no process has attached yet is not deleted by another berth run"""
    busybox, = need("busybox")
    wait_then = "echo waits; read line; exec \"$@\""  # in a static program
    connects = program("socket(AF_INET, SOCK_DGRAM).connect(('127.0.0.1', 9))")
    for options in [], ["--exec"]:
        with room() as place:
            env = {**os.environ, "XDG_RUNTIME_DIR": place}
            run = [BERTH, "run", *options, "--", busybox, "sh", "-c", wait_then, "sh", *connects]
            with started(run, env=env) as process:
                equal(process.stdout.readline(), "waits\n")
                first, = recordings(place)
                for _ in range(2):
                    equal(berth("run", "-q", "--", "true", env=env).returncode, 0)
                stdout, stderr = process.communicate("go on\n")
            equal((stdout, process.returncode), ("", 0), stderr)
            if options:
                equal(len(log_of(first)), 1, "events")
            else:
                equal(stderr.count(" connect udp "), 1, stderr)
                equal(recordings(place), [], "left")


# --- a recording that was never finished -----------------------------------------------------------

def left_behind(folder):
    """A recording, and beside it what a process leaves that is killed while it makes one: nothing, a
    part of the zeros, all of them, and a header without its first word. Returns the paths of these."""
    whole = f"{folder}/1-1.berth"
    equal(berth("run", "-q", "--record", whole, "--", *program(FORKS)).returncode, 0, "status")
    with open(whole, "rb") as f:
        header = f.read(4096)
    paths = []
    for content in b"", bytes(100), bytes(4096), bytes(20000), bytes(8) + header[8:100] + bytes(20000):
        paths.append(f"{folder}/1-{len(paths) + 2}.berth")
        with open(paths[-1], "wb") as f:
            f.write(content)
    return paths


def grow_old(*paths):
    """A minute old, and a second: time(2) in berth is up to a tick behind the clock that is read here."""
    for path in paths:
        os.utime(path, (0, time.time() - 61))


def never_finished(command, path, told, young=True):
    return (f"berth: {command}: {path}: never finished: its process ended while it made this "
            f"recording, and nothing is in it; `berth stats --tidy {told}` deletes it"
            + " once it is a minute old" * young + "\n")


def test_unfinished_read():
    """stats and log of a directory name what was never finished, and read the rest: status 0"""
    with tempfile.TemporaryDirectory() as folder:
        paths = left_behind(folder)
        for command in "log", "stats":
            whole = berth(command, "--json", f"{folder}/1-1.berth").stdout
            assert whole
            for young in True, False:
                done = berth(command, "--json", folder)
                equal((done.returncode, done.stdout), (0, whole), command)
                equal(done.stderr, "".join(never_finished(command, p, folder, young) for p in paths))
                done = berth(command, paths[0])
                equal((done.returncode, done.stdout, done.stderr),
                      (2, "", never_finished(command, paths[0], paths[0], young)), command)
                if young:
                    grow_old(*paths)
            for path in paths:
                os.utime(path)


def test_unfinished_followed():
    """log -f of a directory names it once, however often it looks"""
    with tempfile.TemporaryDirectory() as folder:
        path, *rest = left_behind(folder)
        for other in rest:
            os.unlink(other)
        with berthtest.started([BERTH, "log", "-f", "--json", folder]) as log:
            for number in range(3):
                log.stdout.readline()
                shutil.copy(f"{folder}/1-1.berth", f"{folder}/copy")
                os.rename(f"{folder}/copy", f"{folder}/2-{number}.berth")  # as a whole
            log.terminate()
            equal(log.stderr.read(), never_finished("log", path, folder), "stderr")


def test_unfinished_tidied():
    """stats --tidy and berth run delete them once they are a minute old, and nothing else"""
    for way in "directory", "operands", "run":
        with room("size=64m") as place:
            os.mkdir(place + "/berth", 0o700)
            paths = left_behind(place + "/berth")
            environment = {**os.environ, "XDG_RUNTIME_DIR": place}
            operands = [place + "/berth"] if way == "directory" else paths
            words = ["run", "-q", "--", "true"] if way == "run" else ["stats", "--tidy", *operands]
            others = {"full": bytes(8192) + b"x", "text": b"hello", "short": bytes(100) + b"x"}
            for name, content in others.items():
                with open(f"{place}/berth/{name}.berth", "wb") as f:
                    f.write(content)
                grow_old(f.name)
            os.symlink(paths[0], f"{place}/berth/link.berth")
            berth(*words, env=environment)
            assert all(os.path.exists(path) for path in paths), "young ones"
            grow_old(*paths)
            with open(paths[0], "r+b"):
                berth(*words, env=environment)
                equal([os.path.exists(path) for path in paths], [True] + [False] * (len(paths) - 1))
            berth(*words, env=environment)
            left = {"full.berth", "text.berth", "short.berth", "link.berth", "1-1.berth"}
            equal(set(os.listdir(place + "/berth")) | {"1-1.berth"}, left, way)


def killed_at(call, number, place):
    """A program that is killed at the call of that number, observed; whether it was."""
    strace, = need("strace")
    done = subprocess.run([strace, "-qq", "-o", "/dev/null", "-E", f"LD_PRELOAD={LIBBERTH}", "-e",
                           f"inject={call}:signal=KILL:when={number}", f"{PROGRAMS}/steps", "connect",
                           "9"], env={**os.environ, "XDG_RUNTIME_DIR": place}, capture_output=True)
    return done.returncode == -signal.SIGKILL


def test_unfinished_killed():
    """programs killed at each call that makes a recording: stats and log read what there is"""
    told = 0
    for call in "fallocate", "mmap", "fcntl", "openat":
        number, killed = 1, True
        while killed:
            with room("size=8m") as place:
                killed = killed_at(call, number, place)
                for path in recordings(place):
                    log, stats = berth("log", place + "/berth"), berth("stats", place + "/berth")
                    equal((log.returncode, stats.returncode), (0, 0), log.stderr + stats.stderr)
                    grow_old(path)
                    berth("stats", "--tidy", f"{place}/berth")
                    equal(recordings(place), [], f"{call} {number}: {stats.stderr}")
                    told += "never finished" in stats.stderr
            number += 1
    assert told >= 5, told


def test_unfinished_replaced():
    """berth run --record takes the place of one that was left long ago"""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.berth"
        with open(path, "wb"):
            pass
        equal(berth("run", "-q", "--record", path, "--", "true").returncode, 125, "young")
        grow_old(path)
        equal(berth("run", "-q", "--record", path, "--", "true").returncode, 0, "old")
        equal(berth("log", path).returncode, 0, "a recording")


# --- one thing, said in one way --------------------------------------------------------------------

def every_command(recording):
    """What log and stats print of a recording, as text and as JSON."""
    return [berth(command, *json, recording) for command in ("log", "stats")
            for json in ([], ["--json"])]


def test_interface_names():
    """an interface of any name: its addresses are there, in log and in stats, and its bytes are not"""
    fresh_namespace()
    name = b"e\x1b[2J\xff\xc2\x9b"
    subprocess.run(["ip", "link", "add", "name", name, "type", "veth", "peer", "name", "other"],
                   check=True)
    for words in (["addr", "add", "fe80::1/64", "dev", name, "nodad"], ["link", "set", "other", "up"],
                  ["link", "set", name, "up"]):
        subprocess.run(["ip", *words], check=True)
    index = socket.if_nametoindex(os.fsdecode(name))
    code = f"""
        s = socket(AF_INET6, SOCK_DGRAM)
        s.connect(('fe80::1', 9, 0, {index}))"""
    wait_for(lambda: subprocess.run(program(code), capture_output=True).returncode == 0)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/x.berth"
        equal(berth("run", "-q", "--record", path, "--", *program(code)).returncode, 0, "status")
        for done in every_command(path):
            assert "fe80::1%e?[2J??" in done.stdout, done.stdout
            assert done.stdout.replace("\n", "").isprintable(), done.stdout
        event, = log_of("-D", f"fe80::1%{index}", path)
        equal(event["network.local.address"], "fe80::1%e?[2J??", "local address")
        equal(log_of("-D", f"fe80::1%{index + 1}", path), [], "of another interface")
        shown = berth("log", "--json", "-D", "fe80::1%" + os.fsdecode(name), path)
        equal(json_lines(shown.stdout), [event], "by the interface's name")
        row, = stats_of(path)
        equal([d["address"] for d in row["destinations"]], [event["network.peer.address"]])


def test_ports_about():
    """the estimate of a destination's ports is no more than the exact number of all"""
    o = Observed(program("""
        for i in range(40000):
            s = socket(AF_INET, SOCK_DGRAM)
            s.connect(('127.0.0.1', 9 + i // 20000)); s.close()"""), events=16)
    row, = o.stats
    for d in row["destinations"]:
        assert d["distinct_ports_estimate"] <= row["ports"]["distinct"], row


def test_main_thread_ended():
    """a process whose main thread has ended runs on, says each command, and holds its ports"""
    with berthtest.running([f"{PROGRAMS}/leaving"]) as (process, recording):
        event, = wait_for(lambda: os.path.exists(recording) and log_of(recording))
        pid, port = event["process.pid"], event["network.local.port"]

        def ended():
            with open(f"/proc/{pid}/stat") as f:
                return f.read().rpartition(") ")[2][0] == "Z"
        wait_for(ended)
        row, = stats_of(recording)
        equal(row["berth.state"], "running", "stats")
        reach = berth("reach", "-p", pid)
        assert (reach.returncode, f"{pid}: reached\n" in reach.stdout) == (0, True), reach
        doctor = berth("doctor", "-p", pid)
        equal(doctor.returncode, 0, doctor.stderr)
        assert f"process {pid}: libberth.so is loaded\n" in doctor.stdout, doctor.stdout
        taken = berth("run", "--why", "--", *program(
            f"socket().connect_ex(('127.0.0.1', 1)); s = socket(); s.bind(('', {port}))"))
        holder = f"leaving (pid {pid})" if berthtest.kernel("bound_sockets_listed") else \
            "not to be seen on this kernel"  # of a socket that is bound and not connected
        assert holder in taken.stderr, taken.stderr
        process.communicate("\n", timeout=PATIENCE)
        row, = stats_of(recording)
        equal(row["berth.state"], "exited", "stats")


def test_reserved_ports():
    """bindresvport() and rresvport(): the program chose, and the binds are events"""
    if os.geteuid():
        raise Skip("a port below 1024 is root's")
    with Server() as server:
        o = Observed(program("""
            libc = ctypes.CDLL(None)
            a, b = socket(), socket(fileno=libc.rresvport(ctypes.byref(ctypes.c_int(1023))))
            assert libc.bindresvport(a.fileno(), None) == 0
            c = socket(AF_INET6, fileno=libc.rresvport_af(ctypes.byref(ctypes.c_int(1000)), AF_INET6))
            for s in a, b:
                s.connect(('127.0.0.1', int(sys.argv[1])))
            print(*(s.getsockname()[1] for s in (b, a, c)))""", server.port))
    ports = [int(port) for port in o.process.stdout.split()]
    binds = o.calls("bind", berth__result="ok", berth__chosen_by="program")
    equal([e["network.local.port"] for e in binds], ports, "ports that were bound")
    equal([(e["network.local.port"], e["berth.chosen_by"]) for e in o.calls("connect")],
          [(ports[1], "program"), (ports[0], "program")])
    equal(len(o.events), 5, "events")


if __name__ == "__main__":
    berthtest.main()
