# SPDX-License-Identifier: MIT
"""`berth run` inside a sandbox, where it works or says which system call it lacks, and what it says
of a COMMAND, or of a descendant, that a sandbox killed."""
import os
import re
import subprocess
import tempfile
import time

import berthtest
from berthtest import BERTH, PROGRAMS, Server, Skip, equal, need, sanitized

FILTERED = f"{PROGRAMS}/filtered"


def ended(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def test_sent():
    """SIGSYS that a process sent: no filter is accused"""
    for how in "kill -SYS $$", "exec python3 -c 'import os; os.kill(os.getpid(), 31)'":
        status, _, said = ended([BERTH, "run", "-q", "--", "sh", "-c", how])
        equal(status, -31, "status")
        assert "was ended by SIGSYS, as a seccomp filter does" in said and "forbids:" in said, said
        told = "names none; it may have left it out, or a process sent the signal"
        assert (told in said) == os.access("/dev/kmsg", os.R_OK), said


# --- inside --------------------------------------------------------------------------------------

def calls_of(command):
    """The system calls that a command's own process makes: names and numbers."""
    strace, = need("strace")
    with tempfile.NamedTemporaryFile("r") as file:
        done = ended([strace, "-n", "-qq", "-o", file.name, *command])
        found = dict(re.findall(r"^\[ *(\d+)\] (\w+)\(", file.read(), re.MULTILINE))
    assert len(found) > 20, (done, found)
    return sorted((name, number) for number, name in found.items())


def within(number, command):
    """Behind a filter that kills at this call; nobody saw it being installed."""
    return [FILTERED, "within", "0", "kill", "unseen", "exec", number, *command]


def judged(name, number, options, command):
    """What is wrong with the command in `berth run` behind the filter, or nothing."""
    bare = ended(within(number, command))
    if bare[0] < 0:
        return None  # without berth it does not live either
    status, said, complaint = ended(within(number, [BERTH, "run", *options, "--", *command]))
    if (status, said) == bare[:2]:
        return None
    if status == 125 and re.search(rf"\b{name}\b", complaint) and "seccomp" in complaint:
        return None
    return f"{name}: {status} {said!r} {complaint!r}"


def inside(*options, unavoidable=("clone", "wait4")):
    if sanitized():
        raise Skip("a sanitizer makes calls of its own")
    with Server(keep=False) as server:
        command = [FILTERED, "steps", str(server.port)]
        calls = [call for call in calls_of([BERTH, "run", *options, "--", *command])
                 if call[0] not in unavoidable]
        wrong = [w for call in calls if (w := judged(*call, options, command))]
    print(f"# {len(calls)} calls, {len(wrong)} wrong: {' '.join(w.split(':')[0] for w in wrong)}")
    assert not wrong, "neither as without berth, nor 125 and a word:\n" + "\n".join(wrong)


def test_inside():
    """a filter that kills at one call of `berth run`: COMMAND as without berth, or 125 and why"""
    inside("-q")


def test_inside_steered():
    """with a policy, likewise"""
    inside("-q", "-L", "40000-40999")


def test_inside_exec():
    """with --exec, likewise"""
    # COMMAND is observed by these, behind a filter that nobody saw: libberth.so(8), System calls.
    inside("-q", "--exec", unavoidable=("getsockname", "getsockopt"))


# --- what a sandbox killed -----------------------------------------------------------------------

def killed_at(call, *before, action="kill"):
    with Server(keep=False) as server:
        command = [*before, FILTERED, "one", str(server.port), action, "prctl", "direct", call]
        return ended(command), ended([BERTH, "run", "-q", "--", *command])


def until_named(call, *before):
    """The kernel logs ten such ends in five seconds, and no more (kauditd_printk_skb())."""
    end = time.monotonic() + berthtest.DEADLINE
    while True:
        bare, observed = killed_at(call, *before)
        if re.search(rf"\b{call}\b", observed[2]) or time.monotonic() > end:
            return bare, observed


def test_said():
    """COMMAND dies of SIGSYS: berth dies of it, too, and names the call where it is known"""
    readable = os.access("/dev/kmsg", os.R_OK) and os.geteuid() == 0
    for call in "connect", "bind":
        bare, observed = until_named(call) if readable else killed_at(call)
        equal(observed[:2], bare[:2], call)
        if not readable:
            assert "SIGSYS" in observed[2], observed[2]
            continue
        assert "SIGSYS" in observed[2] and re.search(rf"\b{call}\b", observed[2]), observed[2]
    bare, observed = killed_at("write")  # of which libberth.so sees nothing
    equal(observed[:2], bare[:2], "write")
    assert "SIGSYS" in observed[2], observed[2]


def test_said_of_descendants():
    """a descendant dies of it: berth names the program, and has COMMAND's status"""
    if not os.access("/dev/kmsg", os.R_OK) or os.geteuid():
        raise Skip("the kernel's log is not readable")
    # At a call that follows others, which are in the recording: a process without a row is not told.
    bare, observed = until_named("bind", "sh", "-c", '"$@"; exit 4', "sh")
    equal((bare[0], observed[0]), (4, 4), "status")
    assert re.search(r"filtered.*SIGSYS|SIGSYS.*filtered", observed[2]), observed[2]
    assert re.search(r"\bbind\b", observed[2]), observed[2]


def test_not_said():
    """a filter that only refuses: nothing is said"""
    for action in "eperm", "enosys":
        bare, observed = killed_at("connect", action=action)
        equal(observed, bare, action)


if __name__ == "__main__":
    berthtest.main()
