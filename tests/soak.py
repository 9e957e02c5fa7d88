# SPDX-License-Identifier: MIT
"""soak.py [--minutes N] [--seed N]: berth at work for a long time, in a namespace of its own.

Clients of all kinds come, are steered or not, fork, and are killed; others run from beginning to
end; readers come and go, and some stay. All along each job's recording must add up. In the end the
servers have counted what the recordings say, no process, file or zombie is left over, and what ran
all the time needs no more memory, mappings or descriptors than at first. Prints a report, and
exits with 1 where something did not hold. Not part of `make check`: see `make soak`.
"""
import argparse
import collections
import contextlib
import ctypes
import os
import random
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import berthtest
from berthtest import BERTH, PROGRAMS, equal, json_lines, need, wait_for
from soakjobs import (CLEAN, HTTP, KILLED, REDIS, RULES, STEADY, STEADY_RULE, STEADY_STEERED,
                      UNCOUNTED, Place, berth_out, but_remarks, check_row, job_alone, work)

FILES = 20000  # RLIMIT_NOFILE
WORKERS = 3
STEADY_RATE = 700  # connects a second of each client that runs all the time


# --- servers --------------------------------------------------------------------------------------

@contextlib.contextmanager
def serving(place):
    """The servers, none of them under berth; yields what tells their counts, by port."""
    nginx, redis, cli = need("nginx", "redis-server", "redis-cli")
    ports = [str(p) for p in (CLEAN, KILLED, UNCOUNTED, STEADY)]
    ports += [f"{r.port}:{r.low}-{r.high}{r.waits}" for r in (*RULES, STEADY_RULE)]
    config = os.path.join(place.folder, "nginx.conf")
    with open(config, "w", encoding="utf-8") as f:
        f.write(f"daemon off; master_process off; pid {place.folder}/nginx.pid; user root;\n"
                "error_log stderr crit; events { worker_connections 4096; }\n"
                f"http {{ access_log off; client_body_temp_path {place.folder}/body;\n"
                f"proxy_temp_path {place.folder}/proxy; fastcgi_temp_path {place.folder}/fcgi;\n"
                f"uwsgi_temp_path {place.folder}/uwsgi; scgi_temp_path {place.folder}/scgi;\n"
                f"server {{ listen {HTTP} backlog=4096; location = /count {{ stub_status; }}\n"
                "location / { return 200 hello; } } }\n")
    with contextlib.ExitStack() as stack:
        def start(command, **options):
            return stack.enter_context(berthtest.started(command, **options))
        counting = start([f"{PROGRAMS}/counting", *ports])
        start([nginx, "-c", config, "-e", "stderr"], stdout=subprocess.DEVNULL,
              stderr=subprocess.DEVNULL)
        start([redis, "--port", REDIS, "--save", "", "--daemonize", "no"],
              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        equal(counting.stdout.readline(), ".\n", "the counting server")
        asked = [0]

        def counted():
            """(accepted, outside) by port; what is asked of HTTP and REDIS itself left out."""
            asked[0] += 1
            counting.stdin.write("\n")
            counting.stdin.flush()
            lines = iter(counting.stdout.readline, ".\n")
            counts = {int(line.split()[0]): tuple(map(int, line.split()[1:])) for line in lines}
            text = subprocess.run(["curl", "-s", f"http://127.0.0.1:{HTTP}/count"],
                                  capture_output=True, text=True, check=True).stdout
            counts[HTTP] = (int(text.split()[7]) - asked[0], 0)
            text = subprocess.run([cli, "-p", str(REDIS), "info", "stats"],
                                  capture_output=True, text=True, check=True).stdout
            received = re.search(r"total_connections_received:(\d+)", text)
            counts[REDIS] = (int(received[1]) - asked[0], 0)
            return counts

        wait_for(lambda: subprocess.run([cli, "-p", str(REDIS), "ping"], check=False,
                                        capture_output=True).returncode == 0)
        wait_for(lambda: subprocess.run(["curl", "-s", f"http://127.0.0.1:{HTTP}/"], check=False,
                                        capture_output=True).returncode == 0)
        first = counted()

        def since():
            now = counted()
            return {p: (now[p][0] - first[p][0], now[p][1] - first[p][1]) for p in now}
        yield since


# --- readers --------------------------------------------------------------------------------------

def follow_a_while(place, chance):
    """log -f, which is killed in the middle of it."""
    log = subprocess.Popen([BERTH, "log", "-f", *chance.choice([[], ["--json"], ["-Z"]])],
                           env=place.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(chance.random())
    number = chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    log.send_signal(number)
    equal((but_remarks(log.stderr.read()), log.wait()), (b"", -number), "log -f")
    log.stderr.close()


def read_on(place, seed):
    chance = random.Random(seed)
    while not place.end.is_set():
        try:
            what = chance.choice(["log", "stats", "follow"])
            if what == "follow":
                follow_a_while(place, chance)
            elif what == "log":
                json_lines(berth_out(place, "log", "--json", "-n", "100"))
            else:
                json_lines(berth_out(place, "stats", "--json"))
            place.counts.add(readers=1)
        except Exception as e:
            place.counts.fail(f"reader: {type(e).__name__}: {e}"[:1500])
        place.end.wait(chance.random())


# --- what runs all the time -----------------------------------------------------------------------

class Watched:
    """A process whose memory, mappings and descriptors are looked at all along."""

    def __init__(self, name, process, bounded_only=False):
        self.name, self.process, self.bounded_only = name, process, bounded_only
        self.samples = []

    def look(self):
        base = f"/proc/{self.process.pid}"
        with open(f"{base}/status", encoding="utf-8") as f:
            text = f.read()
        rss, own = (int(re.search(rf"{key}:\s+(\d+)", text)[1]) for key in ("VmRSS", "RssAnon"))
        with open(f"{base}/maps", encoding="utf-8") as f:
            maps = len(f.readlines())
        self.samples.append((rss, own, maps, len(os.listdir(f"{base}/fd"))))

    def ends(self):
        """Medians of the first tenth after the first tenth, and of the last."""
        tenth = max(len(self.samples) // 10, 1)
        first, last = self.samples[tenth:2 * tenth] or self.samples, self.samples[-tenth:]
        return [tuple(int(statistics.median(column)) for column in zip(*part))
                for part in (first, last)]

    def check(self, counts):
        first, last = self.ends()
        what = ("RSS (KiB)", "its own memory of that", "mappings", "descriptors")
        print(f"soak: {self.name}:", ", ".join(
            f"{name} {a} -> {b}" for name, a, b in zip(what, first, last)),
            f"({len(self.samples)} samples)")
        most = max(sample[-1] for sample in self.samples)
        grows = any(b > a + more for a, b, more in zip(first, last, (1024, 256, 2, 2)))
        if most > 700 or last[0] > 150000 if self.bounded_only else grows:
            counts.fail(f"{self.name} grows: {most} descriptors, {last[0]} KiB")


@contextlib.contextmanager
def steady_ones(place):
    """Clients and readers from beginning to end; yields (watched, clients)."""
    def steady(port):
        return [f"{PROGRAMS}/steady", str(STEADY_RATE), "127.0.0.1", str(port), "::1", str(port)]

    with contextlib.ExitStack() as stack:
        def start(name, command, **options):
            process = stack.enter_context(berthtest.started(command, **options))
            watched.append(Watched(name, process, bounded_only="default folder" in name))
            return process
        watched = []
        quiet = {"stdout": subprocess.DEVNULL, "env": place.environment}
        plain = start("client", steady(STEADY), env=place.preloaded(BERTH_RECORD=place.steady))
        options = ["-o", "/dev/null", "--events", "4096", "--record", f"{place.steady}/run.berth",
                   "-P", place.steady_policy]
        run = start("berth run, printing", [BERTH, "run", *options, "--", *steady(STEADY_STEERED)],
                    env=place.environment)
        steered = wait_for(lambda: child_of(run.pid))
        watched.append(Watched("client, steered", steered))
        start("log -f of two", [BERTH, "log", "-f", "--json", place.steady], **quiet)
        start("log -f, default folder", [BERTH, "log", "-f"], **quiet)
        yield watched, (plain, run)


def child_of(pid):
    """The one child, once there is one, as far as Watched asks of a process."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as f:
        children = f.read().split()
    return collections.namedtuple("Child", "pid")(int(children[0])) if children else None


def end_steady(place, clients, counted):
    """What the two clients, their recordings and the server say of their number."""
    for process, port in zip(clients, (STEADY, STEADY_STEERED)):
        out, err = process.communicate()
        done, failed = map(int, out.split())
        equal((process.returncode, err, failed), (0, "", 0), f"the client to {port}")
        rows = [r for r in json_lines(berth_out(place, "stats", "--json", place.steady))
                if any(d["port"] == port for d in r["destinations"])]
        equal(len(rows), 1, f"rows to {port}")
        check_row(rows[0])
        equal(rows[0]["calls"]["connect"], done, f"connects to {port}")
        equal(counted()[port][0], done, f"connections to {port}")
        place.counts.add_recorded(rows)
        place.counts.add(steady=done)


# --- the end --------------------------------------------------------------------------------------

def check_sums(place, counted):
    """Servers have counted what recordings say; kills are short by a call a thread at most."""
    counts = counted()
    for port in (CLEAN, HTTP, REDIS, *(r.port for r in RULES)):
        accepted, outside = counts[port]
        recorded = place.counts.recorded[port]
        print(f"soak: port {port}: {accepted} accepted, {recorded} recorded, {outside} outside")
        if outside or accepted != recorded:
            place.counts.fail(f"port {port}: {accepted} accepted, {recorded} recorded, "
                              f"{outside} from ports outside the rule's set")
    accepted, recorded = counts[KILLED][0], place.counts.recorded[KILLED]
    kills = place.counts.numbers["kills"]
    print(f"soak: port {KILLED}: {accepted} accepted, {recorded} recorded, {kills} kills")
    if abs(accepted - recorded) > 8 * kills:
        place.counts.fail(f"killed clients: {accepted} accepted, {recorded} recorded")


def check_stuck(place):
    """By bind, where few ports are left and others connect from them: one call in a thousand."""
    numbers = place.counts.numbers
    if numbers["stuck"] * 1000 > numbers["steered"]:
        place.counts.fail(f"{numbers['stuck']} stuck of {numbers['steered']}")


def children():
    """Of all threads."""
    found = []
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
                open(f"/proc/self/task/{thread}/children", encoding="utf-8") as f:
            found += map(int, f.read().split())
    return found


def end_children(place):
    """Where the soak is ended before its time; else there is none. Threads end with what they wait
    for, and may start something until then."""
    place.end.set()
    while left := [pid for _ in range(20) for pid in (time.sleep(0.05) or children())]:
        for pid in set(left):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def check_leftovers(place):
    """No process, and no file but recordings, and what counts those not made, in the default folder."""
    for pid in children():
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0]:
                continue  # an orphan: what berth run leaves where it is killed
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            place.counts.fail(f"a process is left: {f.read()[:60]}")
    strange = [n for n in os.listdir(place.default) if not re.fullmatch(r"\d+-[0-9a-f]+\.berth|unrecorded", n)]
    for folder, names in ((place.jobs, os.listdir(place.jobs)), (place.default, strange)):
        if names:
            place.counts.fail(f"files are left in {folder}: {names[:10]}")
    berth_out(place, "run", "-q", "--", "true")  # tidies
    place.counts.add(left_after_tidying=len(os.listdir(place.default)))
    size = sum(os.stat(os.path.join(place.default, n)).st_blocks * 512
               for n in os.listdir(place.default))
    if size > 256 << 20:
        place.counts.fail(f"{size} bytes of recordings after tidying")


def soak(place, minutes):
    with serving(place) as counted, steady_ones(place) as (watched, clients):
        wait_for(lambda: os.path.isdir(place.steady) and len(os.listdir(place.steady)) >= 2)
        job_alone(place, None)  # or readers would find no recording
        threads = [threading.Thread(target=f, args=[place, place.random.random()], daemon=True)
                   for f in [work] * WORKERS + [read_on] * 2]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            for w in watched:
                w.look()
            place.end.wait(min(5, minutes))
        place.end.set()
        for thread in threads:
            thread.join()
        for w in watched:
            w.check(place.counts)
        end_steady(place, clients, counted)
        check_sums(place, counted)
        check_stuck(place)
    check_leftovers(place)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xffffffff)
    options = parser.parse_args()
    berthtest.enter_namespace()
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's & has ignored
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans are seen at the end
    for name in [n for n in os.environ if n.startswith("BERTH_")]:
        del os.environ[name]
    berthtest.port_range(16384, 60999)
    print(f"soak: {options.minutes:g} minutes, seed {options.seed}", flush=True)
    folder = tempfile.mkdtemp(dir="/dev/shm", prefix="soak-")
    place = Place(folder, options.seed)
    try:
        soak(place, options.minutes)
    except berthtest.Skip as reason:
        sys.exit(f"soak: {reason}")
    finally:
        end_children(place)
        shutil.rmtree(folder, ignore_errors=True)
    for name, number in sorted(place.counts.numbers.items()):
        print(f"soak: {number} {name}")
    print(f"soak: {sum(place.counts.recorded.values())} connections recorded")
    print("soak:", f"{len(place.counts.failures)} FAILED" if place.counts.failures else "ok")
    sys.exit(bool(place.counts.failures))


if __name__ == "__main__":
    main()
