# SPDX-License-Identifier: MIT
"""What did harm once, or was told wrongly, and does not any more: a case each."""
import ast
import contextlib
import ctypes
import fcntl
import functools
import os
import pty
import select
import socket
import subprocess
import tempfile
import termios

import berthtest
from berthtest import (BERTH, LIBBERTH, PATIENCE, PROGRAMS, Observed, Server, Skip, built,
                       closed_port, equal, full_listener, log_of, need, port_range, program,
                       started, stats_of, sysctl, wait_for)

CLONE_NEWNS = 0x20000

# What the programs below use besides socket's own.
PRELUDE = """
import fcntl, mmap, subprocess, termios, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def outcome(result):
    return errno.errorcode[ctypes.get_errno()] if result < 0 else 'ok'
def sockaddr(port):
    return struct.pack('=H', AF_INET) + struct.pack('!H4s8x', port, inet_aton('127.0.0.1'))
def connect(s, port):
    return outcome(libc.connect(s.fileno(), sockaddr(port), 16))
def port_of(s):
    return s.getsockname()[1]
port = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else 0
to = ('127.0.0.1', port)
"""


def script(code, *arguments):
    """The command that runs this code after the prelude."""
    command = program(PRELUDE)
    command[-1] += program(code)[-1]
    return [*command, *map(str, arguments)]


def observe(code, *arguments, **popen):
    """The events of this code under `berth run`, and the Python value that it printed."""
    o = Observed(script(code, *arguments), **popen)
    equal((o.process.returncode, o.process.stderr), (0, ""), "exit status and stderr")
    return o.events, ast.literal_eval(o.process.stdout or "None")


def preloaded(command, *before, libraries=(LIBBERTH,), **variables):
    """Runs it with the variables alone: the CompletedProcess. `before` is a program in front."""
    environment = {"LD_PRELOAD": " ".join(libraries), **variables}
    settings = [f"{name}={value}" for name, value in environment.items()]
    return subprocess.run([*before, "env", *settings, *map(str, command)], capture_output=True,
                          text=True, timeout=PATIENCE)


def unharmed(run, said=""):
    equal((run.returncode, run.stdout, run.stderr), (0, said, ""), "status, stdout and stderr")


def summary(events):
    """(call, outcome, local port) of each."""
    return [(e["berth.call"], e.get("error.type", e["berth.result"]), e["network.local.port"])
            for e in events]


def calls(events):
    return [e["berth.call"] for e in events]


def outcomes(events):
    return [e.get("error.type", e["berth.result"]) for e in events]


def states(*places):
    return [row["berth.state"] for row in stats_of(*places)]


@contextlib.contextmanager
def silent_port():
    with full_listener() as listener:
        yield listener.getsockname()[1]


@functools.cache
def own_mounts():
    """Mounts of this process alone from here on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise Skip("no mount namespace: " + os.strerror(ctypes.get_errno()))
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


@contextlib.contextmanager
def room(kind="tmpfs", options="size=64m"):
    """A folder that is a file system of its own."""
    own_mounts()
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/room"
        os.mkdir(path)
        mounted = subprocess.run(["mount", "-t", kind, "-o", options + ",mode=700", kind, path],
                                 capture_output=True, text=True)
        if mounted.returncode:
            raise Skip(mounted.stderr.strip())
        try:
            yield path
        finally:
            subprocess.run(["umount", "-l", path], check=True)


# --- the first event -------------------------------------------------------------------------


def both_orders(library):
    """The libraries of an LD_PRELOAD with this one before and behind ours."""
    return (library, LIBBERTH), (LIBBERTH, library)


def guarded(code):
    """A first event of this code, beside a library that bears no call while it connects."""
    for libraries in both_orders(built("guard")):
        with Server() as server, tempfile.TemporaryDirectory() as folder:
            run = preloaded(script(code, server.port, folder + "/made"), libraries=libraries,
                            BERTH_RECORD=folder + "/new", GUARD_PORT=server.port)
            unharmed(run)
            equal(outcomes(log_of(folder + "/new")), ["ok"], f"events, {libraries}")


def test_library_that_connects():
    """another library's mkdir() connects under its mutex as first event: no deadlock"""
    guarded("libc.mkdir(sys.argv[2].encode(), 0o700)")


def test_library_that_hooks_connect():
    """another library's connect() has its mutex during the first event: no deadlock"""
    guarded("assert connect(socket(), port) == 'ok'")


