# SPDX-License-Identifier: MIT
"""connect.py COUNT PORT... [bind=PORT] [reuse] [late] [close|hold]: COUNT connections to 127.0.0.1, to
each PORT in turn, all open until the last was made, or until this program is killed (`hold`), or each
closed at once (`close`). `bind` binds before, with SO_REUSEADDR (`reuse`), or with
IP_BIND_ADDRESS_NO_PORT (`late`). Says what failed."""
import resource
import signal
import socket
import sys

words = sys.argv[1:]
count, *ports = [int(word) for word in words if word.isdigit()]
bound = [int(word[5:]) for word in words if word.startswith("bind=")]
kept, failed = [], 0
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
if "close" not in words and 0 <= hard < count + 16:
    sys.exit(f"{count} connections need as many descriptors, and {hard} are allowed: see ulimit -Hn")
for i in range(count):
    s = socket.socket()
    try:
        if "reuse" in words:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if "late" in words:
            s.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        if bound:
            s.bind(("127.0.0.1", bound[0]))
        s.connect(("127.0.0.1", ports[i % len(ports)]))
    except OSError as error:
        print(f"connection {i + 1}: {error.strerror}")
        failed += 1
    if "close" in words:
        s.close()
    else:
        kept.append(s)
if "hold" in words:
    print(f"holding {len(kept) - failed} connections", flush=True)
    signal.pause()
