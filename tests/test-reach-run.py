# SPDX-License-Identifier: MIT
"""`berth run` and what it does not reach: COMMAND, which it looks at before the start, and what
COMMAND starts, which it names at the end."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

import berthtest
from berthtest import BERTH, berth, equal, json_lines, log_of, program, started, wait_for
from reachtest import (CONNECT, NOBODY, build, copy, go_waits, need_root, own_berth, place, plain,
                       run_until_seen, static, waits, was_looked_at, write)

NOT_REACHED = r"berth: not reached: (\S+) (\d+): (.*?)(?: \(and (\d+) more\))?"


def escapees(stderr):
    """What was named at the end: {(name, why): (pid, how many)}; all else in stderr fails."""
    found = {}
    for line in stderr.splitlines():
        name, pid, why, more = re.fullmatch(NOT_REACHED, line).groups()
        found[name, why] = int(pid), 1 + int(more or 0)
    return found


# --- before the start ------------------------------------------------------------------------


def kinds():
    """Commands that are not reached, and a word of the reason."""
    return ((([static()], "statically linked"), (["env", "-i", plain()], "env -i"),
             ([write("static-script", f"#!{static()}\n")], "statically linked"),
             ([build("static-pie", "gcc", "-static-pie")], "statically linked")))


def test_warned():
    """without a policy: one line says why, before COMMAND starts, and it runs; with -q too"""
    for command, why in kinds():
        for option in [], ["-q"], ["--json"], ["-c"]:
            run = berth("run", *option, "--", *command, "say", "done")
            equal((run.returncode, run.stdout), (0, "done\n") if "script" not in command[0]
                  else (run.returncode, run.stdout), f"{command}")
            line, = run.stderr.splitlines()
            assert line.startswith(f"berth: {command[0]}: ") and why in line, line


def test_refused():
    """with a policy, by an option, a file or the environment: 125, and it is not started"""
    with tempfile.TemporaryDirectory() as folder:
        policy = folder + "/policy.json"
        with open(policy, "w") as f:
            json.dump({"version": 1, "rules": [{"name": "any"}]}, f)
        for command, why in kinds():
            for options, env in ((["-L", "40000-40010"], {}), (["-P", policy], {}),
                                 (["--exec", "-P", policy], {}), ([], {"BERTH_POLICY": policy})):
                run = berth("run", *options, "--record", folder + "/record", "--", *command, "say",
                            "done", env={**os.environ, **env})
                equal((run.returncode, run.stdout), (125, ""), f"{command} {options}")
                line, = run.stderr.splitlines()
                assert line.startswith(f"berth: {command[0]}: ") and why in line, line
                equal(os.listdir(folder), ["policy.json"], "what was made")


def test_not_refused():
    """what is reached, or cannot be told, runs with a policy too"""
    equal(berth("run", "-q", "-L", "40000", plain(), "say", "x").stderr, "", "reached")
    loader = subprocess.run(["readelf", "-p", ".interp", plain()], capture_output=True, text=True,
                            check=True).stdout.split()[-1]
    run = berth("run", "-q", "-L", "40000", "--", loader, plain(), "say", "x")
    equal((run.returncode, run.stdout), (0, "x\n"), run.stderr)
    assert "not known" in run.stderr, run.stderr


def test_cannot_execute():
    """a COMMAND that cannot be executed is execvp's to refuse, with a policy too"""
    for options in [], ["-L", "40000"]:
        run = berth("run", *options, "/no/such/file")
        equal((run.returncode, len(run.stderr.splitlines())), (127, 1), run.stderr)
        equal(berth("run", *options, "/").returncode, 126, "a directory")


def test_attach():
    """-p: a running process cannot be attached to; what can be done instead is named"""
    run = berth("run", "-p", "4711")
    equal((run.returncode, run.stdout), (125, ""), "answer")
    assert "berth doctor -p 4711" in run.stderr and "berth reach -p 4711" in run.stderr, run.stderr


# --- at the end ------------------------------------------------------------------------------

def test_named():
    """what COMMAND starts and is not reached is named at the end, one line a program and reason, with
    how many there were"""
    found = escapees(run_until_seen(" & ".join([waits(static())] * 3 + [
        waits(plain()), waits("env", "-i", plain())]) + " & wait", 5))
    equal({name: number for (name, _), (_, number) in found.items()}, {"static": 3, "plain": 1})
    why = {name: why for name, why in found}
    assert "statically" in why["static"] and "environment" in why["plain"], why


