# SPDX-License-Identifier: MIT
"""The clients of a soak (soak.py) that come and go: each is a job that ends with its recording, of
which all must add up."""
import collections
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

from berthtest import BERTH, LIBBERTH, PROGRAMS, equal, json_lines, wait_for

# Servers' ports. What connects to `clean` ones is never killed, so that they count exactly.
CLEAN, KILLED, UNCOUNTED, STEADY, STEADY_STEERED = 7000, 7001, 7002, 7003, 7004
HTTP, REDIS = 7005, 7006

# Rules, each with a server of its own, which knows the ports that may come.
Rule = collections.namedtuple("Rule", "port low high waits keys")
RULES = [
    Rule(7010, 20000, 21999, "", {"order": "random"}),
    Rule(7011, 22000, 22999, "", {"order": "sequential", "via": "range"}),
    Rule(7012, 5000, 5999, "", {"order": "random-start", "via": "bind"}),
    Rule(7013, 23000, 23999, "", {"order": "double-hash"}),
    Rule(7014, 24000, 24999, "", {"order": "least-recent", "rest": 1}),
    Rule(7015, 25000, 25999, "", {"order": "kernel"}),
    Rule(7016, 26000, 26999, "", {"order": "hash", "mod": {"of": 8, "is": 3}}),
    Rule(7017, 27000, 27999, "", {"order": "random-increment", "tries": 500}),
    # Its clients close first: most of its ports are in TIME_WAIT before long.
    Rule(7018, 28000, 28099, "w", {"order": "random"}),
    Rule(7019, 6000, 6099, "w", {"order": "sequential", "via": "bind"}),
]
STEADY_RULE = Rule(STEADY_STEERED, 30000, 31999, "", {"order": "least-recent"})


def policy(rules):
    return {"version": 1, "late_bind": ["python3*"], "rules": [
        {"name": f"to {r.port}", "match": {"to": [f"*:{r.port}"]},
         "local_ports": f"{r.low}-{r.high}", **r.keys} for r in rules]}


class Counts:
    """What all threads add to."""

    def __init__(self):
        self.lock = threading.Lock()
        self.numbers = collections.Counter()
        self.recorded = collections.Counter()  # connections, by server port
        self.failures = []

    def add(self, **numbers):
        with self.lock:
            self.numbers.update(numbers)

    def add_recorded(self, rows):
        with self.lock:
            for row in rows:
                for d in row["destinations"]:
                    if d["transport"] == "tcp":
                        self.recorded[d["port"]] += d["connects"] - d["failed"]

    def fail(self, what):
        with self.lock:
            self.failures.append(what)
        print("soak: FAILED:", what, flush=True)


