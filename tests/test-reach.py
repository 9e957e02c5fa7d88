# SPDX-License-Identifier: MIT
"""`berth reach`: what it says of programs of each kind, and whether it is true, which a `berth run`
of the same program decides."""
import json
import os
import random
import subprocess
import sys
import tempfile

import berthtest
from berthtest import BERTH, LIBBERTH, Observed, Skip, berth, equal, need, started, wait_for
from reachtest import (CONNECT, NOBODY, as_user, build, build_folder, child_of, copy, go, go_waits,
                       need_root, own_berth, place, plain, static, waiting, write)

ANSWERS = {True: 0, False: 1, None: 2}  # the exit status of each


def reach(*command, **options):
    """What it says, as JSON; the text and the exit status agree with it."""
    run = berth("reach", "--json", *command, **options)
    said = json.loads(run.stdout)
    equal((run.returncode, run.stderr), (ANSWERS[said["reached"]], ""), f"{command}")
    text = berth("reach", *command, **options)
    equal((text.returncode, text.stderr), (run.returncode, ""), f"{command} as text")
    word = {True: "reached", False: "not reached", None: "unknown"}[said["reached"]]
    assert text.stdout.splitlines()[0].endswith(": " + word), text.stdout
    for reason in said["reasons"]:
        assert reason["text"] in text.stdout, text.stdout
    return said


def words(said):
    return [reason["reason"] for reason in said["reasons"]]


def says(command, reached, *reasons, truth=True, arguments=CONNECT):
    """It answers so, for these reasons; and a run agrees. Returns what it says."""
    said = reach(*command, *arguments)
    equal((said["reached"], words(said)), (reached, list(reasons)), f"{command}")
    if truth:
        observed = Observed([*command, *arguments])
        equal(observed.process.returncode, 0, f"{command}: {observed.process.stderr}")
        equal(bool(observed.events), reached, f"{command}: events")
    return said


# --- programs --------------------------------------------------------------------------------


def test_dynamic():
    """a program of this libc and ABI: reached, and by which library"""
    said = says([plain()], True)
    equal((said["executes"], os.path.realpath(said["library"])),
          ([plain()], os.path.realpath(LIBBERTH)), "files")
    says([build("no-pie", "gcc", "-no-pie")], True)
    says([build("lazy", "gcc", "-Wl,-z,lazy,--hash-style=sysv")], True)


def test_path():
    """a name is looked for in PATH, as execvp does: past what may not be executed"""
    for folder in "first", "second":
        os.makedirs(place(folder), exist_ok=True)
    copy(plain(), "first/tool", 0o644)
    os.makedirs(place("first/other"), exist_ok=True)
    copy(plain(), "second/tool")
    copy(plain(), "second/other")
    environment = {**os.environ, "PATH": f"{place('first')}:/no/such:{place('second')}"}
    for name in "tool", "other":
        said = reach(name, env=environment)
        equal((said["reached"], said["executes"]), (True, [place("second/" + name)]), name)
    said = reach("tool", env={**os.environ, "PATH": ""}, cwd=place("second"))
    equal(said["executes"], ["tool"], "an empty PATH is the working directory")


def test_static():
    """static and static-pie: not reached"""
    says([static()], False, "static")
    says([build("static-pie", "gcc", "-static-pie")], False, "static")
    stripped = copy(static(), "stripped")
    subprocess.run(["strip", stripped], check=True)
    says([stripped], False, "static")


def test_musl():
    """musl: not reached if static; else reached if musl has all that the library imports"""
    says([build("musl-static", "musl-gcc", "-static")], False, "static")
    path = build("musl", "musl-gcc")
    said = reach(path)
    equal(said["reached"], bool(Observed([path, *CONNECT]).events), f"{said}")


def go_is_told(name, *flags, cgo):
    """By its note, and without that by its build info."""
    path = go(name, *flags, cgo=cgo)
    says([path], False, "go", arguments=["9"])
    copied = copy(path, name + "-without-note")
    subprocess.run(["objcopy", "-R", ".note.go.buildid", copied], capture_output=True)
    equal(words(reach(copied)), ["go"], f"{name} by its build info")


