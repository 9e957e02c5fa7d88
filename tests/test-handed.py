# SPDX-License-Identifier: MIT
"""What `berth run` hands to all that COMMAND starts: to programs of another user, in another root, and
in sandboxes with a /dev of their own. The policy gets there; what does not is named at the end, and
--strict refuses it."""
import contextlib
import glob
import json
import os
import re
import resource
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile

import berthtest
from berthtest import (BERTH, LIBBERTH, PATIENCE, Server, Skip, berth, equal, fresh_namespace, need,
                       started)
from reachtest import NOBODY, need_root, own_berth, plain, run_until_seen

SHM = "/dev/shm"
PORTS = range(20000, 20100)  # outside the machine's range: none by chance
RULE = ["-L", "20000-20099"]
NAMED = r"berth: (not \w+): (\S+) \d+: (.*?)(?: \(and \d+ more\))?"


def named(stderr):
    """What was named at the end: {(what, name): why}; the library's own lines are left out."""
    lines = [line for line in stderr.splitlines() if not line.startswith("berth: BERTH_")]
    return {m.groups()[:2]: m[3] for m in (re.fullmatch(NAMED, line) or line for line in lines)}


def another_user(*command):
    need("setpriv")
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]


def another_dev(*command):
    """In a mount namespace with an empty /dev/shm."""
    mount = f"mount -t tmpfs none {SHM} && exec \"$@\""
    return ["unshare", "-m", "sh", "-c", mount, "sh", *command]


def sandbox(*options):
    """bwrap, as it is used most."""
    need("bwrap")
    return ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", *options]


def chroots(folder, *command):
    """In a root of its own, which has the machine's programs and no /dev."""
    for name in "usr", "bin", "lib", "lib64", "tmp", "work", "proc":
        if os.path.isdir("/" + name):
            os.mkdir(f"{folder}/{name}")
    mounts = " && ".join(f"mount --rbind /{name} {folder}/{name}" for name in os.listdir(folder))
    return ["unshare", "-m", "sh", "-c", f"{mounts} && exec chroot {folder} \"$@\"", "sh", *command]


def from_the_set(server, count):
    ports = [port for _, port in server.saw(count)]
    equal((len(ports), [p for p in ports if p not in PORTS]), (count, []), "connections, and others")
    server.peers.clear()


def shell(words):
    return " ".join(map(shlex.quote, words))


def waits(command, *then):
    """Such a shell command waits until berth has seen it, and goes on with these steps."""
    return " ".join([command, "say ready wait", *map(str, then), "<&3"])


def steered(launcher, *options, recorded=False, status=0, environment=None):
    """A program that is started so is steered by a rule of berth run's. Returns what was named. The
    recording is in /dev/shm."""
    fresh_namespace()
    with Server() as server:
        words = waits(shell([*launcher, plain()]), "tcp", server.port)
        stderr = run_until_seen(words, 1, *(options or RULE), berth=own_berth(), status=status,
                                env={**os.environ, "XDG_RUNTIME_DIR": "", **(environment or {})},
                                cwd="/")
        from_the_set(server, 1)
    return named(stderr)


# --- it gets there ------------------------------------------------------------------------------


def test_another_user():
    """setpriv, runuser, chpst, s6: a program of another user is steered; that it is not recorded is said"""
    need_root()
    launchers = [another_user(), ["runuser", "-u", "nobody", "--"]]
    for launcher in ["chpst", "-u", "nobody"], ["s6-setuidgid", "nobody"]:
        if shutil.which(launcher[0]):
            launchers.append(launcher)
        else:
            print(f"# {launcher[0]} is not installed")
    for launcher in launchers:
        found = steered(launcher)
        equal(found, {("not recorded", "plain"):
                      f"it runs as user {NOBODY}, who may not open the recording"}, launcher[0])


def test_supervisord():
    """supervisord: a program of another user that it starts is steered"""
    need_root()
    supervisord, = need("supervisord")
    fresh_namespace()
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/supervisord.conf", "w") as f:
            f.write(f"[supervisord]\nnodaemon=true\nuser=root\nlogfile={folder}/log\n"
                    f"pidfile={folder}/pid\n[program:one]\nuser=nobody\nautorestart=false\n"
                    f"startsecs=0\ncommand={plain()} tcp {server.port}\n")
        with started([own_berth(), "run", "-q", *RULE, "--", supervisord, "-c", f.name],
                     stdin=subprocess.DEVNULL) as process:
            from_the_set(server, 1)
            process.terminate()
            _, stderr = process.communicate(timeout=PATIENCE)
        equal(process.returncode, 0, stderr)


