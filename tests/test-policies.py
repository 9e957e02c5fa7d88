# SPDX-License-Identifier: MIT
"""Policies good and bad (tests/policies): what `berth check` says of them, that `berth compile`
makes images that mean the same, and that the JSON Schema and the parser agree.

good/X.json is printed as good/X.expected. bad/X.json has the problems in bad/X.expected, a line
each, without the file. schema-*.json is refused by the schema too, at the same places;
meaning-*.json by the parser alone; syntax-*.json is no JSON.
"""
import contextlib
import glob
import json
import os
import resource
import stat
import subprocess
import tempfile
import threading

import berthtest
from berthtest import PATIENCE, Skip, berth, equal, fresh_namespace, json_lines, sysctl

HERE = os.path.join(os.environ.get("srcdir", "."), "tests", "policies")
SCHEMA = os.path.join(os.environ.get("srcdir", "."), "policy", "policy.schema.json")


def policies(pattern):
    found = sorted(glob.glob(os.path.join(HERE, pattern + ".json")))
    assert found, pattern
    return found


def expected(path):
    with open(path[:-len(".json")] + ".expected", encoding="utf-8") as f:
        return f.read()


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


@contextlib.contextmanager
def written(content):
    """A file that holds this policy, bytes, text, or a value to be written as JSON."""
    if not isinstance(content, (bytes, str)):
        content = json.dumps(content)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "policy")
        with open(path, "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        yield path


def problems(content, timeout=PATIENCE):
    """The lines that berth check refuses this policy with."""
    with written(content) as path:
        done = berth("check", path, timeout=timeout)
        equal((done.returncode, done.stdout), (1, ""), done.stderr[:500])
        return [line.removeprefix(path + ":") for line in done.stderr.splitlines()]


# --- berth check ----------------------------------------------------------------------------

def checked(path, want):
    """berth check prints this; at most it warns of rules that others leave nothing to, and of ports
    below 1024."""
    done = berth("check", path)
    equal((done.returncode, done.stdout), (0, want), path)
    for line in done.stderr.splitlines():
        assert ": warning: never reached: " in line or " below 1024 " in line, line


def test_good():
    """each good policy: printed as expected, exit 0"""
    for path in policies("good/*"):
        checked(path, expected(path))


def test_bad():
    """each bad policy: all its problems and nothing else, exit 1"""
    for path in policies("bad/*"):
        done = berth("check", path)
        want = "".join(f"{path}:{line}\n" for line in expected(path).splitlines())
        equal((done.returncode, done.stdout, done.stderr), (1, "", want), path)


def test_many_rules():
    """100,000 rules are one problem, 4,096 are none"""
    equal(problems({"version": 1, "rules": [{"tries": 0}] * 100000}),
          [" /rules: 100000 rules, and a policy has up to 4096"])
    with written({"version": 1, "rules": [{"match": {"to": "*"}}] * 4096}) as path:
        done = berth("check", path)
        equal((done.returncode, done.stderr), (0, ""))
        equal(done.stdout.count("rule rule-"), 4096)


def test_many_problems():
    """of 5,000 problems 100 are told, and how many more there are"""
    lines = problems({"version": 1, "rules": [{"local_ports": [0] * 5000}]})
    equal((len(lines), lines[99].split(": ")[0], lines[100]),
          (101, " /rules/0/local_ports/99", " and 4900 more"))


def test_nesting():
    """10,000 levels of nesting are refused where they become too deep"""
    for opening in ("[", '{"a":'):
        lines = problems(opening * 10000)
        equal((len(lines), lines[0].split(": ")[1]), (1, "nested too deeply"))


def test_large():
    """more than 4 MiB of JSON, or 16 MiB compiled, is refused"""
    equal(problems(" " * ((4 << 20) + 1)),
          ["1:1: more than the 4194304 bytes that a policy may have"])
    equal(problems(os.urandom(8 << 20)),
          ["1:1: more than the 4194304 bytes that a policy may have"])
    many = {"version": 1, "rules": [{"match": {"to": ["*"] * 800000}}]}
    lines = problems(json.dumps(many, separators=(",", ":")))
    assert lines[0].endswith(" bytes when compiled, and a policy has up to 16777216"), lines
    key = problems('{"version": 1, "late_bind": "a", "%s": 1}' % ("k" * 1000000))
    equal(len(key), 1)
    assert len(key[0]) < 500 and key[0].startswith(" /" + "k" * 64 + "..."), key


def test_unreadable():
    """what cannot be read: a complaint, exit 2; so do wrong operands"""
    with tempfile.TemporaryDirectory() as folder:
        for path, why in ((folder, "Is a directory"), (folder + "/none", "No such file")):
            done = berth("check", path)
            equal((done.returncode, done.stdout), (2, ""))
            assert done.stderr.startswith(f"berth: check: {path}: {why}"), done.stderr
    for arguments in ((), ("a", "b")):
        done = berth("check", *arguments)
        equal((done.returncode, done.stderr), (2, "berth: check: needs one operand, a policy\n"))


def test_pipe():
    """a policy may come from a pipe"""
    path = policies("good/every-key")[0]
    with open(path) as f:
        done = berth("check", "/dev/stdin", input=f.read())
    equal((done.returncode, done.stdout), (0, expected(path)))


def test_full_output():
    """a rule that could not be printed is a failure"""
    with open("/dev/full", "w") as full:
        command = [berthtest.BERTH, "check", policies("good/every-key")[0]]
        done = subprocess.run(command, stdout=full)
    equal(done.returncode, 2)


def test_unreached():
    """rules that earlier ones leave nothing to are a warning"""
    rules = [{"match": {"to": "*"}}, {"match": {"transport": "tcp"}}, {"match": {"program": "a"}},
             {"match": {"transport": "tcp", "to": "*:1"}}, {"match": {"transport": "udp"}},
             {"match": {"program": "b"}}, {}]
    with written({"version": 1, "rules": rules}) as path:
        done = berth("check", path)
        want = [f"{path}: /rules/{n}: warning: never reached: /rules/{by} takes the rest"
                for n, by in ((3, 1), (5, 4), (6, 4))]
        equal((done.returncode, done.stderr.splitlines()), (0, want))


def test_missing_addresses():
    """addresses that this machine cannot send from are a warning"""
    addresses = ["127.0.0.1", "203.0.113.7", "203.0.113.8/29", "2001:db8::1"]
    with written({"version": 1, "rules": [{"local_addresses": addresses}]}) as path:
        done = berth("check", path)
        equal(done.returncode, 0)
        want = (f"{path}: /rules/0/local_addresses: warning: this machine cannot send from 10 of "
                "11; the first is 203.0.113.7: Cannot assign requested address\n")
        equal(done.stderr, want)


def test_privileged_ports():
    """ports for which bind(2) asks for a capability are a warning"""
    fresh_namespace()
    text = (" (net.ipv4.ip_unprivileged_port_start): bind(2) gives them to programs with "
            "CAP_NET_BIND_SERVICE alone\n")
    for ports, via, start, count in (["600-603", 601], "auto", 1024, 4), ("600", "bind", 1024, 1), \
            ("1020-1030", "auto", 1024, 4), ("600-603", "auto", 602, 2), \
            ("600-603", "bind", 0, 0), ("1024-1030", "bind", 1024, 0):
        sysctl("ipv4.ip_unprivileged_port_start", str(start))
        with written({"version": 1, "rules": [{"local_ports": ports, "via": via}]}) as path:
            done = berth("check", path)
            are = "is" if count == 1 else "are"
            want = f"{path}: /rules/0/local_ports: warning: {count} of its ports {are} below {start}{text}" if count else ""
            equal((done.returncode, done.stderr), (0, want), f"{ports} {via} {start}")


# --- berth compile --------------------------------------------------------------------------

def test_images():
    """each good policy compiled means the same, and so does its image compiled"""
    with tempfile.TemporaryDirectory() as folder:
        first, second = folder + "/first", folder + "/second"
        for path in policies("good/*"):
            equal(berth("compile", path, "-o", first).returncode, 0, path)
            equal(berth("compile", "-o", second, first).returncode, 0, path)
            checked(second, expected(path))
            with open(first, "rb") as f, open(second, "rb") as g:
                equal(f.read(), g.read())


def test_compile_bad():
    """a bad policy: check's lines, exit 1, nothing written"""
    path = policies("bad/meaning-host-bits")[0]
    with tempfile.TemporaryDirectory() as folder:
        done = berth("compile", path, "-o", folder + "/image")
        equal((done.returncode, done.stderr), (1, berth("check", path).stderr))
        equal(os.listdir(folder), [])


def test_broken_images():
    """an image that was cut, changed, or is of another version: what it is, exit 1"""
    with tempfile.TemporaryDirectory() as folder:
        berth("compile", policies("good/every-key")[0], "-o", folder + "/image")
        with open(folder + "/image", "rb") as f:
            image = f.read()
    for broken, words in ((image[:7], "cut short"), (image[:60], "cut short"),
                          (image[:-1], "cut short"), (image + b"\0", "more of it"),
                          (image[:-1] + b"x", "checksum"), (b"berthpo2" + image[8:], "version"),
                          (b"berth001" + image[8:], "recording"),
                          (image[:8] + image[11:7:-1] + image[12:], "byte order"),
                          (image + bytes(17 << 20), "16 MiB")):
        lines = problems(broken)
        assert len(lines) == 1 and words in lines[0], (words, lines)


def compile_into(output, **options):
    return berth("compile", policies("good/every-key")[0], "-o", output, **options)


def test_output():
    """the image has the umask's mode, and replaces what was there, also behind a symbolic link"""
    with tempfile.TemporaryDirectory() as folder:
        image, link = folder + "/image", folder + "/link"
        with open(image, "w") as old:
            os.chmod(image, 0o600)
            os.symlink("image", link)
            equal(compile_into(link, umask=0o027).returncode, 0)
            assert os.path.islink(link) and os.fstat(old.fileno()).st_nlink == 0
        equal(stat.S_IMODE(os.stat(image).st_mode), 0o640)
        equal(sorted(os.listdir(folder)), ["image", "link"])
        equal(berth("check", link).returncode, 0)
        done = berth("compile", policies("good/every-key")[0], "-o", "here", cwd=folder)
        equal((done.returncode, os.path.exists(folder + "/here")), (0, True), done.stderr)


def test_output_in_use():
    """whoever reads the image while it is replaced reads a whole one"""
    with tempfile.TemporaryDirectory() as folder:
        image = folder + "/image"
        compile_into(image)
        done = threading.Event()

        def replace():
            for _ in range(100):
                compile_into(image)
            done.set()

        writer = threading.Thread(target=replace)
        writer.start()
        while not done.is_set():
            equal(berth("check", image).returncode, 0)
        writer.join()
        equal(os.listdir(folder), ["image"])


def test_no_output():
    """where no image can be written: a complaint, exit 2, the old one kept, nothing left"""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    with tempfile.TemporaryDirectory() as folder:
        image = folder + "/image"
        compile_into(image)
        with open(image, "rb") as f:
            before = f.read()
        for output, options in ((folder, {}), (folder + "/none/image", {}), ("/dev/null", {}),
                                ("", {}), (folder + "/" + "x" * 300, {}), (image + "/x", {}),
                                (image, {"preexec_fn": limit})):
            done = compile_into(output, **options)
            equal((done.returncode, done.stdout), (2, ""), output)
            assert done.stderr.startswith(f"berth: compile: {output}: "), done.stderr
        equal(os.listdir(folder), ["image"])
        with open(image, "rb") as f:
            equal(f.read(), before)
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_compile_usage():
    """wrong operands and options of compile: exit 2"""
    for arguments, words in (((), "needs one operand"), (("-o", "x"), "needs one operand"),
                             (("x",), "needs -o"), (("a", "b", "-o", "x"), "no other"),
                             (("x", "-o"), "--output needs a value"),
                             (("x", "--otput", "y"), "--output"), (("none", "-o", "x"), "none: ")):
        done = berth("compile", *arguments)
        equal((done.returncode, done.stdout), (2, ""))
        assert done.stderr.startswith("berth: compile: ") and words in done.stderr, done.stderr
    done = berth("compile", "x", "-h")
    equal((done.returncode, done.stdout[:6]), (0, "Usage:"))


# --- the schema -----------------------------------------------------------------------------

def validator():
    try:
        import jsonschema
    except ImportError as e:
        raise Skip("no jsonschema (python3-jsonschema)") from e
    if not hasattr(jsonschema, "Draft202012Validator"):
        raise Skip("jsonschema does not know draft 2020-12")
    schema = load(SCHEMA)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def places(errors):
    """Where the schema finds something wrong, as JSON Pointers."""
    found = set()
    for e in errors:
        path = [str(p).replace("~", "~0").replace("/", "~1") for p in e.absolute_path]
        found.add("".join("/" + p for p in path))
        found |= places(e.context)
    return found


def test_schema_good():
    """the schema takes each good policy, and what is wrong in meaning alone"""
    schema = validator()
    for path in policies("good/*") + policies("bad/meaning-*"):
        equal([e.message for e in schema.iter_errors(load(path))], [], path)


def test_schema_bad():
    """the schema refuses what the parser does, at the same places"""
    schema = validator()
    for path in policies("bad/schema-*"):
        found = places(schema.iter_errors(load(path)))
        for line in expected(path).splitlines():
            pointer = line[1:].split(": ")[0] if line[0] == " " else ""
            parent = pointer.rpartition("/")[0]  # of a key unknown or missing
            at = parent if ": unknown key" in line or ": missing" in line else pointer
            assert at in found, f"{path}: {line}"


def test_explain_missing_addresses():
    """explain: addresses that this machine lacks are said, and counted in JSON"""
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/policy.json"
        with open(path, "w") as f:
            json.dump({"version": 1, "rules": [
                {"name": "a", "match": {"to": "127.0.0.1:1"}, "local_addresses": ["127.0.0.9"]},
                {"name": "b", "local_addresses": ["127.0.0.2", "10.9.9.9"]}]}, f)
        for port, missing in (1, 0), (2, 1):
            text = berth("explain", "-P", path, f"127.0.0.1:{port}").stdout
            equal("this machine cannot send from 1 of 2; the first is 10.9.9.9: Cannot assign" in text,
                  missing == 1, text)
            out, = json_lines(berth("explain", "-P", path, "--json", f"127.0.0.1:{port}").stdout)
            equal(out["addresses_missing"], missing)


if __name__ == "__main__":
    berthtest.main()
