# SPDX-License-Identifier: MIT
"""Sequences of socket calls that are drawn from a number (tests/programs/sequences.c), made without
berth, observed, and steered in each way: what the calls return, and what the sockets' names are, is
the same, but for what berth-policy(5) says.

`make check` makes some hundred sequences. In the environment, SEQUENCES is how many each way has,
SEQUENCES_FROM the first number, and SEQUENCES_LENGTH how many calls each has."""
import collections
import concurrent.futures
import contextlib
import itertools
import json
import os
import re
import subprocess
import tempfile

import berthtest
from berthtest import LIBBERTH, PROGRAMS, berth, takes_range

FROM = int(os.environ.get("SEQUENCES_FROM", "1"))
SEQUENCES = int(os.environ.get("SEQUENCES", "100"))
LENGTH = int(os.environ.get("SEQUENCES_LENGTH", "40"))
SECONDS = berthtest.PATIENCE
AGAIN = 3  # a difference that chance has made is not there each time

RANGE = {"local_ports": "41000-41499", "via": "range"}
BIND = {"local_ports": "20000-20499", "via": "bind"}
POOL = {"local_addresses": ["127.0.0.7", "127.0.0.8", "::1"]}
WAYS = {
    "observed": None,
    "range": [RANGE],
    "bind": [BIND],
    "both": [{"local_ports": ["20000-20099", "41000-41099"]}],
    "pool": [{**RANGE, **POOL}],
    "pool by bind": [{**BIND, **POOL}],
    "rest": [{**RANGE, "order": "least-recent", "rest": 60}],
    "some": [{"match": {"to": "127.0.0.2"}}, {**BIND, "match": {"to": "*:9001-9004"}}, RANGE],
    "few": [{"local_ports": "41000-41003", "exhausted": "kernel"}],
    "strict": [RANGE],
    "late": [RANGE],
}
# Where the kernel refuses IP_LOCAL_PORT_RANGE to MPTCP, a rule by range alone has no port for it.
MPTCP = [] if takes_range(berthtest.MPTCP) else ["WITHOUT_MPTCP=1"]
BOUND = range(20000, 20500)  # ports that a rule gives by bind
GIVEN = range(41000, 41500)  # by range
excused = collections.Counter()
if "WAYS" in os.environ:
    WAYS = {way: WAYS[way] for way in os.environ["WAYS"].split(",")}


def set_up(folder):
    """What each way has in the environment."""
    settings = {None: []}
    for number, (way, rules) in enumerate(WAYS.items()):
        settings[way] = [f"LD_PRELOAD={LIBBERTH}"]
        if way == "strict":
            settings[way].append("BERTH_STRICT=1")
        if rules:
            named = [{"name": f"rule-{i}", **rule} for i, rule in enumerate(rules)]
            late = {"late_bind": ["sequences"]} if way == "late" else {}
            with open(f"{folder}/{number}.json", "w") as f:
                json.dump({"version": 1, "rules": named, **late}, f)
            berth("compile", f.name, "-o", f"{folder}/{number}.image", check=True)
            settings[way].append(f"BERTH_POLICY={folder}/{number}.image")
    return settings


def make(setting, first, count=1, steps=()):
    """The lines of so many sequences, a list each."""
    with tempfile.TemporaryDirectory() as record:
        command = [f"{PROGRAMS}/served", first, count, SECONDS, "env", *MPTCP, *setting,
                   f"BERTH_RECORD={record}", f"{PROGRAMS}/sequences", "@", LENGTH, *steps]
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    made, lines = [], []
    for line in done.stdout.splitlines():
        lines.append(line)
        if line.startswith("ends: "):
            made.append(lines)
            lines = []
    return made


# A line of the program `sequences`. The numbers behind the tab are the ports of letters.
LINE = re.compile(r"(?P<step>\d+) \[\d\] (?:#(?P<socket>\d+) )?"
                  r"(?P<manner>raw |thread: |handler: |fork: |vfork: )?(?P<said>.*?)"
                  r"(?: name (?P<name>.*?))?(?:\t(?P<numbers>.*))?")