def test_postgres():
    """postgres of another user, which connects by an extension: from the set"""
    need_root()
    fresh_namespace()
    path = os.pathsep.join([os.environ["PATH"], *sorted(glob.glob("/usr/lib/postgresql/*/bin"))])
    postgres, initdb = (shutil.which(name, path=path) for name in ("postgres", "initdb"))
    if not initdb or not glob.glob("/usr/share/postgresql/*/extension/dblink.control"):
        raise Skip("postgresql, or its dblink, is not installed")
    with Server(keep=False) as server, tempfile.TemporaryDirectory() as folder:
        os.chown(folder, NOBODY, NOBODY)
        made = subprocess.run(another_user(initdb, "-N", "-A", "trust", "-D", f"{folder}/data"),
                              capture_output=True, text=True, cwd=folder)
        equal(made.returncode, 0, made.stderr)
        run = subprocess.run(
            [own_berth(), "run", "-q", *RULE, "--",
             *another_user(postgres, "--single", "-D", f"{folder}/data", "postgres")],
            input="CREATE EXTENSION dblink;\n"
                  f"SELECT dblink_connect('host=127.0.0.1 port={server.port} dbname=x sslmode=disable');\n",
            capture_output=True, text=True, cwd=folder)
        print("#", run.stderr[-300:].replace("\n", "\n# "))
        equal(run.returncode, 0)
        from_the_set(server, 1)


def test_firejail():
    """firejail, with a filter of its own: what it starts is steered"""
    need_root()
    firejail, = need("firejail")
    for options in [], ["--seccomp"], ["--caps.drop=all", "--nonewprivs"]:
        launcher = [firejail, "--noprofile", "--quiet", *options]
        if subprocess.run([*launcher, "true"], capture_output=True).returncode:
            raise Skip("firejail does not work here")
        equal(steered(launcher), {}, str(options))


def test_another_dev():
    """bwrap --dev, another /dev/shm: a program there is steered; that it is not recorded is said"""
    need_root()
    why = "the recording is not there in its root or mount namespace"
    equal(steered(another_dev()), {("not recorded", "plain"): why}, "unshare")
    for options in [], ["--unshare-user"], ["--unshare-user", "--proc", "/proc"]:
        if subprocess.run([*sandbox(*options), "true"], capture_output=True).returncode:
            raise Skip("bwrap " + " ".join(options) + " does not work here")
        equal(steered(sandbox(*options)).get(("not recorded", "plain")), why, "bwrap")


def test_another_root():
    """chroot into a root without /dev: likewise"""
    need_root()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        equal(steered(chroots(folder)),
              {("not recorded", "plain"): "the recording is not there in its root or mount namespace"})


def test_recorded():
    """a recording that is there is used: nothing is named, also where the user or root changes later"""
    need_root()
    with tempfile.TemporaryDirectory() as folder:
        record = ["--record", folder + "/r", *RULE]
        equal(steered(sandbox("--bind", folder, folder), *record), {}, "bwrap --bind")
        equal(steered(["unshare", "-U"], *record), {}, "unshare -U")
        equal(steered(sandbox(), *record),
              {("not recorded", "plain"): "the recording is on a file system that is read-only to it"})
    fresh_namespace()
    with Server() as server:
        words = waits(f"{plain()} chroot / setuid {NOBODY}", "tcp", server.port)
        equal(named(run_until_seen(words, 1, *RULE)), {}, "gives its rights up")
        from_the_set(server, 1)


def test_inherited():
    """BERTH_POLICY in berth run's environment, a file of root's alone: another user's program has it"""
    need_root()
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/policy.json", "w") as f:
            json.dump({"version": 1, "rules": [{"name": "own", "local_ports": "20000-20099"}]}, f)
        found = steered(another_user(), "-q", environment={"BERTH_POLICY": f.name})
        equal(list(found), [("not recorded", "plain")])


def test_nested():
    """berth run in berth run: the inner one hands on the outer one's policy, and has the recording"""
    need_root()
    inner = [own_berth(), "run", "-q", "--"]
    equal(steered(inner), {}, "the same user")
    equal(steered(another_user(*inner)),
          {("not recorded", "berth"): f"it runs as user {NOBODY}, who may not open the recording"})


# --- large policies -----------------------------------------------------------------------------


@contextlib.contextmanager
def large_policy():
    """One that no environment takes; its last rule is the one that steers here."""
    rules = [{"name": f"r{i}", "match": {"to": [f"10.{i >> 8}.{i & 255}.0/24:443"]},
              "local_ports": [f"{10000 + i}-{10010 + i}", 65000]} for i in range(4000)]
    rules.append({"name": "last", "local_ports": "20000-20099"})
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump({"version": 1, "rules": rules}, f)
        f.flush()
        yield f.name


