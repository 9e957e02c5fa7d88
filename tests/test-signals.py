# SPDX-License-Identifier: MIT
"""berth run and signals: COMMAND gets what it would get if berth were not there, to berth alone, to the
process group, to each process of a cgroup, as process 1, and while nobody reads berth's output."""
import contextlib
import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios

import berthtest
from berthtest import BERTH, PATIENCE, closed_port, equal, need, program, started, wait_for

# All but what no process can be told (KILL, STOP), glibc's own two, and SIGCHLD.
RELAYED = sorted(int(n) for n in signal.valid_signals()
                 if n not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD))

# Says which signals it gets, and ends with its stdin. `what` sees the number first.
SAYS = """
signals = [n for n in signal.valid_signals() if n not in (9, 19, 17)]
def says(number, _):
    os.write(1, b'%d\\n' % number)
for n in signals:
    signal.signal(n, says)
os.write(1, b'%d\\n' % os.getpid())
while os.read(0, 4096):
    pass
"""
END = int(signal.SIGRTMAX) - 1  # sent last, and asked of no test


@contextlib.contextmanager
def listening(*before, first="", **popen):
    """Of a COMMAND that does what is said first and then says its signals: the process that was started,
    COMMAND's pid, a function that sends the last signal and returns what was said before it."""
    with started([*before, *program(first + SAYS)], **popen) as process:
        command = int(process.stdout.readline())

        def said():
            os.kill(command, END)
            got = []
            while (number := int(process.stdout.readline())) != END:
                got.append(number)
            return got
        yield process, command, said


RUN = [BERTH, "run", "-q", "--"]


def got(process, count):
    return [int(process.stdout.readline()) for _ in range(count)]


# --- to whom they are sent -------------------------------------------------------------------


def test_to_berth_alone():
    """each signal sent to berth alone reaches COMMAND, once"""
    with listening(*RUN) as (process, _, said):
        for number in RELAYED:
            process.send_signal(number)
            equal(got(process, 1), [number], "signal")
        equal(said(), [], "more")


def test_order():
    """signals sent to berth while it cannot run: each once; the real-time ones all, in order, with their
    values and senders"""
    code = """
        awaited = [n for n in signal.valid_signals() if n not in (9, 17, 18, 19)]
        signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
        print(os.getpid(), flush=True)
        while True:
            info = signal.sigwaitinfo(awaited)
            print(info.si_signo, info.si_code, info.si_pid, flush=True)"""
    low = int(signal.SIGRTMIN)
    send = "import ctypes, sys; ctypes.CDLL(None).sigqueue(*map(int, sys.argv[1:3]), ctypes.c_void_p(7))"
    with started([*RUN, *program(code)]) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        sent = []
        for number in signal.SIGINT, low + 4, low + 3, low + 3, low + 3, signal.SIGINT, signal.SIGQUIT:
            sender = subprocess.Popen([sys.executable, "-c", send, str(process.pid), str(int(number))])
            sender.wait()
            sent.append((int(number), -1, sender.pid))
        process.send_signal(signal.SIGCONT)
        found = [tuple(map(int, process.stdout.readline().split())) for _ in range(6)]
        equal(found, [sent[0], sent[6], *sent[2:5], sent[1]], "number, SI_QUEUE and sender")
        process.send_signal(signal.SIGUSR1)
        equal(process.stdout.readline().split()[:2], [str(int(signal.SIGUSR1)), "0"], "the next")


def test_to_the_group():
    """each signal sent to the process group reaches COMMAND once, as without berth"""
    for before in [], RUN:
        with listening(*before) as (process, _, said):
            for number in RELAYED:
                os.killpg(process.pid, number)
                equal(got(process, 1), [number], "signal")
                equal(said(), [], f"more after {number}")


def test_to_one_and_then_the_group():
    """sent to berth and at once to its group, as timeout(1) does: once"""
    with listening(*RUN) as (process, command, said):
        for number in signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1:
            os.kill(process.pid, number)
            os.killpg(process.pid, number)
            equal(got(process, 1), [number], "signal")
            os.kill(process.pid, signal.SIGUSR2)  # passed on: what came before was decided
            equal(got(process, 1), [signal.SIGUSR2], "the next")
        equal(said(), [], "more")