PORT = re.compile(r":([A-Z])$")
SOURCE = re.compile(r"(\[(::|::1|::ffff:127\.0\.0\.[178]|::ffff:192\.0\.2\.1)\]|0\.0\.0\.0|"
                    r"127\.0\.0\.[178]|192\.0\.2\.1)(?=:[A-Z0]$)")


class Line:
    def __init__(self, text):
        m = LINE.fullmatch(text)
        self.socket = m and m["socket"]
        self.said = m["said"] if m else text.split("\t")[0]
        self.name = m["name"] if m else None
        self.hooked = bool(m) and m["manner"] != "raw "
        self.apart = bool(m) and m["manner"] in ("fork: ", "vfork: ")  # in another process
        self.step = int(m["step"]) if m else None
        port = PORT.search(self.name or "")
        self.port = port and port[1]
        self.number = int(m["numbers"].split()[-1]) if port else None
        self.call, _, result = self.said.partition(" = ")
        self.result = result.split(" ")[0]

    def without_source(self):
        if self.name:
            self.name = SOURCE.sub("*", self.name)
        if self.call == "getsockname":
            self.said = SOURCE.sub("*", self.said)
        return self

    def without_letter(self):
        """Few ports come again."""
        if self.port:
            self.name = PORT.sub(":A", self.name)
            self.said = PORT.sub(":A", self.said) if self.call == "getsockname" else self.said
            self.port = "A"
        return self

    def same(self, other):
        return (self.socket, self.said, self.name) == (other.socket, other.said, other.name)


