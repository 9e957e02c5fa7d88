# SPDX-License-Identifier: MIT
"""README.md, examples/README.md and doc/: what they tell the reader to type is typed, and answers as
they say.

A document is a session at a terminal, in a network namespace and with folders of its own: each of its
```console blocks is a test, in their order, and `$` and `#` begin what is typed. Times, process ids,
durations, folders, ports above 9999 and how one was claimed may be others; `...` alone is any lines,
and at a line's end any rest.
"""
import contextlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import termios
import time

import berthtest
from berthtest import BERTH, LIBBERTH, Skip, berth, equal, need

TOP = os.environ.get("srcdir", ".")
DOCUMENTS = ("README.md", "examples/README.md", "doc/how-linux-chooses-ports.md")
WRITTEN_FOR = (6, 18)  # the kernel whose answers the documents show
PATIENCE = 250  # seconds for one command
BEHIND = 20  # seconds for what a program in the background writes, after the prompt
TOOLS = ("curl", "ip", "jq", "nc", "nft", "wrk")

# Other blocks than console: what is typed there is not typed here, and why.
NOT_TYPED = {
    "./bootstrap demo": "builds in a fresh clone; .ci/run does it",
    "./bootstrap          # in a clone": "builds and installs; tests/check-install.sh looks at what that puts where",
}


# --- what a document says --------------------------------------------------------------------


def is_whole(command):
    """Whether the shell would wait for no further line."""
    run = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
    return run.returncode == 0 and not run.stderr and not command.endswith("\\")


def commands_of(lines):
    """(command, output lines) of a console block."""
    found = []
    lines = list(lines)
    while lines:
        line = lines.pop(0)
        if line[:2] not in ("$ ", "# "):
            found[-1][1].append(line)
            continue
        command = line[2:]
        while not is_whole(command) and lines:
            command += "\n" + lines.pop(0)
        found.append((command, []))
    return found


def blocks_of(document):
    """(line number, kind, lines) of each fenced block."""
    with open(os.path.join(TOP, document), encoding="utf-8") as f:
        kind, start, lines = None, 0, []
        for number, line in enumerate(f.read().split("\n"), 1):
            if kind is not None and line == "```":
                yield start, kind, lines
                kind, lines = None, []
            elif kind is not None:
                lines.append(line)
            elif line.startswith("```"):
                kind, start = line[3:], number


# --- the same but for times, ids and ports ------------------------------------------------------

EVENT = re.compile(r"\d\d:\d\d:\d\d\.\d{6} ")
SHAPES = [(re.compile(pattern), to) for pattern, to in (
    (r"^\d\d:\d\d:\d\d\.\d{6} \d+ ", "TIME PID "),
    (r"^(\S+) \d+ (exited|unknown|running|killed)\b", r"\1 PID \2"),
    (r"\(pid \d+\)", "(pid PID)"),
    (r"=/\S*/", "=FOLDER/"),
    (r"\d+ offers? (?:was|were) refused.*", "N offers were refused"),
    (r":[1-9]\d+ >", ":N >"),
    (r"^(  candidates) .*", r"\1"),
    (r"\b\d[\d,.]* ?(us|ms|s)\b", "DURATION"),
    (r"\bvia=(range|bind)\b", "via=EITHER"),
    (r"\btries([= ])\d+", r"tries\1N"),
    (r"\babout [\d,]+", "about N"),
    (r"\b\d{1,3}(,\d{3})+\b|\b\d{5,}\b", "N"),
)]


def shape(line):
    for pattern, to in SHAPES:
        line = pattern.sub(to, line)
    return line.rstrip()


def fits(expected, output):
    """Whether these lines are the expected ones, in their order."""
    parts = []
    for line in expected:
        if line == "...":
            parts.append(r"(?:.*\n)*?")
        elif line.endswith("..."):
            parts.append(re.escape(shape(line[:-3])) + r".*\n")
        else:
            parts.append(re.escape(shape(line)) + r"\n")
    return bool(re.fullmatch("".join(parts), "".join(shape(line) + "\n" for line in output)))


def matches(expected, output):
    """A program and `berth run` write at the same time: each in its own order."""
    return all(fits([e for e in expected if bool(EVENT.match(e)) is event],
                    [o for o in output if bool(EVENT.match(o)) is event]) for event in (True, False))


# --- a session -----------------------------------------------------------------------------------

PROMPT = re.compile(r"<<\d+>>")
JOB = re.compile(r"^\[\d+\][-+ ] *(\d+$|Terminated|Done|Killed|Exit)")

# The folders that are written to are the session's own; `hostname -I` has an address to tell.
ENTER = r"""
set -e
ip link set lo up
mount --make-rprivate /
mount -t tmpfs none /mnt
cp -a /etc /mnt/etc
: >/mnt/etc/bash.bashrc
mount --bind /mnt/etc /etc
mount -t tmpfs -o mode=755 none /run
if ip link add berth0 type veth peer name berth1 2>/dev/null; then
	ip address add 192.0.2.1/24 dev berth0
	ip link set berth0 up
	ip link set berth1 up
fi
cd "$1"
exec bash --norc --noprofile --noediting -i
"""