def test_go():
    """Go without cgo: not reached, static or not"""
    says([go("go")], False, "static", "go", arguments=["9"])
    go_is_told("go-pie-0", "-buildmode=pie", cgo=0)


def test_go_cgo():
    """Go with cgo: not reached, whichever linker made it, stripped or not"""
    go_is_told("go-cgo", cgo=1)
    go_is_told("go-external", "-ldflags=-linkmode=external", cgo=1)
    go_is_told("go-stripped", "-ldflags=-s -w", cgo=1)


def test_go_pie():
    """Go with cgo as position-independent: not reached"""
    go_is_told("go-pie", "-buildmode=pie", cgo=1)


def test_go_archive():
    """Go inside of a C program: reached, and the Go in it is named, where its build info tells"""
    archive = go("steps.a", "-buildmode=c-archive", cgo=1, source="archive.go")
    path = build("with-go", "gcc", "-Wl,--whole-archive", archive, "-Wl,--no-whole-archive",
                 "-lpthread")
    with open(path, "rb") as f:
        content = f.read()
    mode, flags = b"build\t-buildmode=c-archive\n", b"build\tCGO_CFLAGS=\nbuild\tCGO_CPPFLAGS=\n"
    if mode not in content:  # Go 1.19 and older do not say it: as 1.20 does, in the same room
        assert flags in content, "no build info"
        path = write("with-newer-go", content.replace(flags, mode.ljust(len(flags), b"\n")))
    says([path], True, "go")


def test_abi():
    """a program of another ABI: not reached, and which ABI"""
    said = says([build("i386", "gcc", "-m32")], False, "abi")
    assert "i386" in said["reasons"][0]["text"], said


def test_foreign_machine():
    """a program for another machine: its name"""
    with open(plain(), "rb") as f:
        bytes_ = bytearray(f.read())
    bytes_[18:20] = (243).to_bytes(2, sys.byteorder)  # e_machine: EM_RISCV
    said = reach(write("foreign", bytes_))
    equal(said["reached"], False, "answer")
    assert "riscv64" in said["reasons"][0]["text"], said


def test_loader():
    """the dynamic linker itself, and a program whose own is missing or unknown"""
    with open(plain(), "rb") as f:
        bytes_ = f.read()
    start = bytes_.index(b"/ld-linux")
    start = bytes_.rindex(b"\0", 0, start) + 1
    interpreter = bytes_[start:bytes_.index(b"\0", start)].decode()
    equal((reach(interpreter)["reached"], words(reach(interpreter))), (None, ["loader"]), "itself")
    gone = build("gone", "gcc", "-Wl,--dynamic-linker=/no/such/ld.so")
    equal((reach(gone)["reached"], words(reach(gone))), (False, ["cannot-execute"]), "missing")
    own = build("own", "gcc", "-nodefaultlibs", "-lc", "-Wl,--dynamic-linker=" + place("own-ld"))
    copy(interpreter, "own-ld")
    says([own], True)  # it needs libc.so.6 all the same


# --- scripts ---------------------------------------------------------------------------------


def chain(said):
    return [os.path.basename(path) for path in said["executes"]]


def test_scripts():
    """#! lines, followed as the kernel does: arguments, scripts of scripts, blanks, no newline"""
    one = write("one", f"#!{plain()}\n")
    for name, line, want in (
            ("argument", f"#!{plain()} say", ["plain"]), ("blanks", f"#! \t {plain()} \t \n",
                                                          ["plain"]),
            ("script", f"#!{one}\n", ["one", "plain"]), ("static", f"#!{static()}\n", ["static"]),
            ("nul", f"#!{plain()}\0more\n", ["plain"])):
        said = reach(write("s-" + name, line))
        equal((said["reached"], chain(said)), (name != "static", ["s-" + name, *want]), name)
    says([write("sh", f"#!/bin/sh\nexec {plain()} \"$@\"\n")], True)
    says([write("sh-static", f"#!{static()} connect\n")], False, "static", arguments=[])


def test_script_depth():
    """six programs one after another are executed, a seventh is ELOOP"""
    before = plain()
    for i in range(1, 7):
        before = write(f"deep-{i}", f"#!{before}\n")
        said = reach(before)
        equal(said["reached"], i <= 5, f"{i} scripts")
        try:
            subprocess.run([before, "exit", "0"], capture_output=True)
            ran = True
        except OSError as error:
            ran = False
            assert error.strerror in said["reasons"][0]["text"], said
        equal(ran, i <= 5, f"{i} scripts are executed")