def test_fakeroot():
    """fakeroot-tcp's own first connect(), from a stat(), is the first event: no deadlock"""
    fakeroot, = need("fakeroot-tcp")
    for order in '"$LIBBERTH:$LD_PRELOAD"', '"$LD_PRELOAD:$LIBBERTH"':
        with tempfile.TemporaryDirectory() as folder:
            shell = f'LD_PRELOAD={order} BERTH_RECORD="$0" exec stat -c %u /'
            unharmed(subprocess.run([fakeroot, "sh", "-c", shell, folder + "/new"],
                                    env={**os.environ, "LIBBERTH": LIBBERTH}, capture_output=True,
                                    text=True, timeout=PATIENCE), "0\n")
            equal(outcomes(log_of(folder + "/new")), ["ok"], f"events, {order}")


def cancelled(kind):
    """A thread with a pending cancellation has the first event, in such a file system."""
    with room(kind) as place:
        unharmed(preloaded([f"{PROGRAMS}/cancelled"], BERTH_RECORD=place + "/new"), "returned\n")
        equal(outcomes(log_of(place + "/new")), ["ok"], "events")


def test_cancelled():
    """a thread that is to be cancelled returns from its first bind(), on a tmpfs"""
    cancelled("tmpfs")


def test_cancelled_writing():
    """... and on a ramfs, which cannot allocate"""
    cancelled("ramfs")


def race(how):
    """Two first events at once, where there is room for one recording: both are recorded."""
    for _ in range(30):
        with room(options="size=2m") as place:
            run = preloaded([f"{PROGRAMS}/racing", how], BERTH_RECORD=place)
            equal((run.returncode, run.stderr), (0, ""), "status and stderr")
            row, = stats_of(place)
            equal((row["calls"]["bind"], row["events"]["written"]), 2 * (int(run.stdout),), "calls")
            equal(len(os.listdir(place)), 1, "recordings")


def test_race_of_threads():
    """two threads race for the first event, with room for one recording: no event is lost"""
    race("threads")


def test_race_with_handler():
    """... a signal handler and the program do"""
    race("signal")


def injected(call, error, **variables):
    """A connection of a program for which that system call fails."""
    strace, = need("strace")
    with Server() as server:
        return preloaded(script("assert connect(socket(), port) == 'ok'", server.port), strace,
                         "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:error={error}",
                         **variables)


def test_no_statx():
    """where statx() is unknown or forbidden: recorded, by default too"""
    for error in "ENOSYS", "EPERM":
        with tempfile.TemporaryDirectory() as folder:
            unharmed(injected("statx", error, BERTH_RECORD=folder + "/new"))
            unharmed(injected("statx", error, XDG_RUNTIME_DIR=folder))
            equal(outcomes(log_of(folder + "/new", folder + "/berth")), ["ok", "ok"], error)


def test_too_many_events_by_default():
    """more BERTH_EVENTS than the default directory may hold: one line"""
    with room(options="size=8m") as place, Server() as server:
        run = preloaded(script("connect(socket(), port), connect(socket(), port)", server.port),
                        XDG_RUNTIME_DIR=place, BERTH_EVENTS=1 << 24)
        equal((run.returncode, run.stderr),
              (0, "berth: BERTH_EVENTS: a recording of that size: EDQUOT\n"), "status and stderr")


# --- lines -----------------------------------------------------------------------------------


@contextlib.contextmanager
def session(code, *arguments):
    """A session leader of this code on a terminal of its own (descriptor 0): it, the terminal."""
    terminal, slave = pty.openpty()
    def take_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    with started(script(code, *arguments), stdin=slave, preexec_fn=take_terminal) as process:
        os.close(slave)
        try:
            yield process, terminal
        finally:
            os.close(terminal)


# Starts a command in a group of its own, in the background, on the terminal.
IN_BACKGROUND = """
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
attributes = termios.tcgetattr(0)
attributes[3] |= termios.TOSTOP
termios.tcsetattr(0, termios.TCSANOW, attributes)
def default():
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
def status_of(command):
    child = subprocess.Popen(command, stderr=0, preexec_fn=default)
    status = os.waitpid(child.pid, os.WUNTRACED)[1]
    if os.WIFSTOPPED(status):
        child.kill()
        return 'stopped'
    return os.waitstatus_to_exitcode(status)
"""