class Session:
    """A shell at a terminal of its own, in a folder that has doc/, examples/ and bin/berth."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        home = self.folder.name
        os.chmod(home, 0o755)
        for part in ("doc", "examples"):
            shutil.copytree(os.path.join(TOP, part), os.path.join(home, part))
        os.makedirs(f"{home}/bin/.libs")
        shutil.copy(BERTH, f"{home}/bin/berth")
        for library in ("libberth.so", "berth-policy.so"):
            shutil.copy(os.path.join(os.path.dirname(LIBBERTH), library), f"{home}/bin/.libs")
        environment = {"PATH": f"{home}/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": home,
                       "TMPDIR": home, "PS1": "<<$?>>", "PS2": "", "TERM": "dumb", "no_proxy": "*",
                       "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
        self.pid, self.terminal = pty.fork()
        if not self.pid:
            settings = termios.tcgetattr(0)
            settings[1] &= ~termios.OPOST
            settings[3] &= ~termios.ECHO
            termios.tcsetattr(0, termios.TCSANOW, settings)
            os.execvpe("unshare", ["unshare", "-nm", "sh", "-c", ENTER, "sh", home], environment)
        self.text = ""
        self.wait([])

    def lines(self):
        """What came, without prompts and what the shell says of jobs."""
        lines = PROMPT.sub("", self.text).split("\n")
        return [line for line in lines[:-1] if not JOB.match(line)]

    def wait(self, expected):
        """Until there is a prompt, and the output is as expected; for long enough."""
        end, prompt = time.monotonic() + PATIENCE, False
        while not prompt or (expected and not matches(expected, self.lines())):
            if not prompt and PROMPT.search(self.text):
                prompt, end = True, time.monotonic() + BEHIND
                continue
            if not select.select([self.terminal], [], [], max(0, end - time.monotonic()))[0]:
                return
            try:
                self.text += os.read(self.terminal, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError("the shell ended:\n" + self.text) from None

    def type(self, command, expected):
        """The lines that it wrote."""
        self.text = ""
        os.write(self.terminal, (command + "\n").encode())
        self.wait(expected)
        return self.lines()

    def members(self):
        """What was started at this terminal and is there still."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(int(pid)) == self.pid:
                    yield int(pid)

    def end(self):
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        berthtest.wait_for(lambda: not list(self.members()))
        os.close(self.terminal)
        self.folder.cleanup()


# --- the tests -----------------------------------------------------------------------------------

SESSIONS = {}


def session_of(document):
    if document not in SESSIONS:
        SESSIONS[document] = Session()
    return SESSIONS[document]


def kernel():
    return tuple(int(n) for n in re.match(r"(\d+)\.(\d+)", os.uname().release).groups())


def need_for(commands):
    text = "\n".join(command for command, _ in commands)
    need(*(tool for tool in TOOLS if re.search(rf"\b{tool}\b", text)))
    with open("/proc/self/uid_map") as f:
        if "setpriv" in text and int(f.read().split()[2]) <= 10001:
            raise Skip("needs users other than root")


def block_test(document, line, lines):
    commands = commands_of(lines)
    current = kernel() >= WRITTEN_FOR

    def test():
        need_for(commands)
        session = session_of(document)
        for command, expected in commands:
            got = session.type(command, expected if current else [])
            if current and not matches(expected, got):
                raise AssertionError("\n".join(
                    [f"{document}:{line}: $ {command}", "--- the document says:", *expected,
                     "--- it answered:", *got]))
        if not current:
            raise Skip("typed; how it answers is told for Linux %d.%d and later" % WRITTEN_FOR)

    test.__doc__ = f"{document}:{line}: {commands[0][0].splitlines()[0]}"
    return test


def other_test(document, line, kind, lines):
    def test():
        if kind == "json":
            with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
                f.write("\n".join(lines))
                f.flush()
                equal(berth("check", f.name).returncode, 0, "berth check")
            return
        reasons = [why for first, why in NOT_TYPED.items() if lines[0].startswith(first)]
        assert kind in ("ini", "yaml") or reasons, f"a block of kind {kind!r}: why is it not console?"
        raise Skip(reasons[0] if reasons else "a file's text, no command")

    test.__doc__ = f"{document}:{line}: {lines[0]}"
    return test


def add_tests():
    for document in DOCUMENTS:
        for line, kind, lines in blocks_of(document):
            name = "test_" + re.sub(r"\W", "_", f"{document}_{line}")
            globals()[name] = (block_test(document, line, lines) if kind == "console"
                               else other_test(document, line, kind, lines))


def test_indented():
    """no command stands outside of a block, where nobody would type it"""
    for document in DOCUMENTS:
        with open(os.path.join(TOP, document), encoding="utf-8") as f:
            equal(re.findall(r"^    +(?:berth|python3|sysctl) .*", f.read(), re.M), [], document)


if __name__ == "__main__":
    add_tests()
    try:
        berthtest.main()
    finally:
        for opened in SESSIONS.values():
            opened.end()
