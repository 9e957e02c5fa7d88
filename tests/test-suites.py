# SPDX-License-Identifier: MIT
"""The quick ones of CPython's own network tests: the same results bare, observed, and steered by range
and by bind. `make suites` runs all, and those of other projects: see suites.sh."""
import subprocess

import berthtest
import suites
from berthtest import Skip, equal

QUICK = suites.Python("python: quick", "test_asyncore", "test_socketserver", "test_telnetlib",
                      "test_wsgiref")


def test_quick():
    """CPython's tests of servers and clients have the same results under berth"""
    if subprocess.run(["/usr/bin/python3", "-c", "import test.test_socketserver"],
                      capture_output=True).returncode:
        raise Skip("python3's test suite is not installed")
    table = []
    equal(suites.compare(QUICK, table), [], "tests that differ by berth")
    for _, mode, passed, failed, *_ in table:
        assert passed > 100 and not failed, (mode, table)


if __name__ == "__main__":
    berthtest.main()