def test_tostop():
    """BERTH_LOG=stderr in the background of a terminal with tostop stops no program"""
    with Server() as server, session(IN_BACKGROUND + """
bare = [sys.executable, '-c', 'import os; os.write(2, b"?")']
os.environ.update(BERTH_RECORD='off', BERTH_LOG='stderr')
connecting = ['env', 'LD_PRELOAD=' + sys.argv[2], sys.executable, '-c',
              'from socket import *; socket().connect(("127.0.0.1", %d))' % port]
print([status_of(bare), status_of(connecting)])
""", server.port, LIBBERTH) as (process, _):
        said, complaint = process.communicate()
    equal((said, complaint), ("['stopped', 0]\n", ""), "a write of its own, and ours")


@contextlib.contextmanager
def full_pipe(path=None):
    """The two ends of a pipe, or FIFO, that takes no byte more."""
    if path:
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(path, os.O_WRONLY)
    else:
        reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    try:
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


def text_in(reader):
    os.set_blocking(reader, False)
    text = b""
    with contextlib.suppress(BlockingIOError):
        while more := os.read(reader, 65536):
            text += more
    return text.decode()


def logs(server, reader, writer, where, *before):
    """What the pipe holds after a connection with BERTH_LOG=where."""
    command = [*before, "env", "LD_PRELOAD=" + LIBBERTH, "BERTH_RECORD=off", "BERTH_LOG=" + where,
               *script("assert connect(socket(), port) == 'ok'", server.port)]
    equal(subprocess.run(command, stderr=writer, timeout=PATIENCE).returncode, 0, "exit status")
    return text_in(reader)


def drops_lines(*before):
    """A full pipe as stderr, and a full FIFO, delay nobody; afterwards lines are written."""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        for path in None, folder + "/fifo":
            with full_pipe(path) as (reader, writer):
                where = path or "stderr"
                equal(set(logs(server, reader, writer, where, *before)), {"x"}, "in the full pipe")
                line, = logs(server, reader, writer, where, *before).splitlines()
                assert " connect tcp " in line, line


def test_full_pipe():
    """BERTH_LOG into a full pipe: the line is dropped, the program goes on"""
    drops_lines()


def test_full_pipe_of_old():
    """... where pwritev2() takes no flags for a pipe"""
    strace, = need("strace")
    drops_lines(strace, "-f", "-qq", "-o", "/dev/null", "-e", "inject=pwritev2:error=EOPNOTSUPP")


# --- states ----------------------------------------------------------------------------------


@contextlib.contextmanager
def preloaded_on(command):
    """A program that goes on, with the variables alone, and where it is recorded."""
    with tempfile.TemporaryDirectory() as folder:
        place = folder + "/new"
        with started(command, env={**os.environ, "LD_PRELOAD": LIBBERTH,
                                   "BERTH_RECORD": place}) as process:
            yield process, place


def test_daemon():
    """daemon(): the parent exited, the child has a row of its own and runs"""
    with Server() as server, preloaded_on(script("""
            connect(socket(), port)
            assert libc.daemon(1, 1) == 0
            connect(socket(), port)
            print(os.getpid(), flush=True)
            sys.stdin.read()""", server.port)) as (process, place):
        child = int(process.stdout.readline())
        process.wait()
        rows = sorted((row["process.pid"], row["berth.state"]) for row in stats_of(place))
        equal(rows, sorted([(process.pid, "exited"), (child, "running")]), "states")
        process.communicate()
        wait_for(lambda: states(place) == ["exited", "exited"])


def test_main_thread_ended():
    """a process whose main thread ended and another lives is running, then exited"""
    with preloaded_on([f"{PROGRAMS}/leaving"]) as (process, place):
        def stat():
            with open(f"/proc/{process.pid}/stat") as f:
                return f.read().rpartition(") ")[2][0]
        wait_for(lambda: stat() == "Z")
        equal(states(place), ["running"], "state")
        process.communicate()
        equal((process.returncode, states(place)), (0, ["exited"]), "afterwards")


# --- one attempt, one event ------------------------------------------------------------------


def test_vfork_between():
    """a connect that completes after a vfork child closed the descriptor in its copy: one event"""
    with Server() as server:
        events, said = observe("""
            s = socket()
            s.setblocking(False)
            said = [s.connect_ex(to)]
            subprocess.run(['true'], check=True)
            select.select([], [s], [])
            said.append(s.connect_ex(to))
            print([errno.errorcode.get(e, e) for e in said])""", server.port)
    equal((said, outcomes(events)), (["EINPROGRESS", 0], ["in_progress"]), "outcomes")


