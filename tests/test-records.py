# SPDX-License-Identifier: MIT
"""What the records say is whole, and what they do not say is said: no event is lost in silence."""
import berthtest
from berthtest import Observed, equal, program

# connect() of an AF_INET6 socket to an AF_INET address, which the kernel refuses by EINVAL; the stack
# below is not what it was the time before.
OTHER_FAMILY = """
    l = create_server(('127.0.0.1', 0))
    to = struct.pack('=HH4s8x', AF_INET, htons(l.getsockname()[1]), inet_aton('127.0.0.1'))
    libc = ctypes.CDLL(None, use_errno=True)
    for kind in SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM, SOCK_STREAM:
        s = socket(AF_INET6, kind)
        libc.connect(s.fileno(), to, 16)
        create_connection(l.getsockname()).close()
"""


def test_other_family():
    """a socket of another family than its peer's address: the event is there, under any rule"""
    for options in ([], ["-L", "40000-40999"], ["-L", "40000-40999", "--via", "range"],
                    ["-L", "20000-20999"], ["-L", "20000-20999", "-A", "127.0.0.0/28"],
                    ["-A", "127.0.0.0/28"], ["-L", "20000-20999", "--exhausted", "kernel"]):
        o = Observed(program(OTHER_FAMILY), *options)
        equal(o.process.returncode, 0, options)
        equal(len(o.calls("connect", berth__result="failed", error__type="EINVAL")), 3, options)
        equal((len(o.calls("connect")), o.total("events", "written"), o.total("events", "torn")),
              (8, 9, 0), options)
        for event in o.events:
            equal(event.get("berth.via", "none") == "none", "berth.tries" not in event, event)


if __name__ == "__main__":
    berthtest.main()
