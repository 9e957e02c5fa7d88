# SPDX-License-Identifier: MIT
"""listen.py PORT...: listens on 127.0.0.1 and accepts nothing: the kernel completes the connections."""
import signal
import socket
import sys

servers = [socket.create_server(("127.0.0.1", int(port)), backlog=65535) for port in sys.argv[1:]]
signal.pause()
