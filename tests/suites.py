# SPDX-License-Identifier: MIT
"""suites.py [SUITE...]: runs other projects' test suites bare, observed, and steered by range and by
bind, and compares them test by test. See suites.sh, which fetches them into $WORK.

A test that differs is run again, bare and in its mode, until it is plain whether it differs by
berth or by itself. What the kernel's rules for steered ports make of a test stands in EXPLAINED.
"""
import collections
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

BERTH = os.environ.get("BERTH", "berth")
WORK = os.environ.get("WORK", ".")
MODES = ("bare", "observed", "range", "bind")
AGAIN = 5  # runs of a test that differs, bare and in its mode; five times as many where it is rare
NEEDS_LOOPBACK = "ip link set lo up && exec \"$@\""

# (suite, test, mode): why it differs. The manual has the reasons too: berth-policy(5), CAVEATS.
EXPLAINED = {}


class Suite:
    """run(mode, only) gives {test: "passed", "failed" or "skipped"}; `only` are tests' names."""

    def __init__(self, name):
        self.name = name

    def command(self, words, mode, folder, **options):
        """Runs it in a namespace of its own; returns (CompletedProcess, what berth recorded)."""
        wrapped, recording = list(words), None
        if mode != "bare":
            recording = os.path.join(folder, "recording.berth")
            if os.path.exists(recording):
                os.unlink(recording)
            run = [BERTH, "run", "-q", "--events", "16384", "--record", recording]
            if mode != "observed":
                policy = os.path.join(folder, "policy.json")
                with open(policy, "w", encoding="ascii") as f:
                    json.dump({"version": 1, "rules": [{"name": "everything", "via": mode}]}, f)
                run += ["-P", policy]
            wrapped = [*run, "--", *words]
        done = subprocess.run(["unshare", "-n", "sh", "-c", NEEDS_LOOPBACK, "sh", *wrapped],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
                              **options)
        return done, count(recording) if recording else None


def count(recording):
    """What berth recorded, that a pass is not one of nothing."""
    total = collections.Counter()
    out = subprocess.run([BERTH, "stats", "--json", recording], capture_output=True, text=True,
                         check=True).stdout
    for line in out.splitlines():
        process = json.loads(line)
        total["calls"] += sum(process["calls"].values())
        total["policy"] += process["chosen_by"]["policy"]
        for rule in process["rules"]:
            for key in ("matched", "claimed", "exhausted", "outside"):
                total[key] += rule[key]
    return total


class Python(Suite):
    """CPython's own tests, as Debian ships them: a test is a method."""

    def __init__(self, name, *modules):
        super().__init__(name)
        self.modules = modules

    def run(self, mode, only=()):
        with tempfile.TemporaryDirectory() as folder:
            report = os.path.join(folder, "report.xml")
            # AF_VSOCK knows no namespaces: two runs on one machine wait for each other for ever.
            words = ["/usr/bin/python3", "-m", "test", "-u", "network", "--junit-xml", report,
                     "--ignore", "*.ThreadedVSOCKSocketStreamTest.*"]
            for test in only:
                words += ["-m", test.removeprefix("test.")]
            modules = {m for m in self.modules if not only or any(f".{m}." in t for t in only)}
            done, recorded = self.command([*words, *sorted(modules)], mode, folder, cwd=folder)
            if not os.path.exists(report):
                sys.exit(f"{self.name}, {mode}: no report:\n{done.stdout[-2000:]}")
            return self.read(report), recorded

    @staticmethod
    def read(report):
        results = {}
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            kinds = {child.tag for child in case}
            verdict = "failed" if kinds & {"failure", "error"} else \
                "skipped" if "skipped" in kinds else "passed"
            results[case.get("name")] = verdict
        return results