class Excuses:
    """What berth-policy(5) says of sockets that were steered. `got` is known up to the line that is
    asked about."""

    def __init__(self, way):
        self.way = way
        self.given = {}  # by socket, the ports that a rule bound it to
        self.ranged = {}  # and those by IP_LOCAL_PORT_RANGE, which stays set
        self.unseen = set()  # sockets of which the program itself did, and may not be known to have
        self.late = set()  # sockets of which late_bind has put off the port
        self.sourced = set()  # sockets that have an address of the pool
        self.tied = set()  # sockets that are connected to one which may have another name
        self.apart = set()  # sockets that differ already
        self.moved = set()  # sockets with descriptors that do not know what an earlier one did

    def note(self, line):
        if line.call == "execute":
            self.moved |= self.ranged.keys() | self.late
        if line.call.startswith(("dup", "pass")) or line.apart:
            self.moved.add(line.socket)
        if self.way == "late" and line.call.startswith("setsockopt IP_BIND_ADDRESS_NO_PORT 1"):
            self.unseen.add(line.socket)
        if not line.hooked or not line.socket:
            return
        binds = re.match("bind .*:0", line.call) and line.result == "0"
        connects = line.call.startswith(("connect", "send"))
        if self.way == "late" and binds and line.name.endswith(":0"):
            self.late.add(line.socket)
        to = re.match(r"connect to #(\d+)", line.call)
        if to and to[1] in self.given.keys() | self.ranged.keys() | self.sourced | self.late:
            self.tied.add(line.socket)
        fixed = line.socket in self.late and line.number in GIVEN
        if line.port and (binds or fixed or connects and line.number in BOUND):
            self.given.setdefault(line.socket, set()).add(line.port)
        elif line.port and connects:
            self.ranged.setdefault(line.socket, set()).add(line.port)

    def note_source(self, line):
        if self.way and self.way.startswith("pool") and line.hooked and \
                line.call.startswith(("connect", "send")):
            self.sourced.add(line.socket)

    def puts_off(self, want, line):
        """Late bind: the port is not chosen yet. The name is one that the program did not ask for."""
        return (line.socket in self.late and line.said == want.said and want.port and
                PORT.sub(":0", want.name) == line.name)

    def keeps_port(self, want, line):
        """Afterwards: a port that a rule has bound stays with the socket. Mechanisms: the option of
        `range` stays where a call or a descriptor does not know of it."""
        kept = self.given.get(line.socket, set())
        if line.socket in self.moved or not line.hooked:
            kept = kept | self.ranged.get(line.socket, set())
        bound_twice = want.call.startswith("bind") and line.result == "EINVAL"
        to_itself = want.call.startswith(f"connect to #{want.socket}")
        only = want.call.startswith("setsockopt IPV6_V6ONLY") and line.result == "EINVAL"
        return line.port in kept and (want.said == line.said and want.port != line.port or
                                      bound_twice or to_itself or only)

    def was_offered(self, want, line):
        """Afterwards: so does one, and an address of the pool, that it was bound to for a call which
        failed otherwise."""
        return (line.hooked and want.said == line.said and line.result.startswith("E") and
                (line.number in BOUND or self.way == "pool" and line.name == "*:0"))

    def shows_option(self, want, line):
        """Mechanisms: SO_REUSEADDR stays set on a socket that was bound, and the option of `range`
        where a descriptor does not know of it. Late bind: what puts the choice off."""
        value = line.said.rpartition(" ")[2]
        reuse = line.call == "getsockopt SO_REUSEADDR" and line.socket in self.given
        ranged = (line.call == "getsockopt IP_LOCAL_PORT_RANGE" and line.socket in self.ranged and
                  (line.socket in self.moved or not line.hooked))
        late = line.call == "getsockopt IP_BIND_ADDRESS_NO_PORT" and line.socket in self.late
        return (want.said.endswith(" value 0") and line.result == "0" and
                ((reuse or late) and value == "1" or ranged and int(value, 16) >> 16 in GIVEN))

    def binds_twice(self, want, line):
        """Late bind: by a call or a descriptor that does not know of it. So is IPV6_V6ONLY set, which
        the kernel refuses to a socket that has a port."""
        unseen = line.socket in self.moved or not line.hooked
        return (unseen and line.socket in self.late and
                want.call.startswith(("bind", "setsockopt IPV6_V6ONLY")) and
                want.result == "EINVAL" != line.result)

    def has_source(self, want, line):
        """Afterwards: an address of the pool stays with a socket. From it there is no way to the other
        family's destinations, and another one to groups and to the unspecified address."""
        errors = {"ENETUNREACH", "EAFNOSUPPORT", "EINVAL", "EACCES", "EADDRNOTAVAIL"}
        routed = re.search(r" (224\.0\.0\.1|255\.255\.255\.255|127\.255\.255\.255|0\.0\.0\.0|"
                           r"\[ff02::1\]|\[::\]):", line.call)
        to = line.call.startswith(("connect", "send"))
        return (self.way.startswith("pool") and
                (line.socket in self.sourced or to and (line.result in errors or bool(routed))))

    def was_tried_again(self, want, line):
        """Of a connect that found no port MPTCP keeps no shutdown(2) before it: poll(2) tells none, and
        what is sent is sent."""
        sent = " fast open " in line.call and want.result == "EPIPE" and line.result.isdigit()
        return sent or line.said == want.said.replace("EINPROGRESS then 14 ", "EINPROGRESS then 4 ")

    def was_put_off_unseen(self, want, line):
        """Late bind: IP_BIND_ADDRESS_NO_PORT of the program's own, by a call or a descriptor that nobody
        told of: the port is chosen where one is asked for, as after a bind(2)."""
        return line.socket in self.unseen and (want.name or "").endswith(":0") and bool(line.port)

    def excuse(self, want, line):
        """The reason for which two lines may differ, and all of this socket from here on."""
        reasons = (self.keeps_port, self.was_offered, self.binds_twice, self.has_source,
                   self.shows_option, self.was_tried_again, self.was_put_off_unseen)
        if line.socket and line.socket == want.socket and line.call == want.call:
            return next((reason.__name__ for reason in reasons if reason(want, line)), None)
        return None

    def follows(self, want, line):
        """A difference that an excused one has made: to another socket that had to do with it."""
        to = re.search(r" to #(\d+)", line.call)
        named = self.given.keys() | self.ranged.keys() | self.late | self.apart
        port = re.match(r"bind .*:1\d{4}", line.call)
        return bool(to and to[1] in named or self.apart and port or line.socket in self.tied)