def test_interrupted_twice():
    """a connect that is interrupted twice and then made: one event"""
    with full_listener() as listener:
        events, said = observe("""
            listener, s = socket(fileno=int(sys.argv[2])), socket()
            signal.signal(signal.SIGALRM, lambda *_: None)
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            said = [connect(s, port), connect(s, port)]
            signal.setitimer(signal.ITIMER_REAL, 0)
            listener.accept()
            said.append(connect(s, port))
            print(said, ',', port_of(s))""", listener.getsockname()[1], listener.fileno(),
                               pass_fds=[listener.fileno()])
    equal(said[0], ["EINTR", "EINTR", "ok"], "what connect() said")
    equal(summary(events), [("connect", "EINTR", said[1])], "events")


def test_fast_open_in_progress():
    """MSG_FASTOPEN that is in progress, and again: one event, and none for what connect() says"""
    sysctl("ipv4.tcp_fastopen", "1")
    for connection in Server(), silent_port():
        with connection as server:
            events, said = observe("""
                s = socket()
                s.setblocking(False)
                send = lambda: outcome(libc.sendto(s.fileno(), b'?', 1, MSG_FASTOPEN,
                                                   sockaddr(port), 16))
                first, second = send(), send()
                connect(s, port)
                print([first, port_of(s)])""", getattr(server, "port", server))
        equal(said[0], "EINPROGRESS", "the first")
        equal(summary(events), [("sendto", "in_progress", said[1])], "events")


def test_attempt_after_shutdown():
    """a connect in progress that is shut down, and an attempt that finds no port: two events"""
    with silent_port() as silent, Server() as server:
        port_range(7500, 7500)
        events, said = observe("""
            kept, s = socket(), socket()
            kept.connect(to)
            s.setblocking(False)
            said = [connect(s, int(sys.argv[2]))]
            libc.shutdown(s.fileno(), SHUT_RDWR)
            print(said + [connect(s, port)])""", server.port, silent)
    equal(said, ["EINPROGRESS", "EADDRNOTAVAIL"], "what connect() said")
    equal(summary(events), [("connect", "ok", 7500), ("connect", "in_progress", 7500),
                            ("connect", "EADDRNOTAVAIL", 0)], "events")


def test_listen_after_refused():
    """listen() after a refused connect: an event with the port that it has"""
    with closed_port() as port:
        events, said = observe("""
            s = socket()
            said = [connect(s, port)]
            s.listen()
            print(said + [port_of(s)])""", port)
    equal(said[0], "ECONNREFUSED", "what connect() said")
    assert said[1] > 0
    equal(summary(events[1:]), [("listen", "ok", said[1])], "events after the connect")


def bound_elsewhere(bind):
    """Events of sockets that are bound by `bind`, and then send, or listen, by their own."""
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        events, _ = observe(f"""
            any = ('127.0.0.1', 0)
            for kind in SOCK_DGRAM, SOCK_STREAM:
                s = socket(type=kind)
                {bind}
                if kind == SOCK_STREAM:
                    s.listen()
                else:
                    s.sendto(b'?', to), s.sendmsg([b'?'], [], 0, to)""", udp.getsockname()[1])
    return calls(events)


def test_bound_by_a_copy():
    """bind by a dup(), then send and listen by the original: they are no events"""
    equal(bound_elsewhere("socket(fileno=os.dup(s.fileno())).bind(any)"), ["bind", "bind"])


def test_bound_by_a_child():
    """bind in a forked child, then send and listen in the parent: they are no events"""
    equal(bound_elsewhere("""
                if not os.fork():
                    s.bind(any)
                    os._exit(0)
                os.wait()"""), ["bind", "bind"])


def test_inet_address_for_unix():
    """connect() to an AF_INET address on AF_UNIX sockets, a socketpair()'s too: no event"""
    events, said = observe("""
        made = [s for kind in (SOCK_STREAM, SOCK_DGRAM) for s in socketpair(AF_UNIX, kind)]
        print([connect(s, port) for s in made + [socket(AF_UNIX)]])""", 9)
    assert "ok" not in said, said
    equal(events, [], "events")


def test_raw():
    """a raw ICMP socket's connect: no port"""
    events, _ = observe("""
        s = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)
        s.connect(to)""", 0)
    equal(summary(events), [("connect", "ok", 0)], "events")


# --- jobs ------------------------------------------------------------------------------------