def test_busybox():
    """a script of a static shell"""
    busybox, = need("busybox")
    is_static = reach(busybox)["reached"] is False
    script = write("busybox-script", f"#!{busybox} sh\n: \n")
    equal(reach(script)["reached"], not is_static, busybox)


def test_without_interpreter():
    """text without #!, and a #! line that the kernel does not take: the shell's, by execvp"""
    for name, text in ("text", "exit 0\n"), ("empty", ""), ("blank", "#! \t\nexit 0\n"), \
            ("long", "#!/" + "x" * 300 + "\nexit 0\n"):
        said = reach(write("w-" + name, text))
        equal((said["reached"], chain(said)), (True, ["w-" + name, "sh"]), name)
        equal(berth("run", "-q", place("w-" + name)).returncode, 0, name)


def test_env():
    """env NAME and env -S are followed; env -i takes LD_PRELOAD away"""
    name = os.path.basename(plain())
    environment = {**os.environ, "PATH": build_folder().name + ":" + os.environ["PATH"]}
    env, = need("env")
    for line, reached in ((f"#!{env} {name}", True), (f"#!{env} -S {name} connect", True),
                          (f"#!{env} -S -u X A=b \"{name}\" \\_", True),
                          (f"#!{env} -S -i {plain()}", False),
                          (f"#!{env} -S -u LD_PRELOAD {name}", False),
                          (f"#!{env} -S LD_PRELOAD= {name}", False),
                          (f"#!{env} static", False)):
        static()
        said = reach(write("env-script", line + "\n"), env=environment)
        equal((said["reached"], said["executes"][:2]), (reached, [place("env-script"), env]), line)
    says([env, "-i", plain()], False, "environment")
    equal(reach(env, "-i", plain())["executes"], [env, plain()], "files")
    says([env, "-i", static()], False, "static", "environment")
    says([env, "-", plain()], False, "environment")
    says([env, "A=b", "-", plain()], False, "cannot-execute", truth=False)
    says([env, "A=b", env, "-u", "B", plain()], True)
    says([env, "-C", build_folder().name, "./plain"], True)
    says([env, "PATH=" + build_folder().name, "plain"], True)
    says([env, "--unset=LD_PRELOAD", plain()], False, "environment")
    says([env], True, arguments=[], truth=False)


# --- what the kernel and the file system say -------------------------------------------------


def test_cannot_execute():
    """what cannot be executed: why, in errno's words; run exits with 126 or 127"""
    os.makedirs(place("directory"), exist_ok=True)
    for command, why, status in (
            (place("no-such-file"), "No such file", 127), ("no-such-command", "No such file", 127),
            (place("directory"), "Permission denied", 126), (plain() + "/x", "Not a dir", 127),
            (copy(plain(), "not-executable", 0o644), "Permission denied", 126),
            (write("no-interpreter", "#!/no/such/interpreter\n"), "No such file", 127), ("", "No", 127)):
        said = reach(command)
        equal((said["reached"], words(said)), (False, ["cannot-execute"]), command)
        assert why in said["reasons"][0]["text"], said
        equal(berth("run", "-q", "--", command).returncode, status, command)


def reach_as(path, user=NOBODY, before=()):
    run = as_user([own_berth(), "reach", "--json", path], user, before)
    equal(run.stderr, "", "stderr")
    return json.loads(run.stdout)


def events_as(path, user=NOBODY, before=()):
    """Whether a run as that user records an event."""
    with tempfile.TemporaryDirectory(dir=build_folder().name) as folder:
        os.chown(folder, user, user)
        recording = folder + "/recording"
        run = as_user([own_berth(), "run", "-q", "--record", recording, "--", path, *CONNECT], user,
                      before)
        equal(run.returncode, 0, run.stderr)
        return bool(berthtest.log_of(recording))


def agrees(path, reached, *reasons, **how):
    said = reach_as(path, **how)
    equal((said["reached"], words(said)), (reached, list(reasons)), f"{path} {how}")
    equal(events_as(path, **how), reached is not False, f"{path} {how}: events")


