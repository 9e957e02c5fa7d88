# SPDX-License-Identifier: MIT
"""Arguments, variables and policies that are drawn from a number, of each subcommand as its -h lists
them: never a crash, a hang, success for what cannot be meant, a message that does not say what was
wrong, or an element of a list that is lost.

`make check` draws some hundred. ARGUMENTS in the environment says how many of each kind."""
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import unicodedata

import berthtest
from berthtest import BERTH, LIBBERTH, Server, berth, equal, log_of, program

MANY = int(os.environ.get("ARGUMENTS", "120"))
PATIENCE = 60  # seconds: what takes longer hangs

# What each may end with: success, what it says "no" by, wrong use.
STATUSES = {"run": {0, 125, 126, 127}, "log": {0, 2}, "stats": {0, 2}, "check": {0, 1, 2},
            "compile": {0, 1, 2}, "explain": {0, 1, 2}, "env": {0, 2}, "doctor": {0, 1, 2},
            "reach": {0, 1, 2}, "simulate": {0, 2}}
WRONG = {verb: 125 if verb == "run" else 2 for verb in STATUSES}

# No option takes one of these, but for those that take any text.
GARBAGE = ["", " ", "-", "-1", "+1", "0x10", "1e3", "1,,2", ",", "1-2-3", "2-1x", "99999999999999999999",
           "xyzzy", "1;2", "[::1", "1.2.3.4.5", "nan", "inf", "\u00e9", "\x1b[2J", "%s%n", "A" * 3000,
           "*:0x1", "10.0.0.0/33", "::/129", "::1%lo%lo"]
FILES = {(verb, "--policy") for verb in ("run", "explain", "env")}
ANY_TEXT = FILES | {("run", "--output"), ("run", "--record"), ("env", "--record"), ("env", "--log"),
                    ("explain", "--program"), ("compile", "--output"), ("simulate", "--svg")}
REAL = {"1e3", "+1", "0x10"}  # strtod(3) takes them
TAKES = {("simulate", "--rate"): REAL, ("simulate", "--lifetime"): REAL,
         ("simulate", "--time-wait"): REAL, ("doctor", "--interval"): REAL,
         ("doctor", "--threshold"): REAL, ("simulate", "--seed"): {"+1", "0x10"},
         ("simulate", "--offset"): {"+1", "0x10"}, ("simulate", "--reserved"): {""},
         ("simulate", "--held"): {""}}


def options(verb):
    """{option: whether it takes a value}, as -h says."""
    found = {}
    for line in berth(verb, "-h").stdout.splitlines():
        m = re.match(r"  (?:-(?P<short>\w), |    )?(?P<long>--[a-z-]+)?(?P<value> ?\[?=?[A-Z][A-Z:\[]\S*"
                     r"| [A-Z]\b| client\|server| 0\|1\|2)?", line)
        m = m if m and (m["short"] or m["long"]) else re.match(r"  -(?P<short>\w)(?P<long>)(?P<value>)", line)
        if m:
            found[m["long"] or "-" + m["short"]] = bool(m["value"])
    return found


class Place:
    """A folder with what arguments may name; commands run in it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp()
        with open(self.path("good.json"), "w") as f:
            json.dump({"version": 1, "rules": [{"name": "r", "local_ports": "41000-41099"}]}, f)
        with open(self.path("bad.json"), "w") as f:
            f.write('{"version": 1, "rules": [{"local_ports": "x"}]}')
        with open(self.path("text"), "w") as f:
            f.write("no recording\n")
        os.mkdir(self.path("folder"))
        self.run("compile", "good.json", "-o", "good.image")
        self.run("run", "-q", "--record", "good.berth", "--", *program("socket().connect_ex(('', 9))"))

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *arguments, **more):
        return subprocess.run([os.fsencode(word) for word in (BERTH, *arguments)], cwd=self.folder,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE,
                              **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)


def check_text(text, what):
    """Of a terminal's cursor nothing is moved, and each line is whole."""
    text = text.decode("utf-8")
    for c in text:
        assert c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"), (what, text[:300])
    assert not text or text.endswith("\n"), (what, text[-300:])


def sound(verb, arguments, done):
    """What holds for each command line."""
    what = f"berth {verb} {arguments!r}: {done.returncode} {done.stderr[:300]!r}"
    assert done.returncode in STATUSES[verb], what
    check_text(done.stdout, what)
    check_text(done.stderr, what)
    if done.returncode == WRONG[verb]:
        assert re.match(rb"berth: %b: .{4,}" % verb.encode(), done.stderr), what
    return what