class Place:
    """Where a soak runs: its folders, servers and random numbers."""

    def __init__(self, folder, seed):
        self.folder, self.random = folder, random.Random(seed)
        self.jobs, self.runtime, self.steady = (os.path.join(folder, n) for n in
                                                ("jobs", "runtime", "steady"))
        for path in self.jobs, self.runtime, self.steady:
            os.mkdir(path, 0o700)
        self.policy = self.write("policy.json", policy(RULES))
        self.steady_policy = self.write("steady.json", policy([STEADY_RULE]))
        self.default = os.path.join(self.runtime, "berth")
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=self.runtime)
        self.counts, self.end = Counts(), threading.Event()

    def write(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            json.dump(content, f)
        return path

    def preloaded(self, **variables):
        """The environment of a program that records by itself, into the default folder."""
        return dict(self.environment, LD_PRELOAD=LIBBERTH, **variables)


# --- jobs: clients that come and go ---------------------------------------------------------------

# Each thread makes its calls in turn: TCP and UDP, IPv4 and IPv6, blocking and not, bound first or
# not. An exhausted rule is an answer like any other.
MIXED = """
import random, select, socket, sys, threading
port, threads, calls, linger = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
def call(chance):
    family, address = chance.choice([(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
    kind = chance.choice([socket.SOCK_STREAM] * 4 + [socket.SOCK_DGRAM])
    with socket.socket(family, kind) as s:
        try:
            if kind == socket.SOCK_STREAM and chance.random() < 0.2:
                s.bind((address, 0))
            s.setblocking(chance.random() < 0.5)
            try:
                s.connect((address, port))
            except BlockingIOError:
                select.select([], [s], [])
            if kind == socket.SOCK_DGRAM:
                s.send(b"x")
            elif linger == "first":
                s.shutdown(socket.SHUT_RDWR)
            else:
                select.select([s], [], [])
        except OSError as e:
            if e.errno not in (11, 98, 99, 111):
                raise
def work(number):
    chance = random.Random(number)
    for _ in range(calls):
        call(chance)
workers = [threading.Thread(target=work, args=[i]) for i in range(threads)]
for w in workers: w.start()
for w in workers: w.join()
"""


def told(row):
    e = row["events"]
    return e["overwritten"] + e["lost"] + e["torn"]


def check_row(row):
    """Of a process that was not killed: all that counts the same calls says the same number."""
    calls = sum(row["calls"].values())
    for group in "results", "chosen_by":
        equal(sum(row[group].values()), calls, f"{group} of {row}")
    equal(row["events"]["written"], calls, f"events of {row}")
    equal(row["events"]["torn"], 0, f"torn of {row}")
    equal(sum(row["errors"].values()), row["results"]["failed"], f"errors of {row}")
    for rule in row["rules"]:
        # Stuck: by bind another job's client, of the same rule, has connected from the port between
        # the look and the call. Jobs share no memory.
        equal(rule["matched"], rule["claimed"] + rule["exhausted"] + rule["stuck"],
              f"{rule} of {row}")
        equal((rule["outside"], rule["kernel"]), (0, 0), f"{rule} of {row}")
    steered = sum(rule["matched"] for rule in row["rules"])
    equal(row["chosen_by"]["policy"], steered, f"chosen by a policy, of {row}")


def but_remarks(said):
    """What a reader says on stderr, str or bytes, but for processes that found no room, for events
    of a thread that was killed, and for a folder that was just tidied."""
    remarks = ("[^\\n]* processes were not recorded: ", "[^\\n]*: events are missing: ", "no recording in ")
    line = rf"berth: \w+: (?:{'|'.join(remarks)})[^\n]*\n"
    return re.sub(line.encode() if isinstance(said, bytes) else line, said[:0], said)


def berth_out(place, *arguments):
    """What a reader prints; it must have nothing to complain of."""
    done = subprocess.run([BERTH, *arguments], capture_output=True, text=True, check=False,
                          env=place.environment)
    equal((done.returncode, but_remarks(done.stderr)), (0, ""), f"berth {' '.join(arguments)}")
    return done.stdout


def read_recording(place, path):
    """The rows of a recording, or a folder of them, whose events and accounts add up."""
    rows = json_lines(berth_out(place, "stats", "--json", path))
    lines = berth_out(place, "log", path).count("\n")
    written = sum(row["events"]["written"] for row in rows)
    place.counts.add(processes=len(rows), events=written, lines=lines, recordings=1,
                     overwritten=sum(r["events"]["overwritten"] for r in rows),
                     lost=sum(r["events"]["lost"] for r in rows),
                     torn=sum(r["events"]["torn"] for r in rows),
                     steered=sum(rule["claimed"] for r in rows for rule in r["rules"]),
                     exhausted=sum(rule["exhausted"] for r in rows for rule in r["rules"]),
                     stuck=sum(rule["stuck"] for r in rows for rule in r["rules"]))
    return rows, written - lines - sum(told(row) for row in rows)


def run_job(place, command, steered=False, events=65536, status=0):
    """A command under `berth run`, to its end."""
    with tempfile.TemporaryDirectory(dir=place.jobs) as folder:
        recording = os.path.join(folder, "x.berth")
        options = ["--policy", place.policy] if steered else []
        done = subprocess.run([BERTH, "run", "-q", "--events", str(events), "--record", recording,
                               *options, "--", *map(str, command)], env=place.environment,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        equal((done.returncode, done.stderr), (status, b""), f"{command[:4]}")
        rows, missing = read_recording(place, recording)
        equal(missing, 0, f"events of {command[:4]} that nothing is told of")
        for row in rows:
            check_row(row)
            equal(row["destinations_merged"], 0, "merged")
        equal(sorted(set(os.listdir(folder)) - {"x.berth"}), [], "files left beside it")
        place.counts.add_recorded(rows)
        return rows


def shell(script):
    return ["sh", "-c", script]


def job_mixed(place, chance):
    rule = chance.choice(RULES)
    port, steered = chance.choice([(CLEAN, False), (CLEAN, True), (rule.port, True)])
    run_job(place, [sys.executable, "-c", MIXED, port, 4, 60, "first" if rule.waits else ""],
            steered)


def job_many(place, chance):
    rule = chance.choice(RULES)
    how = chance.choice([["-p", 4, "-n", 150, "-c"], ["-j", "-p", 6, "-n", 100, "-c"],
                         ["-p", 2, "-n", 200]])
    run_job(place, [f"{PROGRAMS}/many", *how, "127.0.0.1", rule.port, "::1", rule.port], True,
            chance.choice([16, 1024, 65536]))


def job_curl(place, chance):
    url = f"http://127.0.0.1:{HTTP}/"
    rows = run_job(place, shell(f"for i in $(seq 8); do curl -s {url} || exit 1; done"),
                   chance.random() < 0.5)
    connects = sum(d["connects"] for r in rows for d in r["destinations"] if d["port"] == HTTP)
    equal(connects, 8, "connects of 8 curls")


def job_wrk(place, _):
    run_job(place, ["wrk", "-t2", "-c24", "-d1s", f"http://127.0.0.1:{HTTP}/"])


def job_redis(place, _):
    run_job(place, ["redis-benchmark", "-p", REDIS, "-c", "20", "-n", "2000", "-q", "-t", "set"])


def job_nc(place, chance):
    port = chance.choice([CLEAN, RULES[0].port, RULES[3].port])
    run_job(place, shell(f"for i in $(seq 12); do nc -z 127.0.0.1 {port} & done; wait"), True)


def job_forks(place, _):
    rows = run_job(place, shell("for i in $(seq 60); do /bin/true & done; wait"))
    equal(rows, [], "rows of programs that make no call")


def job_tree(place, _):
    """Every way to make a process; 16 of its 200 kill themselves, but not in a call."""
    with tempfile.TemporaryDirectory(dir=place.jobs) as folder:
        done = subprocess.run([BERTH, "run", "-q", "--record", f"{folder}/x.berth", "--",
                               f"{PROGRAMS}/tree", str(CLEAN)], env=place.environment,
                              capture_output=True, check=False)
        equal((done.returncode, done.stderr), (0, b""), "tree")
        rows, missing = read_recording(place, f"{folder}/x.berth")
        equal(missing, 0, "events of a tree that nothing is told of")
        place.counts.add_recorded(rows)


def job_alone(place, _):
    """Programs that each make a recording of their own, so that there is something to tidy."""
    equal(subprocess.run(shell(f"for i in $(seq 12); do nc -z 127.0.0.1 {UNCOUNTED} & done; wait"),
                         env=place.preloaded(), capture_output=True, check=False).stderr, b"",
          "what nc says")
    tidied = subprocess.run([BERTH, "stats", "--tidy"], capture_output=True, check=False,
                            env=place.environment)
    equal(tidied.returncode, 0, f"stats --tidy: {tidied.stderr}")
    place.counts.add(alone=12)


def check_killed(place, path, threads):
    """A recording whose one process was killed: short by a call a thread at most. In a folder it may
    lie beside others, of threads that were killed before they took theirs away again."""
    rows, missing = read_recording(place, path)
    place.counts.add_recorded(rows)
    place.counts.add(kills=1, untold=missing)
    assert 0 <= missing <= threads, f"{missing} events of a killed process are not told of"
    torn = sum(row["events"]["torn"] for row in rows)
    assert torn <= threads, f"{torn} torn events by one kill"


def job_killed(place, chance):
    """kill -9 of a program with 8 threads that connect all the time."""
    with tempfile.TemporaryDirectory(dir=place.jobs) as folder:
        process = subprocess.Popen([f"{PROGRAMS}/connecting", "127.0.0.1", str(KILLED), "8"],
                                   env=place.preloaded(BERTH_RECORD=folder,
                                                       BERTH_EVENTS=str(chance.choice([16, 1024]))))
        wait_for(lambda: os.listdir(folder) or process.poll() is not None)
        time.sleep(chance.random() / 3)
        process.kill()
        equal(process.wait(), -signal.SIGKILL, "status of what was killed")
        check_killed(place, folder, 8)


def job_killed_run(place, chance):
    """kill -9 of berth run: what it runs goes on, recorded, until it is killed too."""
    with tempfile.TemporaryDirectory(dir=place.jobs) as folder:
        recording = f"{folder}/x.berth"
        run = subprocess.Popen([BERTH, "run", "-q", "--record", recording, "--",
                                "sh", "-c", f"echo $$; exec {PROGRAMS}/connecting 127.0.0.1 "
                                f"{KILLED} 4"], env=place.environment, stdout=subprocess.PIPE)
        pid = int(run.stdout.readline())
        time.sleep(chance.random() / 3)
        run.kill()
        run.wait()
        run.stdout.close()
        time.sleep(chance.random() / 10)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # orphans come to us
        check_killed(place, recording, 4)


JOBS = [job_mixed, job_mixed, job_many, job_many, job_curl, job_wrk, job_redis, job_nc, job_forks,
        job_tree, job_alone, job_alone, job_killed, job_killed, job_killed_run]


def work(place, seed):
    chance = random.Random(seed)
    while not place.end.is_set():
        job = chance.choice(JOBS)
        try:
            job(place, chance)
            place.counts.add(**{job.__name__: 1})
        except Exception as e:  # the soak goes on: a report of all that failed is worth more
            place.counts.fail(f"{job.__name__}: {type(e).__name__}: {e}"[:1500])