class Tap(Suite):
    """Perl's tests of the modules for sockets: a test is a line of TAP."""

    def __init__(self, name, *patterns):
        super().__init__(name)
        self.patterns = patterns

    def run(self, mode, only=()):
        results, total = {}, collections.Counter()
        source = glob.glob(os.path.join(WORK, "perl-[0-9]*/"))[0]
        for pattern in self.patterns:
            for path in sorted(glob.glob(os.path.join(source, pattern))):
                name = os.path.relpath(path, source)
                if only and not any(test.startswith(name + " ") for test in only):
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    done, recorded = self.command(
                        ["timeout", "120", "perl", "-I../../t/lib", path], mode, folder,
                        cwd=os.path.join(source, *name.split("/")[:2]))
                total.update(recorded or {})
                results.update(self.read(name, done.stdout))
                results[f"{name} exit"] = "passed" if done.returncode == 0 else "failed"
        return results, None if mode == "bare" else total

    @staticmethod
    def read(name, out):
        results = {}
        for number, line in enumerate(re.findall(r"^(?:not )?ok\b.*", out, re.M), 1):
            verdict = "failed" if line.startswith("not") and "# TODO" not in line else \
                "skipped" if re.search(r"#\s*skip", line, re.I) else "passed"
            results[f"{name} {number}"] = verdict
        return results


def upstream(package, product, *commands):
    """The folder where what upstream released is built: Debian's patches touch what configure is made
    of, and want curl built thrice. `product` is there when it is."""
    folder = os.path.join(WORK, package + "-upstream")
    if not os.path.exists(os.path.join(folder, product)):
        os.makedirs(folder, exist_ok=True)
        archive = glob.glob(os.path.join(WORK, package + "_*.orig.tar.[gx]z"))[0]
        for words in (["tar", "-xf", archive, "--strip-components=1"], *commands):
            made = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, text=True,
                                  stderr=subprocess.STDOUT, check=False)
            if made.returncode:
                sys.exit(f"{package}: {' '.join(words)}:\n{made.stdout[-2000:]}")
    return folder


class Curl(Suite):
    """curl's: it binds, connects and is refused in every way a client knows, with servers of its own
    for fifteen protocols. A test is a number."""

    def run(self, mode, only=()):
        tests = os.path.join(upstream("curl", "tests/server/sws", [
            "./configure", "--quiet", "--disable-shared", "--enable-debug", "--with-openssl"],
            ["make", "-s", "-j2"], ["make", "-s", "-j2", "-C", "tests"]), "tests")
        with tempfile.TemporaryDirectory() as folder:
            # -a: go on after a failure; -am: a line for each test; -n: without valgrind.
            done, recorded = self.command(["perl", "runtests.pl", "-a", "-am", "-n", *only], mode,
                                          folder, cwd=tests, env={**os.environ, "USER": "root"})
        if not re.search("^TEST(DONE|FAIL): ", done.stdout, re.M):
            sys.exit(f"{self.name}, {mode}: did not end:\n{done.stdout[-2000:]}")
        return self.read(done.stdout, only or os.listdir(os.path.join(tests, "data"))), recorded

    @staticmethod
    def read(out, names):
        """What passed is a line, what failed a list at the end; what was skipped is the rest."""
        numbers = [m[1] for name in names if (m := re.fullmatch(r"(?:test)?(\d+)", name))]
        results = dict.fromkeys(numbers, "skipped")
        results.update(dict.fromkeys(re.findall(r"^PASS: (\d+) ", out, re.M), "passed"))
        for failed in re.findall(r"^TESTFAIL: These test cases failed: ([\d ]+)", out, re.M):
            results.update(dict.fromkeys(failed.split(), "failed"))
        return results


class Libevent(Suite):
    """libevent's regress, a C program of some 300 tests, many of them of sockets."""

    def run(self, mode, only=()):
        source = upstream("libevent", "test/regress", [
            "./configure", "--quiet", "--disable-shared", "--disable-samples"], ["make", "-s", "-j2"])
        with tempfile.TemporaryDirectory() as folder:
            done, recorded = self.command([f"{source}/test/regress", *only], mode, folder)
        verdicts = {"OK": "passed", "FAILED": "failed", "SKIPPED": "skipped", "DISABLED": "skipped"}
        found = re.findall(r"^(\w[\w+-]*/[\w+/-]+): .*?(?:\[[\w ]*\] ?)?(OK|FAILED|SKIPPED|DISABLED)",
                           done.stdout, re.M)
        return {test: verdicts[word] for test, word in found}, recorded