def group_of(pid):
    """The processes of its process group, the oldest first."""
    members = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.getpgid(int(entry)) == pid:
                members.append(int(entry))
    return sorted(members)


def test_to_each_process():
    """sent to each process, one after the other, from either end, as systemd does to a cgroup: once"""
    for backwards in False, True:
        with listening(*RUN) as (process, _, said):
            for number in signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCONT, signal.SIGQUIT:
                for pid in sorted(group_of(process.pid), reverse=backwards):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                equal(got(process, 1), [number], "signal")
                os.kill(process.pid, signal.SIGUSR2)
                equal(got(process, 1), [signal.SIGUSR2], "the next")
            equal(said(), [], "more")


LEAVES = ["os.setsid()", "os.setpgid(0, 0)"]  # berth's process group, which COMMAND did not lead


def below(pid):
    """The process and all that it has started, the oldest first."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError), open(f"/proc/{parent}/task/{parent}/children") as f:
            found += map(int, f.read().split())
    return sorted(found)


def test_left_the_group():
    """COMMAND in a group or session of its own: what is sent to the group of berth, in its place, to all
    processes, or to berth alone reaches it once"""
    def to_all(pid, number):
        for one in below(pid):
            with contextlib.suppress(ProcessLookupError):  # a witness that was renewed
                os.kill(one, number)
    for leaves in LEAVES:
        with listening(*RUN, first=leaves) as (process, _, said):
            for number in RELAYED:
                os.killpg(process.pid, number)
                equal(got(process, 1), [number], leaves)
            for number in signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGCONT, signal.SIGQUIT:
                to_all(process.pid, number)
                equal(got(process, 1), [number], leaves)
                os.kill(process.pid, signal.SIGUSR2)
                equal(got(process, 1), [signal.SIGUSR2], "the next, to berth alone")
            equal(said(), [], f"more, {leaves}")


def test_left_with_its_group():
    """... and so does what is sent to the group reach the group that it leads"""
    with listening(*RUN, first="os.setpgid(0, 0)\nos.fork() and signal.pause()") as (process, *_):
        os.killpg(process.pid, signal.SIGUSR1)
        equal(got(process, 1), [signal.SIGUSR1], "its child, which says its signals")
        equal(process.wait(), -signal.SIGUSR1)


def test_left_by_another():
    """COMMAND has left a group that berth does not lead: as without berth it gets nothing that is sent to
    the group, but from timeout(1) and its like, which send it to COMMAND as well"""
    group = "exec 3<&0; \"$@\" <&3 & wait"
    for leaves in LEAVES:
        with listening("sh", "-c", group, "sh", *RUN, first=leaves) as (process, command, said):
            with open(f"/proc/{command}/stat") as f:
                berth = int(f.read().rpartition(") ")[2].split()[1])
            os.killpg(process.pid, signal.SIGCONT)
            for number in signal.SIGUSR1, signal.SIGUSR2:
                os.kill(berth, number)
            equal(got(process, 2), [signal.SIGUSR1, signal.SIGUSR2], "to berth alone")
            equal(said(), [], "to the group")
    seconds = PATIENCE / 60  # by which it listens
    for leaves in LEAVES:
        with listening("timeout", "-s", "USR1", seconds, *RUN, first=leaves) as (process, *_):
            equal(got(process, 1), [signal.SIGUSR1], f"of timeout, {leaves}")


def test_stopsignals():
    """the STOPSIGNAL of nginx, php-fpm, postgres, httpd and systemd: COMMAND dies of it, and so does
    berth"""
    for number in (signal.SIGQUIT, signal.SIGINT, signal.SIGTERM, signal.SIGRTMIN + 3, signal.SIGUSR1,
                   signal.SIGALRM, signal.SIGPIPE, signal.SIGSEGV, signal.SIGXCPU):
        with started([*RUN, "sh", "-c", "echo; exec sleep 1000"]) as process:
            process.stdout.readline()
            process.send_signal(number)
            equal(process.wait(), -number, "exit status")


def test_ignored():
    """what COMMAND ignores does not end it: WINCH and CHLD by default, HUP and INT after nohup"""
    with started([*RUN, "sh", "-c", "trap '' HUP INT QUIT; echo; exec cat"]) as process:
        process.stdout.readline()
        for number in (signal.SIGWINCH, signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT,
                       signal.SIGURG):
            process.send_signal(number)
        process.stdin.write("still\n")
        process.stdin.flush()
        equal(process.stdout.readline(), "still\n", "its word")
        equal((process.communicate()[0], process.returncode), ("", 0), "end")


def test_timer_of_before():
    """a timer that was set before berth was executed ends COMMAND, as `perl -e alarm` means it"""
    code = "signal.setitimer(signal.ITIMER_REAL, 0.3); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(program(code, *RUN, "sleep", "1000"))
    equal(done.returncode, -signal.SIGALRM, "exit status")


# --- process 1 -------------------------------------------------------------------------------

INIT = ["unshare", "-p", "--fork", "--mount-proc", "--kill-child=KILL"]


def child_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return int(f.read().split()[0])


def test_pid_1():
    """as process 1: each signal reaches COMMAND once, sent to berth alone or to each of the group"""
    need("unshare")
    with listening(*INIT, *RUN) as (process, _, _):
        berth = child_of(process.pid)
        for number in RELAYED:
            os.kill(berth, number)
            equal(got(process, 1), [number], "signal to berth")
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGRTMIN + 3, signal.SIGUSR1:
            for pid in sorted(set(group_of(process.pid)) - {process.pid}):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            equal(got(process, 1), [number], "signal to each")
            os.kill(berth, signal.SIGUSR2)
            equal(got(process, 1), [signal.SIGUSR2], "the next")


def test_pid_1_default():
    """as process 1: a signal that COMMAND does not heed ends it, and berth with 128 + its number"""
    need("unshare")
    for number in signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGRTMIN + 3:
        with started([*INIT, *RUN, "sh", "-c", "echo; exec sleep 1000"]) as process:
            process.stdout.readline()
            os.kill(child_of(process.pid), number)
            equal(process.wait(), 128 + number, "exit status")


def test_pid_1_leaves_nothing():
    """as process 1: what others still use goes with them, without a word"""
    need("unshare")
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(5):
            done = subprocess.run([*INIT, *RUN, "sh", "-c", "sleep 1000 & exit 3"], text=True,
                                  capture_output=True, env={**os.environ, "XDG_RUNTIME_DIR": folder})
            equal((done.returncode, done.stderr), (3, ""))
            equal(os.listdir(f"{folder}/berth"), [], "files that stay")


def test_pid_1_orphans():
    """as process 1 it buries orphans, and goes on when COMMAND is stopped and continued"""
    need("unshare")
    orphans = program("""
        for _ in range(20):
            if not os.fork():
                os.spawnlp(os.P_NOWAIT, 'true', 'true')
                os._exit(0)
            os.wait()
        def zombies():
            found = 0
            for pid in filter(str.isdigit, os.listdir('/proc')):
                try:
                    found += open(f'/proc/{pid}/stat').read().rpartition(') ')[2][0] == 'Z'
                except OSError:
                    pass
            return found
        while zombies():
            pass
        print(os.getpid(), flush=True)
        for line in sys.stdin:
            print('on', flush=True)""")
    with started([*INIT, *RUN, *orphans]) as process:
        process.stdout.readline()
        command = child_of(child_of(process.pid))
        os.kill(command, signal.SIGSTOP)
        wait_for(lambda: state(command) == "T")
        os.kill(command, signal.SIGCONT)
        print("go", file=process.stdin, flush=True)
        equal(process.stdout.readline(), "on\n", "its word")
        equal((process.communicate()[0], process.returncode), ("", 0), "end")


# --- job control -----------------------------------------------------------------------------


def state(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rpartition(") ")[2][0]


@contextlib.contextmanager
def in_this_session(command):
    """A process group that the kernel lets be stopped: its parent is in another one of its session."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               preexec_fn=os.setpgrp)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_stopped_by_the_same():
    """berth stops by the signal that stopped COMMAND: its parent is told so"""
    with in_this_session([*RUN, "sh", "-c", "echo $$; exec sleep 1000"]) as process:
        command = int(process.stdout.readline())
        for number in signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGSTOP:
            os.kill(command, number)
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            equal((os.WIFSTOPPED(status), os.WSTOPSIG(status)), (True, number), "what stopped berth")
            os.kill(process.pid, signal.SIGCONT)
            wait_for(lambda: state(process.pid) == "S" and state(command) == "S")