# A shell, as far as a job is concerned: runs a command in the foreground, tells what becomes of
# it, continues it.
SHELL = """
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
def foreground():
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgid(0))
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
job = subprocess.Popen(sys.argv[1:], preexec_fn=foreground)
while True:
    status = os.waitpid(job.pid, os.WUNTRACED)[1]
    if not os.WIFSTOPPED(status):
        break
    print('stopped', flush=True)
    os.killpg(job.pid, signal.SIGCONT)
print(os.waitstatus_to_exitcode(status), flush=True)
"""


def job(disposition):
    """What a shell sees of `berth run` when ^Z and then a line are typed."""
    command = program(f"""
        signal.signal(signal.SIGTSTP, signal.{disposition})
        print('ready', flush=True)
        sys.exit(len(sys.stdin.readline()))""")
    with session(SHELL, BERTH, "run", "-q", "--", *command) as (process, terminal):
        equal(process.stdout.readline(), "ready\n", "COMMAND's word")
        os.write(terminal, b"\x1a")
        if disposition == "SIG_DFL":
            equal(process.stdout.readline(), "stopped\n", "the job")
        os.write(terminal, b"four\n")
        return process.communicate()


def test_suspended():
    """^Z stops the job, and it goes on where it is continued"""
    equal(job("SIG_DFL"), ("5\n", ""), "after ^Z")


def test_suspension_ignored():
    """^Z where COMMAND ignores it: berth is not stopped either"""
    equal(job("SIG_IGN"), ("5\n", ""), "after ^Z")


def test_orphans():
    """as PID 1 berth buries orphans while COMMAND runs"""
    init = ["unshare", "-p", "--fork", "--mount-proc", BERTH, "run", "-q", "--"]
    unharmed(subprocess.run([*init, *script("""
        for _ in range(20):
            if not os.fork():
                os.fork()
                os._exit(0)
            os.wait()
        deadline = time.monotonic() + 30
        # berth and its own three (cli/relay.c, cli/beside.c), and this one.
        while len([n for n in os.listdir('/proc') if n.isdigit()]) > 5:
            assert time.monotonic() < deadline, os.listdir('/proc')
            time.sleep(0.01)""")], capture_output=True, text=True))


def core_of(folder, *command):
    """Whether the command, killed, left a core file by itself: its own wait status says so."""
    shell = 'cd "$0" && ulimit -c unlimited 2>/dev/null || exit 125; exec "$@"'
    pid = os.posix_spawnp("sh", ["sh", "-c", shell, folder, *command], os.environ)
    status = os.waitpid(pid, 0)[1]
    if not os.WIFSIGNALED(status):
        raise Skip("RLIMIT_CORE cannot be raised")
    return os.WCOREDUMP(status)


def test_one_core():
    """COMMAND killed with a core file: berth dies likewise and leaves none"""
    with open("/proc/sys/kernel/core_pattern") as f:
        pattern = f.read().strip()
    if not pattern or "/" in pattern or pattern.startswith("|"):
        raise Skip("core files go elsewhere")
    for name in "QUIT", "SEGV":
        killed = ["sh", "-c", f"kill -{name} $$"]
        with tempfile.TemporaryDirectory() as folder:
            if not core_of(folder, *killed) or not os.listdir(folder):
                raise Skip("no core files here")
        with tempfile.TemporaryDirectory() as folder:
            equal(core_of(folder, BERTH, "run", "-q", "--", *killed), False, f"berth's, {name}")
            equal(len(os.listdir(folder)), 1, f"COMMAND's, {name}")


# --- execl() and its kin ---------------------------------------------------------------------


def test_execl():
    """execl(), execlp() and execle() hand on 0 to 20 arguments, and execle() the environment"""
    unharmed(preloaded(script("""
        def output(function, *arguments):
            reader, writer = os.pipe()
            if not os.fork():
                os.dup2(writer, 1)
                function(*arguments)
                os._exit(9)
            os.close(writer)
            with open(reader, 'rb') as f:
                said = f.read()
            assert os.wait()[1] == 0, arguments
            return said
        null, shell = ctypes.c_void_p(), b'[ $# -eq 0 ] || printf "%s," "$@"; echo $THERE'
        there = (ctypes.c_char_p * 2)(b'THERE=yes', None)
        for n in range(21):
            words = [b'%d' % i for i in range(n)]
            said = b''.join(w + b',' for w in words)
            last = [b'sh', b'-c', shell, b'sh', *words, null]
            assert output(libc.execl, b'/bin/sh', *last) == said + b'\\n', n
            assert output(libc.execlp, b'sh', *last) == said + b'\\n', n
            assert output(libc.execle, b'/bin/sh', *last, there) == said + b'yes\\n', n
        """), BERTH_RECORD="off"))