def test_setuid():
    """setuid and setgid: not reached, but by who is that user; not where they do not count"""
    need_root()
    setuid, setgid = copy(plain(), "setuid"), copy(plain(), "setgid")
    os.chmod(setuid, 0o4755)
    os.chmod(setgid, 0o2755)
    mark = copy(plain(), "setgid-mark", 0o755)
    os.chmod(mark, 0o2745)
    agrees(setuid, False, "setuid")
    agrees(setgid, False, "setgid")
    says([setuid], True)
    says([setgid], True)
    equal(reach_as(mark)["reached"], True, "setgid without x")
    quiet = need("setpriv")[0], "--no-new-privs"
    agrees(setuid, True, before=quiet)
    other = copy(plain(), "setuid-other")
    os.chown(other, NOBODY, NOBODY)
    os.chmod(other, 0o4755)
    agrees(other, True)
    says([other], False, "setuid")
    script = write("setuid-script", f"#!{plain()} connect 9\n")
    os.chmod(script, 0o4755)
    equal(reach_as(script)["reached"], True, "the bit of a script")


def test_nosuid():
    """on a nosuid mount neither the bit nor capabilities count"""
    need_root()
    folder = place("nosuid")
    os.makedirs(folder, exist_ok=True)
    plain(), own_berth()
    code = f"""
        mount -t tmpfs -o nosuid none {folder} && cp {plain()} {folder}/setuid &&
        chmod 4755 {folder}/setuid && exec {sys.executable} {os.path.abspath(__file__)} --nosuid"""
    run = subprocess.run(["unshare", "-m", "sh", "-c", code], capture_output=True, text=True,
                         env={**os.environ, "BERTH_REACH_FOLDER": build_folder().name})
    equal((run.returncode, run.stdout), (0, "reached\n"), run.stderr)


def nosuid():
    folder = os.environ["BERTH_REACH_FOLDER"]
    run = as_user([folder + "/bin/berth", "reach", folder + "/nosuid/setuid"])
    print(run.stdout.splitlines()[0].rpartition(": ")[2])


def test_capabilities():
    """file capabilities: not reached, but by root; not with none in them"""
    need_root()
    setcap, = need("setcap")
    for name, capabilities, reached in (("caps-e", "cap_net_bind_service+ep", False),
                                        ("caps-p", "cap_net_bind_service+p", False),
                                        ("caps-i", "cap_net_bind_service+i", True)):
        path = copy(plain(), name)
        if subprocess.run([setcap, capabilities, path], capture_output=True).returncode:
            raise Skip("no file capabilities here")
        agrees(path, reached, *([] if reached else ["capabilities"]))
        says([path], True)


def test_execute_only():
    """a program that may be executed and not read: unknown; it runs, and is recorded"""
    need_root()
    agrees(copy(plain(), "execute-only", 0o711), None, "unreadable")
    both = copy(plain(), "execute-only-setuid")
    os.chmod(both, 0o4711)
    equal((reach_as(both)["reached"], words(reach_as(both))),
          (False, ["unreadable", "setuid"]), "setuid too")


def test_binfmt_misc():
    """a format registered with binfmt_misc: unknown, and its name"""
    code = """
        cd /proc/sys/fs/binfmt_misc && mount -t binfmt_misc none . && cd . &&
        cd /proc/sys/fs/binfmt_misc && echo ":$1:M::berth-magic::/bin/true:" >register &&
        echo ":$2:E::berthtest::/bin/true:" >register || exit 77
        shift 2; for file; do "$BERTH" reach --json "$file"; done; exit 0"""
    files = [write("magic", "berth-magic and more"), write("extension.berthtest", "text"),
             write("neither", "text")]
    run = subprocess.run(["unshare", "-rm", "sh", "-c", code, "sh", "by-magic", "by-extension",
                          *files], capture_output=True, text=True, env={**os.environ,
                                                                        "BERTH": BERTH})
    if run.returncode == 77:
        raise Skip("no binfmt_misc of one's own: " + run.stderr.strip())
    first, second, third = [json.loads(line) for line in run.stdout.splitlines()]
    equal([first["reached"], second["reached"], third["reached"]], [None, None, True], "answers")
    assert "by-magic" in first["reasons"][0]["text"], first
    assert "by-extension" in second["reasons"][0]["text"], second