SUITES = [
    Python("python: socket", "test_socket"),
    Python("python: asyncio", "test_asyncio"),
    Python("python: ssl", "test_ssl"),
    Python("python: select", "test_select", "test_selectors", "test_epoll", "test_poll"),
    Python("python: clients", "test_httplib", "test_ftplib", "test_smtplib", "test_poplib",
           "test_imaplib", "test_telnetlib", "test_nntplib", "test_urllib2_localnet"),
    Python("python: servers", "test_socketserver", "test_httpservers", "test_xmlrpc", "test_asyncore",
           "test_asynchat", "test_wsgiref"),
    Tap("perl: sockets", "dist/IO/t/io_sock*.t", "dist/IO/t/io_udp.t", "dist/IO/t/io_multihomed.t",
        "dist/IO/t/io_sel.t", "dist/IO/t/io_poll.t", "cpan/IO-Socket-IP/t/*.t", "cpan/Socket/t/*.t",
        "cpan/libnet/t/*.t"),
    Libevent("libevent: regress"),
    Curl("curl: runtests"),
]


def differing(bare, other):
    return sorted(test for test in bare.keys() | other.keys() if bare.get(test) != other.get(test))


def judge(suite, test, mode, results):
    """'berth' where a result in the mode is none of those bare; else 'itself'. `results` are the
    first ones; one that was seen once in the mode counts until it is seen bare."""
    seen = {m: collections.Counter([results[m]]) for m in ("bare", mode)}
    for number in range(AGAIN * 5):
        new = seen[mode].keys() - seen["bare"].keys()
        if number >= AGAIN and (not new or len(seen[mode]) == 1):
            break
        for m in seen:
            seen[m][suite.run(m, [test])[0].get(test)] += 1
    return ("berth" if seen[mode].keys() - seen["bare"].keys() else "itself"), seen


def compare(suite, table):
    """Runs all modes; returns the tests that differ by berth and are not explained."""
    found = {mode: suite.run(mode) for mode in MODES}
    bare = found["bare"][0]
    wrong = []
    for mode in MODES:
        results, recorded = found[mode]
        differs = differing(bare, results)
        for test in list(differs):
            reason = EXPLAINED.get((suite.name, test, mode))
            by, again = ("the kernel's rules", reason) if reason else judge(
                suite, test, mode, {"bare": bare.get(test), mode: results.get(test)})
            print(f"  {suite.name}, {mode}: {test}: {bare.get(test)} bare, {results.get(test)} here; "
                  f"by {by}: {again}", flush=True)
            if by == "berth":
                wrong.append((suite.name, test, mode))
            elif by == "itself":
                differs.remove(test)
        counts = collections.Counter(results.values())
        table.append((suite.name, mode, counts["passed"], counts["failed"], counts["skipped"],
                      len(differs), recorded or {}))
        if mode != "bare" and not recorded["calls"]:
            wrong.append((suite.name, "nothing was recorded", mode))
        if mode in ("range", "bind") and not recorded["claimed"]:
            wrong.append((suite.name, "nothing was steered", mode))
    return wrong


def print_rows(table):
    for name, mode, passed, failed, skipped, differs, recorded in table:
        print(f"{name:20} {mode:9} {passed:7} {failed:7} {skipped:8} {differs:8}"
              f" {recorded.get('calls', '-'):>9} {recorded.get('claimed', '-'):>8}", flush=True)


def main():
    wrong = []
    print(f"{'suite':20} {'mode':9} {'passed':>7} {'failed':>7} {'skipped':>8} {'differs':>8}"
          f" {'recorded':>9} {'claimed':>8}", flush=True)
    for suite in SUITES:
        if not sys.argv[1:] or any(word in suite.name for word in sys.argv[1:]):
            table = []
            wrong += compare(suite, table)
            print_rows(table)
    for name, test, mode in wrong:
        print(f"differs by berth: {name}, {mode}: {test}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