def test_exec_seen_once():
    """another library sees each execve() and its kin once, before or behind ours"""
    execs = built("execs")
    before, behind = both_orders(execs)
    for libraries in before, behind:
        run = preloaded(script("""
            path, null = sys.argv[1].encode(), ctypes.c_void_p()
            words = (ctypes.c_char_p * 2)(b'true', None)
            environment = (ctypes.c_char_p * 1)(None)
            for function, arguments in ((libc.execl, (path, b'true', null)),
                                        (libc.execlp, (b'true', b'true', null)),
                                        (libc.execle, (path, b'true', null, environment)),
                                        (libc.execv, (path, words)),
                                        (libc.execvp, (b'true', words)),
                                        (libc.execve, (path, words, environment)),
                                        (libc.execvpe, (b'true', words, environment))):
                sys.stderr.flush()
                if not os.fork():
                    function(*arguments)
                    os._exit(9)
                assert os.wait()[1] == 0, function""", *need("true")),
                        libraries=libraries, BERTH_RECORD="off")
        equal(run.returncode, 0, run.stderr)
        equal(len(run.stderr.splitlines()), 7, f"calls seen: {run.stderr!r}")


# --- what it is told and what it keeps -------------------------------------------------------


def test_relative_record():
    """a relative BERTH_RECORD stays where it was when the program changes its folder"""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        os.mkdir(folder + "/other")
        unharmed(preloaded(script("os.chdir('other'); connect(socket(), port)", server.port),
                           "env", "-C", folder, BERTH_RECORD="here/"))
        equal((sorted(os.listdir(folder)), os.listdir(folder + "/other")), (["here", "other"], []))
        equal(outcomes(log_of(folder + "/here")), ["ok"], "events")


def test_duplicate_variables():
    """of two variables of one name the first counts, as for getenv()"""
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        code = script("connect(socket(), port)")[-1]
        unharmed(subprocess.run(script("""
            words = [sys.executable.encode(), b'-c', sys.argv[3].encode(), sys.argv[1].encode()]
            names = [b'LD_PRELOAD=' + sys.argv[4].encode()]
            names += [b'BERTH_RECORD=' + sys.argv[2].encode() + end for end in (b'/a', b'/b')]
            array = lambda of: (ctypes.c_char_p * (len(of) + 1))(*of, None)
            libc.execve(words[0], array(words), array(names))""", server.port, folder, code,
                                       LIBBERTH), capture_output=True, text=True))
        equal(os.listdir(folder), ["a"], "recordings")


def test_address_unmapped():
    """a sockaddr that another thread unmaps while its connect() waits: no crash"""
    with full_listener() as listener:
        _, said = observe("""
            listener, s, fd = socket(fileno=int(sys.argv[2])), socket(), None
            libc.mmap.restype = ctypes.c_void_p
            libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                                  ctypes.c_int, ctypes.c_long]
            page = libc.mmap(None, 4096, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
            ctypes.memmove(page, sockaddr(port), 16)
            def unmap():
                while s.getsockopt(IPPROTO_TCP, TCP_INFO, 1) != b'\\x02': # TCP_SYN_SENT
                    time.sleep(0.001)
                time.sleep(0.02)
                libc.munmap(ctypes.c_void_p(page), 4096)
                listener.accept()
            thread = threading.Thread(target=unmap)
            thread.start()
            result = libc.connect(s.fileno(), ctypes.c_void_p(page), 16)
            thread.join()
            print(result)""", listener.getsockname()[1], listener.fileno(),
                          pass_fds=[listener.fileno()])
    equal(said, 0, "what connect() said")


def test_closing_all():
    """close() of all numbers up to 65535 makes a daemon no larger"""
    measured = script("""
        def size():
            with open('/proc/self/status') as f:
                return next(int(line.split()[1]) for line in f if line.startswith('RssAnon'))
        def close_all():
            for number in range(3, 65536):
                libc.close(number)
        for number in range(3, 100):
            libc.close(number)
        size()
        before = size()
        close_all()
        print(size() - before)""")
    bare, shim = (int(preloaded(measured, libraries=libraries, BERTH_RECORD="off").stdout)
                  for libraries in ((), (LIBBERTH,)))
    assert shim - bare <= 100, f"{shim} KiB more with the shim, {bare} without"


if __name__ == "__main__":
    berthtest.main()
