# SPDX-License-Identifier: MIT
"""A descriptor's number becomes another socket's, or is closed where it is nobody's business: what
berth remembers of a number, and does with it, is of the socket that it was."""
import berthtest
from berthtest import Server, equal, full_listener
from steertest import BY_BIND, BY_RANGE, counters, same, steered

# In a thread: a connect() that blocks, until replace() has closed its number and made the number a
# datagram socket's.
BLOCKING = """
def states(port):
    'The TCP states of the sockets that connect to the port.'
    rows = [line.split() for line in open('/proc/net/tcp').read().splitlines()[1:]]
    return [row[3] for row in rows if int(row[2].split(':')[1], 16) == port]
def replaced_during_connect(port, replace):
    s = socket()
    number, result = s.detach(), []
    thread = threading.Thread(target=lambda: result.append(libc.connect(number, in4(port), 16)))
    thread.start()
    while '02' not in states(port): # SYN_SENT
        time.sleep(.001)
    u = replace(number)
    assert u.fileno() == number
    socket(fileno=int(sys.argv[2])).accept()[0].close() # room in the queue: the SYN is answered
    thread.join()
    return u, result[0]
def by_close(number):
    os.close(number)
    return socket(AF_INET, SOCK_DGRAM)
def by_close_range(number):
    libc.close_range(number, number, 0)
    return socket(AF_INET, SOCK_DGRAM)
def by_dup2(number):
    with socket(AF_INET, SOCK_DGRAM) as u:
        return socket(fileno=os.dup2(u.fileno(), number))
def by_dup(number):
    with socket(AF_INET, SOCK_DGRAM) as u:
        os.close(number)
        return socket(fileno=libc.dup(u.fileno()))
def by_fclose(number):
    'libc itself closes it: no hook sees that.'
    libc.fdopen.restype = ctypes.c_void_p
    libc.fclose(ctypes.c_void_p(libc.fdopen(number, b'r')))
    return socket(AF_INET, SOCK_DGRAM)
REPLACE = {f.__name__: f for f in (by_close, by_close_range, by_dup2, by_dup, by_fclose)}
"""


def replaced(how):
    """What a datagram socket is after its number was a stream socket's, during a connect()."""
    for rule in BY_RANGE, BY_BIND:
        with full_listener() as listener:
            port, fd = listener.getsockname()[1], listener.fileno()
            o = steered(BLOCKING + f"""
u, result = replaced_during_connect(port, REPLACE['{how}'])
options = [u.getsockopt(SOL_SOCKET, SO_REUSEADDR), u.getsockopt(IPPROTO_IP, RANGE)]
u.sendto(b'x', ('127.0.0.1', 9))
print(result, *options, 41000 <= port_of(u) < 41100 or port_of(u))
            """, port, fd, rules=[rule], pass_fds=[fd])
        equal(o.process.stdout, "0 0 0 True\n", f"result, options, steered, under {rule}")
        equal([(e["network.transport"], e["berth.result"], e["berth.chosen_by"])
               for e in o.calls("sendto")], [("udp", "ok", "policy")], "the datagram")
        yield o


def test_closed_during_connect():
    """close() in one thread during connect() in another: the next socket of that number is its own"""
    for o in replaced("by_close"):
        (event,) = o.calls("connect")
        equal((event["network.transport"], event["berth.result"], event["berth.chosen_by"],
               41000 <= event["network.local.port"] < 41100), ("tcp", "ok", "policy", True))
        c = counters(o)
        equal((c["claimed"], c["outside"], c["stuck"]), (2, 0, 0))


def test_closed_by_range_during_connect():
    """... by close_range()"""
    list(replaced("by_close_range"))


def test_covered_during_connect():
    """... by dup2() over it"""
    list(replaced("by_dup2"))


def test_closed_for_dup_during_connect():
    """... by close(), where dup() gets the number"""
    list(replaced("by_dup"))


def test_closed_by_libc_during_connect():
    """... by fclose(), which no hook sees"""
    list(replaced("by_fclose"))


def test_observed_during_connect():
    """the same, observed only: the next socket's datagrams are recorded"""
    with full_listener() as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        for how in "by_close", "by_fclose":
            o = steered(BLOCKING + f"""
u, result = replaced_during_connect(port, REPLACE['{how}'])
u.sendto(b'x', ('127.0.0.1', 9))
            """, port, fd, rules=[{"match": {"to": "10.0.0.0/8"}}], pass_fds=[fd])
            equal([e["network.transport"] for e in o.calls("sendto")], ["udp"], how)


def test_closed_in_a_vfork_child():
    """close_range() in a vfork child, as of Python's subprocess: its parent forgets no socket"""
    o = steered("""
        import subprocess
        u = socket(AF_INET, SOCK_DGRAM)
        u.connect(('127.0.0.1', 9))
        subprocess.run(['true'])
        print(u.getsockopt(IPPROTO_IP, RANGE)) # which is put back where it is known to be the rule's
    """)
    equal(o.process.stdout, "0\n")


if __name__ == "__main__":
    berthtest.main()