# --- one argument is wrong -----------------------------------------------------------------------

# What a command line has besides, so that all else is right.
REST = {"run": ["--", "true"], "check": ["good.json"], "compile": ["good.json", "-o", "new.image"],
        "explain": ["-P", "good.json", "127.0.0.1:80"], "log": ["good.berth"], "stats": ["good.berth"],
        "reach": ["true"], "simulate": [], "doctor": [], "env": []}


def refuses(place, verb, option, garbage, shorts):
    done = place.run(verb, option, garbage, *REST[verb])
    what = sound(verb, [option, garbage], done)
    assert done.returncode == WRONG[verb], what
    equal(done.stdout, b"", what)
    said = done.stderr.decode()
    shown = garbage if garbage.isprintable() and 2 < len(garbage) < 50 else None
    assert any(s in said for s in (option, shorts.get(option), shown) if s), what


def test_each_option():
    """each option with a value refuses what it cannot mean, and says which option or what"""
    count, wrong = 0, []
    with Place() as place:
        for verb in STATUSES:
            shorts = dict(re.findall(r"(?m)^  (-\w), (--[a-z-]+)", berth(verb, "-h").stdout))
            shorts = {long: short for short, long in shorts.items()}
            for option, takes in options(verb).items():
                for garbage in GARBAGE if takes and (verb, option) not in ANY_TEXT else ():
                    if garbage in TAKES.get((verb, option), ()):
                        continue
                    count += 1
                    try:
                        refuses(place, verb, option, garbage, shorts)
                    except AssertionError as e:
                        wrong.append(str(e))
    for line in wrong:
        print("#", line[:300])
    print(f"# {count} command lines")
    assert count > 700 and not wrong, len(wrong)


def test_each_file():
    """a policy that is not there is named"""
    with Place() as place:
        for verb, option in sorted(FILES):
            for garbage in GARBAGE[1:]:
                words = [option, garbage, "tcp", "127.0.0.1:80"] if verb == "explain" else \
                        [option, garbage, *REST[verb]]
                done = place.run(verb, *words)
                what = sound(verb, words, done)
                assert done.returncode == WRONG[verb], what
                if garbage.isprintable() and len(garbage) < 50:
                    assert f"berth: {verb}: {garbage}: " in done.stderr.decode(), what


def test_each_flag():
    """each option without a value refuses one; each verb refuses what it takes no operand for"""
    with Place() as place:
        for verb in STATUSES:
            for option, takes in options(verb).items():
                if not takes and option.startswith("--") and option != "--trace":
                    done = place.run(verb, f"{option}=xyzzy", *REST[verb])
                    what = sound(verb, [f"{option}=xyzzy"], done)
                    assert done.returncode == WRONG[verb] and option in done.stderr.decode(), what
        for verb in "check", "compile", "explain", "doctor", "env", "simulate":
            done = place.run(verb, *REST[verb], "xyzzy")
            what = sound(verb, [*REST[verb], "xyzzy"], done)
            assert done.returncode == WRONG[verb], what
            assert re.search("'xyzzy'|xyzzy: |operand|neither tcp nor udp", done.stderr.decode()), what


# --- all of it by chance -------------------------------------------------------------------------

VALUES = [*GARBAGE, "0", "1", "80", "65535", "65536", "1-", "41000-41099", "127.0.0.1", "::1", "*", "*:80",
          "[::1]:80", "127.0.0.1:9", "10.0.0.0/8", "a:b", "tcp", "udp", "kernel", "random", "hash",
          "least-recent", "fail", "bind", "range", "auto", "8:3", "8:8", "0:0", "linux-6.8", "list",
          "linux-4.6", "client", "2", "0.5", "good.json", "bad.json", "good.image", "good.berth", "text",
          "folder", "missing", "/dev/null", "/", "true", "--", "--xyzzy", "-x", "-", "1" * 400]
# What would go on for ever, wait, or write where the drawing says.
LEFT_OUT = {"--follow", "--interval", "--help", "--version", "--output", "--record", "--svg", "-f"}


def draw(chance, verb):
    known = options(verb)
    words = []
    for _ in range(chance.randint(1, 6)):
        option = chance.choice(sorted(known.keys() - LEFT_OUT))
        words.append(option if chance.random() < 0.6 else chance.choice(VALUES))
        if words[-1] in known and known[words[-1]]:
            words.append(chance.choice(VALUES))
    return words + (["--", "true"] if verb == "run" else [])


