# SPDX-License-Identifier: MIT
"""Processes and threads that share memory and descriptors behind libc's back, handlers that fork and
nest, an exec among threads: each call ends as without berth, and each is counted."""
import berthtest
import waytest
from berthtest import PROGRAMS, Outliving, equal, fresh_namespace, log_of

CALLS, FORKS = 200, 40  # of tests/programs/mixtures
MANY = {"BERTH_EVENTS": "4096"}


def mixtures(how, *events):
    """The same in each way, and so many events."""
    fresh_namespace()
    with Outliving() as server:
        return waytest.same([f"{PROGRAMS}/mixtures", how, server.port], *events, settings=MANY)


def counted(how):
    """The same in each way, and all calls are counted. A rule may lose one: see CLONE_VM in
    libberth.so(8)."""
    fresh_namespace()
    with Outliving() as server:
        for way in waytest.WAYS:
            with waytest.recorded() as record:
                equal(waytest.run([f"{PROGRAMS}/mixtures", how, server.port],
                                  {**MANY, **waytest.variables(way, record)}), (0, "ok\n", ""), way)
                equal(len(log_of(record)), 2 * CALLS, f"events, {way}")


def test_shared_memory():
    """a process of clone(CLONE_VM) connects while its parent does: all are counted"""
    counted("memory")


def test_raw_thread():
    """a thread that libc knows nothing of, with main()'s thread-local memory, does"""
    counted("thread")


def test_fork_in_handler():
    """a signal handler forks in the middle of connects, and its children connect"""
    (_, said, _), _ = mixtures("handler", CALLS + FORKS)
    equal(said, "ok\n")


def test_exec_in_thread():
    """a thread that is not the main one executes a program"""
    mixtures("exec", 3 * CALLS)


def test_shared_descriptors():
    """a process of clone(CLONE_FILES) puts other sockets where its parent has some"""
    fresh_namespace()
    with Outliving() as server:
        command = [f"{PROGRAMS}/mixtures", "descriptors", str(server.port)]
        bare = waytest.run(command, {})
        assert bare[1].endswith("ok\n"), bare
        for way in waytest.WAYS:
            with waytest.recorded() as record:
                equal(waytest.run(command, waytest.variables(way, record)), bare, way)


def test_nested_handlers():
    """handlers in the middle of one another's calls, on a stack with 4 KiB for each one's hook"""
    fresh_namespace()
    with Outliving() as server:
        for way in (None, *waytest.WAYS):
            with waytest.recorded() as record:
                status, said, wrong = waytest.run([f"{PROGRAMS}/nested", server.port],
                                                  {**MANY, **waytest.variables(way, record)})
                equal((status, wrong), (0, ""), f"status and stderr, {way}")
                if way:
                    events = log_of(record)
                    equal(len(events), int(said), f"events, {way}")
                    waytest.steered_right(way, events)


if __name__ == "__main__":
    berthtest.main()