def test_stop_to_berth_alone():
    """TSTP, TTIN, TTOU and CONT, to berth alone or the group: both stop, and go on; COMMAND is told once"""
    code = """
        signal.signal(signal.SIGCONT, lambda *_: os.write(1, b'continued\\n'))
        os.write(1, b'%d\\n' % os.getpid())
        while os.read(0, 4096):
            pass"""
    with in_this_session([*RUN, *program(code)]) as process:
        command = int(process.stdout.readline())
        for number in signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU:
            for send in os.kill, os.killpg:
                send(process.pid, number)
                wait_for(lambda: state(process.pid) == state(command) == "T")
                send(process.pid, signal.SIGCONT)
                equal(process.stdout.readline(), "continued\n", "COMMAND's word")
                wait_for(lambda: state(process.pid) == "S")
        equal((process.communicate()[0], process.returncode), ("", 0), "once each")


class Terminal:
    """A shell with job control on a terminal."""

    def __init__(self):
        bash, = need("bash")
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["PS1"] = "> "
            os.execv(bash, [bash, "--norc", "--noprofile", "-i"])
        self.text = ""

    def type(self, text):
        os.write(self.fd, text.encode())

    def shows(self, pattern):
        """Waits until it shows that, and takes it off."""
        while not (found := re.search(pattern, self.text)):
            self.text += os.read(self.fd, 4096).decode(errors="replace")
        self.text = self.text[found.end():]
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def test_terminal():
    """on a terminal: ^Z stops, fg and bg continue, ^C and ^\\ reach COMMAND once, its size changes once"""
    code = """
        import fcntl, termios
        for name in 'INT', 'QUIT', 'WINCH', 'CONT':
            signal.signal(signal.Signals['SIG' + name],
                          lambda n, _: os.write(1, b'<%s>' % signal.Signals(n).name.encode()))
        os.write(1, b'<begun %d %d>' % (os.getpid(), os.getppid()))
        while os.read(0, 1) != b'q':
            pass"""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as f, Terminal() as t:
        f.write(program(code)[2])
        f.flush()
        t.type(f"stty -echo\n{BERTH} run -q -- {sys.executable} {f.name}\n")
        command, berth = map(int, t.shows(r"<begun (\d+) (\d+)>").groups())
        for key, name in ("\x03", "INT"), ("\x1c", "QUIT"):
            t.type(key)
            t.shows(f"<SIG{name}>")
        for _ in range(3):
            t.type("\x1a")
            t.shows("Stopped")
            t.type("fg\n")
            t.shows("<SIGCONT>")
        t.type("\x1a")
        t.shows("Stopped")
        t.type("bg\n")
        t.shows("<SIGCONT>")
        wait_for(lambda: state(command) == state(berth) == "T")  # it reads from the background
        t.type("fg\n")
        t.shows("<SIGCONT>")
        fcntl.ioctl(t.fd, termios.TIOCSWINSZ, struct.pack("4H", 50, 100, 0, 0))
        t.shows("<SIGWINCH>")
        t.type("q\n")
        t.type("echo status=$?\n")
        t.shows("status=0")
        assert "<SIG" not in t.text, t.text