# --- hostile files ---------------------------------------------------------------------------


def test_hostile_files():
    """truncated, changed and huge ELF files: an answer each, no crash"""
    chance = random.Random(7)
    with open(plain(), "rb") as f:
        good = f.read()
    files = [good[:n] for n in (4, 5, 16, 52, 63, 64, 100, 500, 4000, len(good) // 2)]
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(chance.choice((1, 3, 20))):
            bad[chance.randrange(chance.choice((64, 1024, len(bad))))] = chance.randrange(256)
        files.append(bytes(bad))
    for number, content in enumerate(files):
        run = berth("reach", write("hostile", content))
        assert run.returncode in (0, 1, 2) and run.stdout, (number, run)
        equal(run.stderr, "", f"file {number}")
    os.truncate(write("huge", good), 1 << 40)
    equal(berth("reach", place("huge")).returncode, 0, "a sparse file")
    os.mkfifo(place("fifo"), 0o755)
    equal(reach(place("fifo"))["reached"], False, "a FIFO")


# --- processes -------------------------------------------------------------------------------


def test_process():
    """-p: whether a process was reached, by what is mapped, and by which library"""
    with waiting(plain(), BERTH, "run", "-q", "--") as process:
        said = reach("-p", child_of(process))
        equal((said["reached"], words(said)), (True, []), "under berth")
        equal(os.path.realpath(said["library"]), os.path.realpath(LIBBERTH), "library")
    with waiting(plain()) as process:
        said = reach("-p", process.pid)
        equal((said["reached"], words(said), said["executes"]), (False, ["environment"], [plain()]),
              "bare")
    with waiting(static(), BERTH, "run", "-q", "--") as process:
        equal(words(reach("-p", child_of(process))), ["static"], "static")


def test_process_deleted():
    """-p: a library that was replaced since is still the one that is mapped"""
    library = copy(LIBBERTH, "libberth.so")
    with waiting(plain(), "env", "BERTH_RECORD=off", "LD_PRELOAD=" + library) as process:
        wait_for(lambda: os.path.basename(os.readlink(f"/proc/{process.pid}/exe")) == "plain")
        os.unlink(library)
        said = reach("-p", process.pid)
        equal((said["reached"], said["library"]), (True, library + " (deleted)"), "answer")


def test_process_in_vain():
    """-p: a library that the dynamic linker could not load"""
    with waiting(plain(), "env", "LD_PRELOAD=/no/such/libberth.so") as process:
        said = reach("-p", process.pid)
        equal((said["reached"], words(said)), (False, ["load"]), "answer")


def test_process_go():
    """-p: Go has the library, and its calls are not seen"""
    with waiting(go_waits("-buildmode=pie"), BERTH, "run", "-q", "--") as process:
        said = reach("-p", child_of(process))
        equal((said["reached"], words(said)), (False, ["go"]), "answer")


def test_process_secure():
    """-p: a setuid process, seen by root; another user may not look"""
    need_root()
    path = copy(plain(), "setuid-process")
    os.chmod(path, 0o4755)
    with waiting(path, "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                 own_berth(), "run", "--exec", "--") as process:
        equal(words(reach("-p", process.pid)), ["secure"], "root's answer")
        run = as_user([own_berth(), "reach", "-p", str(process.pid)])
        equal(run.returncode, 2, run.stdout)
        assert "may not be looked into" in run.stdout, run.stdout


def test_no_process():
    """-p: no such process, a zombie, no pid: exit 2 and why"""
    with started(["true"]) as process:
        wait_for(lambda: os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT))
        for pid in process.pid, 2 ** 22 + 1, "x", 0:
            run = berth("reach", "-p", pid)
            equal((run.returncode, run.stdout), (2, ""), f"{pid}")
            assert f"{pid}" in run.stderr, run.stderr


def test_usage():
    """no operand, or both: exit 2"""
    for arguments in [], ["-p", "1", "true"], ["--jsno", "true"]:
        run = berth("reach", *arguments)
        equal((run.returncode, run.stdout), (2, ""), f"{arguments}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--nosuid"]:
        nosuid()
    else:
        berthtest.main()