def test_by_chance():
    """command lines by chance: an end, a status of the manual's, text for a terminal, a reason"""
    with Place() as place:
        for verb in STATUSES.keys() - {"check", "compile"}:  # which have no option but -o
            chance = random.Random(f"{verb} {MANY}")
            for _ in range(MANY // 4):
                words = draw(chance, verb)
                if not any("\0" in word for word in words):
                    sound(verb, words, place.run(verb, *words))


# --- variables -----------------------------------------------------------------------------------

VARIABLES = {
    "BERTH_RECORD": ["", "off", "/dev/null", "/nowhere/at/all", "text", "folder", "x" * 5000,
                     "\x1b[2J", "good.berth"],
    "BERTH_EVENTS": ["", "16", "64", *GARBAGE[1:16], "15", "16777217", "64k"],
    "BERTH_LOG": ["", "stderr", "STDERR", "/nowhere/at/all", "folder", "/dev/full", "\x1b[3J", "x" * 5000],
    "BERTH_LOG_ONLY": ["", "failed", "all", "Failed", "xyzzy", "\x1b[2J", "failed "],
    "BERTH_VERBOSE": ["", "1", "0", "yes", "2", "xyzzy"],
    "BERTH_STRICT": ["", "1", "0", "yes", "xyzzy", "01"],
    "BERTH_POLICY": ["", "good.json", "good.image", "bad.json", "text", "folder", "/nowhere/at/all", "image:",
                     "image:xyzzy", "/dev/zero", "\x1b[2J", "x" * 5000, "//good.json"],
    "BERTH_FILTERS": ["", "pass", "xyzzy", "00-0000000000000000-00000000", "0" * 5000,
                      "ff-ffffffffffffffff-ffffffff"],
}
# What will do: any name of a file is one, and a line that does not fit into a log is dropped.
GOOD = {"BERTH_RECORD": {"", "off", "folder", "good.berth", "\x1b[2J"}, "BERTH_EVENTS": {"", "16", "64"},
        "BERTH_LOG": {"", "stderr", "STDERR", "\x1b[3J", "/dev/full"}, "BERTH_LOG_ONLY": {"", "failed"},
        "BERTH_VERBOSE": {"", "1", "0"}, "BERTH_STRICT": {"", "1", "0"},
        "BERTH_POLICY": {"", "good.json", "good.image"},
        "BERTH_FILTERS": set(VARIABLES["BERTH_FILTERS"])}
CALLS = """
    for kind in SOCK_STREAM, SOCK_DGRAM:
        s = socket(AF_INET, kind)
        try:
            s.connect(('127.0.0.1', int(sys.argv[1])))
            print('ok')
        except OSError as e:
            print(e.errno)
"""


def with_variables(place, port, variables):
    environment = {**os.environ, "LD_PRELOAD": LIBBERTH, **variables}
    environment.setdefault("BERTH_RECORD", "off")
    return subprocess.run(program(CALLS, port), cwd=place.folder, env=environment, capture_output=True,
                          timeout=PATIENCE)


def test_each_variable():
    """each variable: what cannot be honoured is a line that names it, and changes nothing"""
    wrong = []
    with Server() as server, Place() as place:
        for name, values in VARIABLES.items():
            for value in values:
                more = {"BERTH_LOG": "stderr"} if name == "BERTH_LOG_ONLY" else {}
                more |= {"BERTH_RECORD": "folder"} if name == "BERTH_EVENTS" else {}
                done = with_variables(place, server.port, {**more, name: value})
                what = f"{name}={value[:50]!r}: {done}"
                equal((done.returncode, done.stdout), (0, b"ok\nok\n"), what)
                check_text(done.stderr, what)
                said = [line for line in done.stderr.decode().splitlines()
                        if line.startswith("berth: ")]
                wanted = [] if value in GOOD[name] else [True]
                if [line.startswith(f"berth: {name}: ") for line in said] != wanted:
                    wrong.append(f"{name}={value[:50]!r}: {said}")
    equal(wrong, [])


def test_variables_by_chance():
    """several at once: the program does the same"""
    chance = random.Random(MANY)
    with Server() as server, Place() as place:
        for _ in range(MANY // 2):
            chosen = {name: chance.choice(values) for name, values in VARIABLES.items()
                      if chance.random() < 0.4}
            done = with_variables(place, server.port, chosen)
            refused = chosen.get("BERTH_STRICT") == "1"  # without a policy that loads
            assert done.returncode == 0, (chosen, done)
            assert refused or done.stdout == b"ok\nok\n", (chosen, done)
            check_text(done.stderr, chosen)


# --- policies ------------------------------------------------------------------------------------

def draw_ports(chance, size):
    """So many that do not touch, in order."""
    return sorted(chance.sample(range(1024, 65535, 2), size))


def draw_policy(chance):
    """A good one, and the lists of its only rule as `berth check` prints them."""
    many = chance.choice([1, 2, 63, 64, 65, 66, 127, 128, 129, 255, 256, 257, 500])
    to = [f"10.{i >> 8}.{i & 255}.1:{chance.randint(1, 65535)}" for i in range(many)]
    programs = [f"program-{i}" for i in range(chance.choice([1, 64, 65, 300]))]
    ports = draw_ports(chance, chance.choice([1, 64, 65, 257, 1000]))
    addresses = [f"127.9.{i >> 8}.{i & 255}" for i in range(1, 2 * chance.choice([1, 64, 65, 400]), 2)]
    rule = {"name": "drawn", "match": {"to": to, "program": programs}, "local_ports": ports,
            "local_addresses": addresses}
    said = {"to": to, "program": programs, "local ports": [str(p) for p in ports],
            "local addresses": addresses}
    return {"version": 1, "rules": [rule], "late_bind": programs}, said


def test_lists_are_whole():
    """no element of a list is lost, however many there are: `berth check` says all"""
    chance = random.Random(MANY)
    with Place() as place:
        for _ in range(MANY // 6):
            policy, said = draw_policy(chance)
            with open(place.path("drawn.json"), "w") as f:
                json.dump(policy, f)
            checked = place.run("check", "drawn.json")
            equal((checked.returncode, checked.stderr), (0, b""), "check")
            place.run("compile", "drawn.json", "-o", "drawn.image", check=True)
            equal(place.run("check", "drawn.image").stdout, checked.stdout, "what the image says")
            lines = dict(re.findall(r"(?m)^ *(to|program|local ports|local addresses|late bind) +(.*)$",
                                    checked.stdout.decode()))
            lines["local addresses"] = re.sub(r" \(.*", "", lines["local addresses"])
            for key, wanted in {**said, "late bind": said["program"]}.items():
                equal(lines[key].split(", "), wanted, key)


def mutate(chance, value):
    """One thing in it is another."""
    odd = [None, True, -1, 0, 1.5, 65536, 2 ** 70, "", "x", "1-", "\x1b[2J", "\u202e", [], {}, [[]],
           {"x": 1}, "A" * 5000, ["1", 2], "*", "1-65535"]
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(sorted(value))
        if chance.random() < 0.15:
            return {**value, chance.choice(["xyzzy", key + "s", key.upper(), ""]): value[key]}
        if chance.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: mutate(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.8:
        i = chance.randrange(len(value))
        return value[:i] + [mutate(chance, value[i])] + value[i + 1:]
    return chance.choice(odd)


BASE = {"version": 1, "late_bind": ["a", "b*"], "rules": [
    {"name": "one", "description": "text", "match": {"transport": "tcp", "to": ["10.0.0.0/8:80", "*:81-82"],
                                                     "program": ["a", "b*"]},
     "local_addresses": ["10.1.0.5", "10.1.0.16/28"], "local_ports": ["49152-65535", 40001],
     "except": ["50000-50010"], "mod": {"of": 8, "is": 3}, "order": "random", "via": "auto", "tries": 64,
     "rest": 120, "exhausted": "fail"}, {"match": {"to": "127.0.0.0/8"}}]}


def test_policies_by_chance():
    """a policy with something wrong in it: a line that says where, from each command that takes one"""
    chance = random.Random(MANY)
    refused = 0
    with Place() as place:
        for _ in range(MANY):
            drawn = mutate(chance, BASE)
            for _ in range(chance.choice([0, 0, 1, 3])):
                drawn = mutate(chance, drawn)
            with open(place.path("drawn.json"), "w") as f:
                json.dump(drawn, f)
            checked = place.run("check", "drawn.json")
            compiled = place.run("compile", "drawn.json", "-o", "drawn.image")
            what = sound("check", drawn, checked)
            sound("compile", drawn, compiled)
            equal(checked.returncode == 0, compiled.returncode == 0, what)
            if checked.returncode:
                refused += 1
                assert re.match(rb"drawn\.json:(\d+:\d+:)? .{8,}", checked.stderr), what
    print(f"# {refused} of {MANY} refused")
    assert MANY / 2 < refused < MANY


if __name__ == "__main__":
    berthtest.main()