def test_terminal_of_its_own_group():
    """a COMMAND that is a shell with job control, and suspends itself: fg gives it the terminal again"""
    with Terminal() as t:
        bash, = need("bash")
        t.type(f"stty -echo\n{BERTH} run -q -- {bash} --norc --noprofile --noediting -i\n")
        t.type("name=COMMAND\necho is=$name=\n")
        t.shows("is=COMMAND=")
        for _ in range(2):
            t.type("suspend\n")
            t.shows("Stopped")
            t.type("fg\necho is=$name=\n")
            t.shows("is=COMMAND=")
        t.type("exit 3\n")
        t.type("echo status=$?\n")
        t.shows("status=3")


# --- nobody reads the output -----------------------------------------------------------------

CALLS = 3000  # more lines than a pipe holds
FAILS = """
for _ in range(int(sys.argv[2])):
    socket().connect_ex(('127.0.0.1', int(sys.argv[1])))
print(os.getpid(), flush=True)
"""


@contextlib.contextmanager
def unread(kind, folder):
    """What nobody reads: where to write, and a function that reads all of it."""
    if kind == "pipe":
        ours, theirs = os.pipe()
    elif kind == "terminal":
        ours, theirs = pty.openpty()
    elif kind == "socket":
        ours, theirs = (s.detach() for s in socket.socketpair())
    else:
        os.mkfifo(folder + "/fifo")
        ours = os.open(folder + "/fifo", os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(ours, True)
        theirs = os.open(folder + "/fifo", os.O_WRONLY)

    def read():
        text = b""
        with contextlib.suppress(OSError):
            while more := os.read(ours, 65536):
                text += more
        return text.decode(errors="replace")

    def leave():
        os.close(theirs)
    yield theirs, leave, read
    os.close(ours)


OUTPUTS = ("pipe", []), ("terminal", []), ("socket", []), ("pipe", ["--json"]), ("pipe", ["--why"]), \
    ("fifo", ["-o", "{}/fifo"]), ("fifo", ["-o", "{}/fifo", "--json", "-C"])


@contextlib.contextmanager
def stalled(kind, options, after, *arguments, events=65536):
    """A berth run whose output nobody reads, once COMMAND has made its calls, and what reads it."""
    with closed_port() as closed, tempfile.TemporaryDirectory() as folder, \
            unread(kind, folder) as (output, leave, read):
        words = [word.format(folder) for word in options]
        with open(folder + "/stderr", "w+") as file:
            run = [BERTH, "run", "--events", events, "--record", folder + "/recording", *words, "--"]
            command = program(FAILS + after, closed, CALLS, *arguments)
            with started([*run, *command], stderr=file if "-o" in options else output) as process:
                leave()
                command = int(process.stdout.readline())
                yield process, command, read, lambda: (file.seek(0), file.read())[1]


def test_stalled_signals():
    """nobody reads the lines: signals reach COMMAND all the same, and berth dies of what it died of"""
    for kind, options in OUTPUTS:
        with stalled(kind, options, SAYS) as (process, command, _, _):
            equal(int(process.stdout.readline()), command, "pid")
            for number in signal.SIGHUP, signal.SIGINT, signal.SIGRTMIN + 3, signal.SIGUSR1:
                process.send_signal(number)
                equal(got(process, 1), [number], f"{kind} {options}")
            os.kill(command, signal.SIGKILL)
            equal(process.wait(), -signal.SIGKILL, f"status, {kind} {options}")


def test_stalled_end():
    """... COMMAND ends: so does berth, with its status, and leaves no process and no recording of its own"""
    for kind, options in OUTPUTS[:2] + OUTPUTS[-2:]:
        with stalled(kind, options, "sys.exit(7)") as (process, _, read, stderr):
            equal(process.wait(), 7, f"status, {kind} {options}")
            equal(group_of(process.pid), [], "processes")
            said = stderr()
            lines = read()
            if "-o" in options:
                shown = lines.count("ECONNREFUSED")
                missing, = re.findall(r"berth: run: the output is not whole: .*; (\d+) events are not shown",
                                      said)
                equal(shown in (CALLS - int(missing), CALLS - int(missing) + 1), True,
                      f"{shown} shown, {missing} missing: one may be cut")


def test_stalled_then_stopped():
    """... COMMAND is stopped and continued: so is berth"""
    with stalled("pipe", [], "sys.stdin.read()") as (process, command, _, _):
        os.kill(command, signal.SIGSTOP)
        wait_for(lambda: state(process.pid) == "T")
        os.kill(command, signal.SIGCONT)
        wait_for(lambda: state(process.pid) == "S")
        equal((process.communicate()[0], process.returncode), ("", 0), "end")


def test_stalled_then_read():
    """... until the reader goes on: each event is shown, or said to be missing"""
    for events in 65536, 16:
        with stalled("pipe", [], "sys.stdin.read()", events=events) as (process, _, read, _):
            process.stdin.close()
            text = read()
            equal(process.wait(), 0, "status")
            shown = text.count(" ECONNREFUSED ")
            missing = sum(int(n) for n in re.findall(r"(\d+) events were overwritten", text))
            equal(shown + missing, CALLS, f"{shown} shown and {missing} missing of {events}")


def test_killed_while_stalled():
    """... berth is killed: its second process goes with it, and COMMAND runs on"""
    with stalled("pipe", [], "sys.stdin.read()") as (process, command, _, _):
        process.kill()
        process.wait()
        wait_for(lambda: group_of(process.pid) == [command])


if __name__ == "__main__":
    berthtest.main()