def parsed(lines, way):
    for text in lines:
        line = Line(text)
        if way and way.startswith("pool"):
            line.without_source()
        if way == "few":
            line.without_letter()
        yield line


def difference(way, bare, got):
    """The first lines that differ and that nothing excuses, as (bare, got); or None."""
    excuses = Excuses(way)
    for want, line in itertools.zip_longest(parsed(bare, way), parsed(got, way)):
        if not want or not line:
            return want, line
        excuses.note(line)
        if want.same(line):
            excuses.note_source(line)
            continue
        if not way or not WAYS[way]:
            return want, line
        if excuses.apart and (want.socket, want.call) != (line.socket, line.call):
            return None  # a descriptor is there, or not, that an excused call has made
        if line.socket in excuses.apart or excuses.puts_off(want, line):
            continue
        reason = excuses.excuse(want, line)
        if not reason and not excuses.follows(want, line):
            return want, line
        excuses.apart.add(line.socket)
        excused[reason] += bool(reason)
    return None


class Finding:
    def __init__(self, way, seed, setting):
        self.way, self.seed, self.setting = way, seed, setting
        self.found = None

    def stands(self, steps=()):
        """Whether there is a difference each time."""
        for _ in range(AGAIN):
            bare, = make([], self.seed, steps=steps)
            if difference(None, bare, make([], self.seed, steps=steps)[0]):
                return False  # and who knows, without berth
            got, = make(self.setting, self.seed, steps=steps)
            found = difference(self.way, bare, got)
            if not found:
                return False
            self.found, self.got, self.bare = found, got, bare
        return True

    def shrink(self):
        """Leaves out what the difference does not need: pieces of halves, quarters and so on."""
        steps = list(range(LENGTH))
        if self.found[0] and self.found[0].step is not None:
            steps = steps[:self.found[0].step + 1]
        size = len(steps) // 2
        while size:
            at = 0
            while at < len(steps):
                fewer = steps[:at] + steps[at + size:]
                if fewer and self.stands(fewer):
                    steps = fewer
                else:
                    at += size
            size //= 2
        self.stands(steps)
        return steps

    def tell(self):
        steps = self.shrink()
        variables = " ".join(self.setting)
        print(f"# {self.way}, sequence {self.seed}:")
        for want, line in itertools.zip_longest(self.bare, self.got, fillvalue=""):
            same = Line(want).same(Line(line))
            print("#    ", line if same else f"{want}   ->   {line}")
        print(f"# again: served {self.seed} 1 {SECONDS} env {variables} sequences @ {LENGTH}",
              *steps, flush=True)


def compare(way, setting, first, bare):
    found = []
    for i, got in enumerate(make(setting, first, len(bare))):
        if difference(way, bare[i], got):
            finding = Finding(way, first + i, setting)
            if finding.stands():
                found.append(finding)
    return found


def test_sequences():
    """sequences of socket calls are the same without berth, observed, and steered in each way"""
    piece = 20
    with tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor(2) as pool:
        settings = set_up(folder)
        firsts = range(FROM, FROM + SEQUENCES, piece)
        bare = dict(zip(firsts, pool.map(lambda first: make([], first, piece), firsts)))
        work = [(way, settings[way], first, bare[first]) for first in firsts for way in WAYS]
        found = [f for some in pool.map(lambda w: compare(*w), work) for f in some]
        for finding in found[:int(os.environ.get("SEQUENCES_TELL", "10"))]:
            finding.tell()
    print("# sockets that may differ:", dict(excused))
    assert not found, f"{len(found)} differences"


if __name__ == "__main__":
    berthtest.DEADLINE = max(berthtest.DEADLINE, 10 * SEQUENCES)
    berthtest.main()
