# SPDX-License-Identifier: MIT
"""Connects that never return, since a thread was cancelled in one, or a signal handler jumped out of
it: what they leave behind, plainly, observed and steered."""
import contextlib
import json
import resource
import socket
import subprocess
import tempfile

import berthtest
from berthtest import PROGRAMS, Observed, equal, fresh_namespace, full_listener

ANYWHERE = "0.0.0.0"
FIRST, TAKEN, LAST = 41000, 100, 41199
CALLS = 19  # that the program counts

RULES = {
    "range": {"via": "range"},
    "bind": {"via": "bind"},
    "pool": {"via": "range", "local_addresses": ["127.0.0.3", "127.0.0.4"]},
    "pool by bind": {"via": "bind", "local_addresses": ["127.0.0.3", "127.0.0.4"]},
}


@contextlib.contextmanager
def taken_ports():
    """The first ports of the rules' set are held by listeners: each call offers them all, and finds
    them taken."""
    with contextlib.ExitStack() as stack:
        for port in range(FIRST, FIRST + TAKEN):
            stack.enter_context(socket.create_server(("", port)))
        yield


@contextlib.contextmanager
def policy(rule):
    all_of_it = {"name": "all", "local_ports": f"{FIRST}-{LAST}", "order": "sequential", **rule}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump({"version": 1, "rules": [all_of_it]}, f)
        f.flush()
        yield f.name


def port_of(listener):
    return str(listener.getsockname()[1])


def leave(how, *options):
    """What the program says under berth."""
    fresh_namespace()
    with taken_ports(), full_listener(ANYWHERE) as full:
        o = Observed([f"{PROGRAMS}/left", how, port_of(full)], *options)
    equal((o.process.returncode, o.process.stderr, o.events), (0, "", []), "status, stderr, events")
    return o.process.stdout


def said(pages, reuse):
    return f"pages {pages} descriptors 0 reuse {reuse} again EALREADY\n"


def left(how):
    fresh_namespace()
    with full_listener(ANYWHERE) as full:
        plain = subprocess.run([f"{PROGRAMS}/left", how, port_of(full)], capture_output=True,
                               text=True, check=True).stdout
    equal(plain, said(pages=0, reuse=1), "without berth")
    equal(leave(how), plain, "observed")
    for name, rule in RULES.items():
        with policy(rule) as file:
            got = leave(how, "-P", file)
        # What libberth.so(8) and berth-policy(5) own to: 8 KiB a call, SO_REUSEADDR.
        pages = CALLS * -(-8192 // resource.getpagesize())
        by_bind = rule["via"] == "bind"
        equal(got, said(pages=0, reuse=0) if by_bind else said(pages=pages, reuse=1), name)


def test_cancelled():
    """A cancelled thread's connect leaves behind what the manual says, and no more"""
    left("cancel")


def test_cancelled_asynchronously():
    """... of a thread with asynchronous cancellation"""
    left("asynchronous")


def test_jumped_out_of():
    """... and one that a signal handler leaves by siglongjmp()"""
    left("jump")


if __name__ == "__main__":
    berthtest.main()
