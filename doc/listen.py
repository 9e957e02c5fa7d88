# SPDX-License-Identifier: MIT
"""listen.py [ADDRESS:]PORT... [close]: accepts on each PORT of ADDRESS (127.0.0.1), answers what is
asked as HTTP, and holds each connection, or closes it after its client did (`close`). All that is
held is gone when listen.py ends: it resets them."""
import contextlib
import resource
import selectors
import socket
import struct
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
waiting = selectors.DefaultSelector()
held = []


def listen(place):
    address, _, port = place.rpartition(":")
    server = socket.create_server((address or "127.0.0.1", int(port)), backlog=65535)
    server.setblocking(False)
    waiting.register(server, selectors.EVENT_READ, accept)
    return "%s:%d" % server.getsockname()


def accept(server):
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = server.accept()
            if "close" not in sys.argv:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            waiting.register(connection, selectors.EVENT_READ, answer)


def answer(connection):
    with contextlib.suppress(OSError):
        if connection.recv(65536):
            connection.sendall(ANSWER)
            return
    waiting.unregister(connection)
    if "close" in sys.argv:
        connection.close()
    else:
        held.append(connection)


print("listening on", *(listen(word) for word in sys.argv[1:] if word != "close"), flush=True)
while True:
    for key, _ in waiting.select():
        key.data(key.fileobj)
