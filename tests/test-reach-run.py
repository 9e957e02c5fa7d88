# SPDX-License-Identifier: MIT
"""`berth run` and a COMMAND that it does not reach, which it looks at before the start."""
import json
import os
import subprocess
import tempfile

import berthtest
from berthtest import berth, equal
from reachtest import build, plain, static, write


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


if __name__ == "__main__":
    berthtest.main()