def policies():
    return [name for name in os.listdir(SHM) if name.startswith("berth-policy-")]


def test_large():
    """a policy too large for the environment: in a file that all may read, until the end"""
    need_root()
    with large_policy() as file:
        before = policies()
        equal(list(steered(another_user(), "-P", file)), [("not recorded", "plain")], "another user")
        equal(policies(), before, "files that stay")
        run = berth("run", "-q", "-P", file, "--", "sh", "-c", 'stat -c "%a %U %n" $BERTH_POLICY')
        mode, owner, path = run.stdout.split()
        equal((run.returncode, mode, owner), (0, "444", "root"), path)
        assert re.fullmatch(rf"/{SHM}/berth-policy-0-\d+-[0-9a-f]+\.berth", path), path
        equal(policies(), before, "files that stay")
        run = berth("run", "--exec", "-P", file, "--", "/none")
        equal((run.returncode, policies()), (127, before), "of a COMMAND that cannot be executed")


def test_large_and_lost():
    """where that file is not there: named at the end; refused by --strict"""
    need_root()
    with large_policy() as file:
        for strict in [], ["--strict"]:
            fresh_namespace()
            with Server() as server:
                words = waits(shell([*another_dev(), plain()]), "refused" if strict else "tcp",
                              server.port)
                stderr = run_until_seen(words, 1, "-P", file, *strict,
                                        status=125 if strict else 0)
                why = named(stderr)["not steered", "plain"]
                assert why.startswith(f"the policy's file, {SHM}/berth-policy-0-"), why
                if not strict:
                    ports = [port for _, port in server.saw(1)]
                    assert ports[0] not in PORTS, ports
                else:
                    equal(server.peers, [], "connections")


def test_large_and_outlived():
    """... it stays, which is said, while a process lives that was told of it: unrecorded, unreached"""
    need_root()
    nowhere = "mount -t tmpfs -o ro none /mnt && exec \"$@\""
    until_sleep = "while [ $(cat /proc/$!/comm) != sleep ]; do :; done"
    with large_policy() as file:
        for before, options, sleep in (
                (["unshare", "-m", "sh", "-c", nowhere, "sh"], ["--record", "/mnt/x.berth"], "sleep"),
                ([], [], "env -u LD_PRELOAD sleep")):
            run = subprocess.run([*before, BERTH, "run", "-q", "-P", file, *options, "--", "sh", "-c",
                                  f"{sleep} 300 >/dev/null 2>&1 & {until_sleep}; echo $! $BERTH_POLICY"],
                                 capture_output=True, text=True)
            pid, path = run.stdout.split()
            try:
                equal(run.returncode, 0, run.stderr)  # else the recording is tidied with it
                what = "policy stays: " + path[1:] if before else "recording stays: "
                assert f"processes of COMMAND still run; their {what}" in run.stderr, run.stderr
                assert os.path.exists(path), path
                os.unlink(path)
            finally:
                os.kill(int(pid), signal.SIGKILL)


def test_large_with_few_descriptors():
    """where berth has too few descriptors to stay, its COMMAND still finds such a policy"""
    need_root()
    with large_policy() as file:
        for files in 5, 6:  # without a recording, and with one
            run = subprocess.run([BERTH, "run", "-q", "-P", file, "--", "sh", "-c",
                                  "echo $BERTH_POLICY; test -r $BERTH_POLICY"],
                                 capture_output=True, text=True, preexec_fn=lambda: resource.setrlimit(
                                     resource.RLIMIT_NOFILE, (files, files)))
            equal(run.returncode, 0, run.stderr)
            assert "nothing is recorded, nor shown: Too many open files" in run.stderr, run.stderr
            os.unlink(run.stdout.strip())


