# SPDX-License-Identifier: MIT
"""Lines in files that are kept: they tell the day, and the file may be rotated meanwhile."""
import contextlib
import datetime
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time

import berthtest
from berthtest import BERTH, LIBBERTH, berth, equal, need, program, started, wait_for

MANUAL = os.path.join(os.environ.get("srcdir", "."), "man", "libberth.so.8")
DAY_NS = 86400 * 10 ** 9

# A datagram's connect to the port of each line of its standard input.
STEPS = """
    print('ready', flush=True)
    for line in sys.stdin:
        socket(AF_INET, SOCK_DGRAM).connect(('127.0.0.1', int(line)))
        print('connected', flush=True)"""


def ports(path):
    """The peers' ports of the lines in a file; every line is whole."""
    with open(path, "rb") as f:
        text = f.read()
    lines = text.decode().splitlines(keepends=True)
    for line in lines:
        assert re.fullmatch(r"[0-9T:.Z-]+ \d+ python3 connect udp \S+ > \S+ ok kernel \d+us\n",
                            line), text
    return [int(re.search(r"> 127.0.0.1:(\d+)", line)[1]) for line in lines]


class Stepping:
    def __init__(self, process):
        self.process = process
        equal(process.stdout.readline(), "ready\n", "the program's word")

    def connect(self, port):
        print(port, file=self.process.stdin, flush=True)
        equal(self.process.stdout.readline(), "connected\n", "the program's word")


@contextlib.contextmanager
def logging(path):
    """A program whose BERTH_LOG is that file."""
    with started(program(STEPS), env={**os.environ, "LD_PRELOAD": LIBBERTH, "BERTH_RECORD": "off",
                                      "BERTH_LOG": path}) as process:
        yield Stepping(process)


def test_copied_and_cut_off():
    """BERTH_LOG's file and that of berth run -o, copied and truncated: no line and no byte too many"""
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/log"
        run = [BERTH, "run", "-o", path, "--", *program(STEPS)]
        with logging(path) as process:
            process.connect(9)
            shutil.copy(path, path + ".1")
            os.truncate(path, 0)
            process.connect(10)
            equal((ports(path + ".1"), ports(path)), ([9], [10]), "BERTH_LOG")
        with started(run) as process:
            process = Stepping(process)
            for port in 9, 10:
                os.truncate(path, 0)
                process.connect(port)
                wait_for(lambda: os.stat(path).st_size)
            equal(ports(path), [10], "berth run -o")


def test_renamed():
    """BERTH_LOG's file, renamed: the lines go on under the new name, as the manual says"""
    with tempfile.TemporaryDirectory() as folder, logging(folder + "/log") as process:
        process.connect(9)
        os.rename(folder + "/log", folder + "/log.1")
        process.connect(10)
        equal((os.listdir(folder), ports(folder + "/log.1")), (["log.1"], [9, 10]), "lines")


def test_logrotate():
    """logrotate(8) with the file that the manual shows: all lines are there, each once"""
    logrotate, = need("logrotate")
    with open(MANUAL) as f:
        recipe, = re.findall(r"^/var/log/example/berth\.log \{.*?^\}\n", f.read(), re.S | re.M)
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/berth.log"
        with open(folder + "/recipe", "w") as f:
            f.write(recipe.replace("/var/log/example/berth.log", path).replace("compress", ""))
        with logging(path) as process:
            for port in 9, 10, 11:
                process.connect(port)
                done = subprocess.run([logrotate, "-f", "-s", folder + "/state", folder + "/recipe"],
                                      capture_output=True, text=True)
                equal((done.returncode, done.stdout + done.stderr), (0, ""), "logrotate")
            process.connect(12)
            equal([ports(path + end) for end in (".3", ".2", ".1", "")], [[9], [10], [11], [12]])


def made_older(recording, by):
    """The same recording, with all that it says of its time so much earlier."""
    with open(recording, "rb") as f:
        words = list(struct.iter_unpack("=Q", f.read()))
    now = time.time_ns()
    with open(recording, "wb") as f:
        for word, in words:
            f.write(struct.pack("=Q", word - by if abs(word - now) < DAY_NS / 24 else word))


def test_dates():
    """berth log: the time of an event that is a day old has its date, of one of today has not"""
    code = "socket(AF_INET, SOCK_DGRAM).connect(('127.0.0.1', 9))"
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/x.berth"
        for by in 0, 23 * DAY_NS // 24, DAY_NS, 300 * DAY_NS, -DAY_NS:
            equal(berth("run", "-q", "--record", path, "--", *program(code)).returncode, 0)
            made_older(path, by)
            stamp = berth("log", path, env={**os.environ, "TZ": "Pacific/Kiritimati"}).stdout.split()[0]
            want = datetime.datetime.fromtimestamp(time.time() - by / 1e9,
                                                   datetime.timezone(datetime.timedelta(hours=14)))
            if by in (0, 23 * DAY_NS // 24):
                assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6}", stamp), stamp
            else:
                got = datetime.datetime.fromisoformat(stamp)
                assert abs(got - want.replace(tzinfo=None)).total_seconds() < 600, (stamp, want)


if __name__ == "__main__":
    berthtest.main()