def test_none_named():
    """nothing is said where all are reached: of forks, threads, vforks, execs, and storms of them"""
    storm = "i=0; while [ $i -lt 300 ]; do /bin/true & i=$((i+1)); done; wait"
    for command in (["sh", "-c", storm], ["sh", "-c", " & ".join([plain() + " say x"] * 20) + "; wait"],
                    program("""
                        import subprocess, threading, time
                        def start():
                            for _ in range(10):
                                subprocess.run(['sh', '-c', 'sleep 0.05; exec sleep 0.05'])
                        threads = [threading.Thread(target=start) for _ in range(8)]
                        [t.start() for t in threads]
                        [t.join() for t in threads]
                        for _ in range(20):
                            if not os.fork():
                                time.sleep(0.3)
                                os._exit(0)
                        time.sleep(0.5)""")):
        run = berth("run", "-q", "--", *command)
        equal((run.returncode, run.stderr), (0, ""), f"{command}")


def test_named_once():
    """COMMAND itself, of which it was said before the start, is not named again; what it executes
    later is"""
    equal([name for name, _ in escapees(run_until_seen("exec " + waits(static()), 1))], ["static"])
    for command in [static()], ["env", "-i", plain()]:
        with started([BERTH, "run", "-q", "--", *command, "say", "ready", "wait"]) as process:
            process.stdout.readline()
            was_looked_at(process)
            line, = process.communicate()[1].splitlines()
            assert line.startswith(f"berth: {command[0]}: "), line


def test_orphan():
    """a daemon that was seen before it lost its parent is named, though COMMAND has ended"""
    with tempfile.TemporaryDirectory() as folder:
        os.mkfifo(folder + "/end")
        daemon = f"{static()} say ready wait <>{folder}/end >{folder}/out 2>&1"
        command = ["sh", "-c", f"exec 3<&0; ({daemon} & read line <&3); true"]
        with started([BERTH, "run", "-q", "--", *command]) as process:
            wait_for(lambda: os.path.exists(folder + "/out") and os.path.getsize(folder + "/out"))
            was_looked_at(process)
            stderr = process.communicate()[1]
        stays, named = stderr.splitlines()
        assert "processes of COMMAND still run; their recording stays" in stays, stderr
        (name, _), (pid, count) = next(iter(escapees(named).items()))
        os.kill(pid, signal.SIGKILL)
        equal((name, count), ("static", 1), stderr)


def test_threads():
    """children of a thread that is not the first are found"""
    code = f"""
        import subprocess, threading
        t = threading.Thread(target=lambda: subprocess.run([{static()!r}, 'say', 'ready', 'wait'],
                                                           stdin=3))
        t.start()
        t.join()"""
    with tempfile.NamedTemporaryFile("w") as f:
        f.write("\n".join(line[8:] for line in code.splitlines()))
        f.flush()
        stderr = run_until_seen(f"{sys.executable} {f.name}", 1)
    equal([name for name, _ in escapees(stderr)], ["static"], stderr)


def test_go():
    """Go has the library mapped, and is named all the same"""
    stderr = run_until_seen(f"{go_waits('-buildmode=pie')} <&3; true", 1)
    (name, why), = escapees(stderr)
    equal(name, "go-waits", stderr)
    assert "Go" in why, why


def test_setuid():
    """a setuid program that COMMAND starts, seen by root, and by others as another user's process"""
    need_root()
    path = copy(plain(), "setuid-child")
    os.chmod(path, 0o4755)
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    stderr = run_until_seen(f"{' '.join(user)} {waits(path)}; true", 1, "--record", place("record"))
    (name, why), = escapees("".join(line for line in stderr.splitlines(True)
                                    if "BERTH_RECORD" not in line))  # not nobody's to write to
    assert name == "setuid-child" and "AT_SECURE" in why, stderr
    with tempfile.TemporaryDirectory(dir=os.path.dirname(plain())) as folder:
        os.chown(folder, NOBODY, NOBODY)
        command = [*user, own_berth(), "run", "-q", "--record", folder + "/record", "--"]
        with started([*command, "sh", "-c", f"{path} say ready wait; true"]) as process:
            equal(process.stdout.readline(), "ready\n", "a process")
            was_looked_at(process)
            stderr = process.communicate()[1]
    (name, why), = escapees(stderr)
    assert name == "setuid-child" and "user 0" in why, stderr


def test_events_and_json():
    """events, JSON Lines and summaries are as they were; the names follow on stderr"""
    with tempfile.TemporaryDirectory() as folder:
        stderr = run_until_seen(f"{plain()} {' '.join(CONNECT)} >&2; {waits(static())}; true", 1,
                                "-C", "--json", "-o", folder + "/out", "--record",
                                folder + "/record")
        word, stderr = stderr.split("\n", 1)
        equal(word, "connected", "the program's own")
        with open(folder + "/out") as f:
            rows = json_lines(f.read())
        event, = log_of(folder + "/record")
    equal(event["process.executable.name"], "plain", "event")
    equal([row["calls"]["connect"] for row in rows], [1], "output")
    equal([name for name, _ in escapees(stderr)], ["static"], stderr)


if __name__ == "__main__":
    berthtest.main()