def test_planted():
    """such a file of another user's, one that others may write to, or a link: not heeded"""
    need_root()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        image, link = folder + "/image", folder + "/link"
        with open(folder + "/policy.json", "w") as f:
            json.dump({"version": 1, "rules": [{"name": "own", "local_ports": "20000-20099"}]}, f)
        equal(berth("compile", f.name, "-o", image).returncode, 0)
        os.symlink(image, link)
        for path, owner, mode, user, wrong in (
                (image, 0, 0o444, 0, None), (image, 0, 0o444, NOBODY, None),
                (image, NOBODY, 0o644, NOBODY, None), (image, NOBODY, 0o644, 0, "another user's"),
                (image, 1, 0o444, NOBODY, "another user's"), (image, 0, 0o664, 0, "others may write"),
                (image, 0, 0o646, NOBODY, "others may write"), (link, 0, 0o444, 0, "ELOOP")):
            os.chown(image, owner, owner)
            os.chmod(image, mode)
            for slashes, refused in ("/", wrong), ("", None):
                done = subprocess.run([plain(), "exit", "7"], user=user, group=user, extra_groups=[],
                                      env={"LD_PRELOAD": os.path.dirname(own_berth())
                                           + "/.libs/libberth.so", "BERTH_RECORD": "off",
                                           "BERTH_VERBOSE": "1", "BERTH_POLICY": slashes + path},
                                      capture_output=True, text=True, cwd="/")
                equal(done.returncode, 7, done.stderr)
                first, *more = done.stderr.splitlines()
                case = f"{slashes}{path} {owner} {mode:o} {user}: {done.stderr}"
                if refused:
                    assert refused in first and "observing only" in more[0], case
                else:
                    assert "1 of 1 rules" in first, case


def test_relative_in_the_root():
    """a relative path in / is no file of berth run's: whoever owns it, it is the user's to name"""
    need_root()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with open(folder + "/policy.json", "w") as f:
            json.dump({"version": 1, "rules": [{"name": "own", "local_ports": "20000-20099"}]}, f)
        os.chown(f.name, NOBODY, NOBODY)
        done = subprocess.run([plain(), "exit", "0"], cwd="/", capture_output=True, text=True,
                              env={"LD_PRELOAD": LIBBERTH, "BERTH_POLICY": f.name[1:],
                                   "BERTH_VERBOSE": "1", "BERTH_RECORD": "off"})
        assert f"policy {f.name}, 1 of 1 rules" in done.stderr, done.stderr


# --- what is lost -------------------------------------------------------------------------------


def lost(launcher, *options, status=0):
    words = waits(shell([*launcher, plain()]))
    return named(run_until_seen(words, 1, *RULE, *options, status=status))


def test_environment():
    """a program that is started without the variables is named; with --strict the status is 125"""
    unset = ["env", "-u", "BERTH_POLICY"]
    reason = "its environment has no BERTH_POLICY"
    for options, status in ([], 0), (["--strict"], 125):
        equal(lost(unset, *options, status=status), {("not steered", "plain"): reason}, "unset")
        equal(lost(["env", "BERTH_POLICY="], *options, status=status),
              {("not steered", "plain"): reason}, "empty")
        found = lost(["env", "-i"], *options, status=status)
        equal(list(found), [("not reached", "plain")], "env -i")
        equal(lost(["env", "-u", "BERTH_RECORD", "BERTH_RECORD=off"], *options), {}, "its own way")
        equal(lost(["env", "-u", "BERTH_RECORD", "TMPDIR=/none"], *options),
              {("not recorded", "plain"): "its environment has no BERTH_RECORD"})


def test_own_status():
    """--strict: a COMMAND that failed has its own status"""
    words = waits(f"env -i {plain()}") + "; exit 3"
    run_until_seen(words, 1, *RULE, "--strict", status=3)


def test_titles():
    """a program that writes over its environment, as for a title, has lost nothing"""
    need("perl")
    script = "$0 = 'x' x 100000; $| = 1; print \"ready\\n\"; open(my $f, '<&=3'); <$f>"
    for variables in [], ["BERTH_Z=1"]:
        words = shell(["env", *variables, "perl", "-e", script])
        equal(named(run_until_seen(words, 1, *RULE)), {})


def test_damaged():
    """a policy in the environment that is cut or changed is refused, in one line"""
    value = berth("run", "-q", *RULE, "--", "sh", "-c", "printf %s $BERTH_POLICY").stdout
    assert value.startswith("image:"), value
    changed = [value[:n] for n in range(len("image:"), len(value))]
    changed += [value[:n] + ("A" if value[n] != "A" else "B") + value[n + 1:]
                for n in range(len("image:"), len(value))]
    changed += [value + "A", value + "=", value + "AAAA", "image:" + value, "image:QUJD"]
    for text in changed:
        done = subprocess.run([plain(), "refused", "9"], capture_output=True, text=True,
                              env={"LD_PRELOAD": LIBBERTH, "BERTH_RECORD": "off",
                                   "BERTH_POLICY": text, "BERTH_STRICT": "1"})
        equal((done.returncode, done.stdout), (0, "refused: Operation not permitted\n"), text)
        line, = done.stderr.splitlines()
        assert line.startswith("berth: BERTH_POLICY: image:...: "), line


if __name__ == "__main__":
    berthtest.main()
