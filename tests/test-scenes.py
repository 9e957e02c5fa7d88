# SPDX-License-Identifier: MIT
"""The scenes that berth grew from, each against the running kernel."""
import berthtest
from berthtest import Observed, Server, equal, port_range


def test_one_port_two_destinations():
    """range 60100-60100: two clients to two server ports both get 60100"""
    with Server(port=0) as a, Server(port=0) as b:
        port_range(60100, 60100)
        o = Observed(["/bin/sh", "-c", f"nc -z 127.0.0.1 {a.port}; nc -z 127.0.0.1 {b.port}"])
        connects = o.calls("connect")
        equal([e["network.local.port"] for e in connects], [60100, 60100], "local ports")
        equal(sorted(e["network.peer.port"] for e in connects), sorted([a.port, b.port]))


if __name__ == "__main__":
    berthtest.main()
